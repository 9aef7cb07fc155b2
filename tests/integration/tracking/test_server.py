"""One setting points everything at a tracking server; here a real one on loopback."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.core.digest import sha256
from backend.core.records import Checkpoint, PromotionDecision, StudyRecord
from backend.tracking.home import Home
from backend.tracking.registry import Registry
from backend.tracking.replay import replay
from backend.tracking.store import MlflowStore
from backend.tracking.writer import MlflowSink, log_comparison, log_study
from tests.support.comparisons import comparison
from tests.support.scripted_run import log_run, make_work
from tests.support.toy import SPEC

KEY = "20260101-000000-toy-0001"
PLAIN = "20260102-000000-toy-0002"


@pytest.fixture(scope="module")
def served_home(template_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose MLflow is a server with the template's database."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "server.db").write_bytes((template_home / "mlflow.db").read_bytes())
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", "0",
         "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/server.db",
         "--artifacts-destination", str(folder / "artifacts")],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert server.stdout is not None
    said = []
    for line in server.stdout:
        said.append(line)
        if listening := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
            break
    else:
        pytest.fail("".join(said))
    log = threading.Thread(target=server.stdout.read, daemon=True)
    log.start()  # a full pipe would stop the server
    home = Home(folder / "home", listening[1])
    home.prepare()
    yield home
    os.killpg(server.pid, signal.SIGKILL)  # asked politely, it takes ten seconds
    server.wait()
    log.join()
    server.stdout.close()


def test_everything_works_against_a_server(
    served_home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    work = log_run(served_home, KEY, parent="freezing")
    first = MlflowStore(served_home).run(KEY)
    assert (first.status, first.best["val/mAP50-95"]) == ("finished", 0.7)
    assert replay(served_home, work.path).mlflow_run_id != first.mlflow_run_id
    study = StudyRecord(name="freezing", metric="m", direction="maximize", target=9, trials=())
    log_study(served_home, study)
    compared = comparison(key="compare-1", created=1000.0)
    log_comparison(served_home, compared, {"report.md": "# Report"})

    store = MlflowStore(served_home)
    assert [run.key for run in store.runs()] == [KEY]
    assert store.studies() == [study]
    assert store.comparisons() == [compared]
    assert store.series([KEY], ["val/loss"])[KEY, "val/loss"].steps == (5, 10, 15)
    assert [c.epoch for c in store.checkpoints(KEY)] == [2, 3]
    assert [r.step for r in store.experts(KEY)] == [5, 10, 15, 10]
    MlflowSink(served_home, make_work(served_home, PLAIN).path).close()
    assert MlflowStore(served_home).experts(PLAIN) == []

    best = Path(store.checkpoints(KEY)[0].path)
    decision = PromotionDecision(
        key="promote-1", created=2000.0, model="test-served", policy={}, evidence="compare-1",
        checkpoint=Checkpoint(path=str(best), sha256=sha256(best), step=10, epoch=2, run=KEY),
        promote=True, reasons=("better",),
    )  # fmt: skip
    done = Registry(served_home).register(decision, SPEC, "kind: toy\n", compared)
    assert done.version == "1"
    store = MlflowStore(served_home)
    assert store.champions()["test-served"].sha256 == sha256(best)
    assert store.promotions() == [done]
    assert capfd.readouterr() == ("", "")
