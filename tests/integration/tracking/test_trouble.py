"""Locked, full, foreign and silent stores: one sentence each, and nothing is lost."""

import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from backend.core.errors import StoreError
from backend.tracking.client import find_runs
from backend.tracking.database import SCHEMA
from backend.tracking.home import Home
from backend.tracking.replay import replay
from backend.tracking.store import MlflowStore
from backend.tracking.writer import MlflowSink
from tests.support.mlflow_home import copy_home
from tests.support.scripted_run import all_events, make_work, write_events

KEY = "20260101-000000-toy-0001"
ROOT = Path(__file__).parents[3]

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from backend.core.errors import StoreError
from backend.tracking.home import Home
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    {action}
except StoreError as error:
    print(error)
"""


def in_a_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def change(home: Home, statement: str, *values: str) -> None:
    assert home.database is not None
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute(statement, values)
        connection.commit()


def set_revision(home: Home, revision: str) -> None:
    change(home, "UPDATE alembic_version SET version_num = ?", revision)


def test_a_database_of_a_newer_mlflow(home: Home) -> None:
    set_revision(home, "f00dfeedf00d")
    with pytest.raises(StoreError, match="made by a newer MLflow"):
        home.prepare()


def test_a_database_of_an_older_mlflow(home: Home) -> None:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    script = ScriptDirectory.from_config(_get_alembic_config(""))
    before = script.get_revision(SCHEMA).down_revision
    set_revision(home, before)
    with pytest.raises(StoreError, match=r"made by an older MLflow.*mlflow db upgrade"):
        home.prepare()


def test_the_quick_reader_knows_the_installed_schema() -> None:
    from backend.tracking.schema import compare

    assert compare(SCHEMA) == "current"


def test_a_database_is_made_silently_and_only_once(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from backend.tracking.home import Home;"
        f"Home(Path({str(tmp_path / 'new')!r})).prepare()"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [racer.communicate()[0] for racer in racers]
    assert said == ["", ""]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "artifacts",
        "mlflow.db",
        "work",
    ]


def test_no_room_for_a_database(tmp_path: Path) -> None:
    action = f"Home(Path({str(tmp_path)!r})).prepare()"
    done = in_a_process(FULL_DISK.format(limit=300_000, action=action))
    assert done.stderr == ""
    assert done.stdout.startswith(f"{tmp_path}/mlflow.db: the disk is full, over its quota")
    assert not list(tmp_path.glob("*mlflow.db*"))


def test_a_full_disk_during_a_training_loses_nothing(home: Home) -> None:
    work = make_work(home, KEY)
    write_events(work, all_events(work))
    assert home.database is not None
    action = (
        "from backend.tracking.writer import MlflowSink\n"
        "    from backend.core.sinks import read_events\n"
        f"    sink = MlflowSink(Home(Path({str(home.root)!r})), Path({str(work.path)!r}), 0)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 10**9))\n"
        f"    for envelope in read_events(Path({str(work.events)!r})): sink.receive(envelope)\n"
        "    sink.close()"
    )
    code = FULL_DISK.format(limit="10**9", action=action)
    done = in_a_process(code)
    assert "the disk is full" in done.stdout
    assert f"assay replay {work.path}" in done.stdout
    assert "Traceback" not in done.stderr
    assert replay(home, work.path).status == "finished"


def test_a_locked_database_delays_and_loses_nothing(home: Home) -> None:
    work = make_work(home, KEY)
    envelopes = write_events(work, all_events(work))
    sink = MlflowSink(home, work.path)
    with lock(home):
        for envelope in envelopes:
            sink.receive(envelope)  # returns at once
        assert MlflowStore(home).run(KEY).metrics == {}
    sink.close()
    assert MlflowStore(home).run(KEY).status == "finished"


def test_a_broken_database_names_the_way_out(home: Home) -> None:
    work = make_work(home, KEY)
    envelopes = write_events(work, all_events(work))
    sink = MlflowSink(home, work.path, patience=0)
    change(home, "ALTER TABLE metrics RENAME TO lost")
    for envelope in envelopes:
        sink.receive(envelope)
    with pytest.raises(StoreError, match=r"no such table: .*metrics; .*assay replay") as caught:
        sink.close()
    assert str(work.path) in str(caught.value)
    assert "\n" not in str(caught.value)
    change(home, "ALTER TABLE lost RENAME TO metrics")
    assert replay(home, work.path).status == "finished"


def test_a_silent_server_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        home = Home(tmp_path, f"http://127.0.0.1:{unused.getsockname()[1]}")
        home.prepare()
        work = make_work(home, KEY)
        for use in (lambda: MlflowStore(home).runs(), lambda: MlflowSink(home, work.path)):
            with pytest.raises(StoreError, match="the tracking server does not answer"):
                use()


def test_a_run_that_cannot_be_opened_leaves_nothing(home: Home, tmp_path: Path) -> None:
    """Its parameters are refused after the run was made."""
    from backend.tracking.client import connect

    work = make_work(home, KEY)
    work.config.write_text("experiment: assay\n'bad ; key!': 1\n")
    with pytest.raises(StoreError, match="key"):
        MlflowSink(home, work.path)
    assert find_runs(connect(home), "training") == []


def test_nothing_leaves_the_machine(template_home: Path, tmp_path: Path) -> None:
    home = copy_home(template_home, tmp_path / "runs")
    work = make_work(home, KEY)
    write_events(work, all_events(work))
    code = (
        "import socket, sys\n"
        "def refuse(self, address): print('socket', address); raise OSError('no network')\n"
        "socket.socket.connect = refuse; socket.socket.connect_ex = refuse\n"
        "socket.getaddrinfo = lambda *a, **k: refuse(None, a)\n"
        "from pathlib import Path\n"
        "from backend.tracking.home import Home\n"
        "from backend.tracking.replay import replay\n"
        f"print(replay(Home(Path({str(home.root)!r})), Path({str(work.path)!r})).status)\n"
        "import mlflow\n"
        "assert mlflow.active_run() is None\n"
    )
    done = in_a_process(code)
    assert (done.stdout, done.stderr) == ("finished\n", "")


class lock:  # noqa: N801 (reads as what it does)
    """Hold the database's write lock, as a stuck process would."""

    def __init__(self, home: Home) -> None:
        assert home.database is not None
        self._connection = sqlite3.connect(home.database, isolation_level=None)

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._connection.close()
