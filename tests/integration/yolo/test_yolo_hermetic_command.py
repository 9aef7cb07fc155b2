"""``assay train`` with all that it can write: no network, and no file outside its home.

The audit hook is in each process that the command starts: Python imports ``sitecustomize`` by
itself, and none of them has ever heard of pytest.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from backend.trainers.yolo.spec import YoloConfig
from tests.support.watched import WATCHED

ROOT = Path(__file__).parents[3]
GRAPH = all(find_spec(name) for name in ("onnx", "onnxslim", "onnxruntime"))

LOCAL = {
    ("socket.bind", "(('::1', 0),)"),  # urllib3 asks whether there is IPv6
    ("socket.sendmsg", "(None,)"),  # pipes are handed to the forkserver
}
LOOKS = ("ldconfig", "'uname'", "'fc-list'")
"""torch looks for its libraries, Python for the processor, matplotlib for fonts."""


class Watched(NamedTuple):
    """Where it ran, what it did to the machine, and what it printed."""

    folder: Path
    seen: Sequence[tuple[str, str]]
    said: str


def ran(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "backend.cli", "--home", str(folder / "assay")]
    ended = subprocess.run(
        [*command, *arguments],
        cwd=folder / "cwd",
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def watched(tuning: YoloConfig, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A training with TensorBoard files and each format of export, and its report."""
    folder = tmp_path_factory.mktemp("command")
    for name in ("home", "cwd", "temp", "hook"):
        (folder / name).mkdir()
    (folder / "hook/sitecustomize.py").write_text(WATCHED)
    shutil.copytree(tuning.data.parent, folder / "data")
    config = tuning.replace(
        {
            "data": str(folder / "data/data.yaml"),
            "export": ("onnx", "ultralytics") if GRAPH else ("ultralytics",),
            "tensorboard": True,
        }
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": str(folder / "home")},
        **{"TMPDIR": str(folder / "temp"), "AUDIT_LOG": str(folder / "audit.jsonl")},
        **{"PYTHONPATH": f"{folder / 'hook'}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
        **{"ULTRALYTICS_API_KEY": "a key that must not be used", "OMP_NUM_THREADS": "1"},
    }
    said = ran(folder, environment, "train", str(folder / "config.yaml"))
    (run,) = (folder / "assay/work").iterdir()
    said += ran(folder, environment, "report", run.name)
    lines = (folder / "audit.jsonl").read_text().splitlines()
    return Watched(folder, [tuple(json.loads(line)) for line in lines], said)


def test_everything_that_was_asked_for_is_there(watched: Watched) -> None:
    (run,) = (watched.folder / "assay/work").iterdir()
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert {"results.csv", "training_result.json", "report.html"} <= files
    suffixes = {Path(name).suffix for name in files}
    assert {".pt", ".safetensors"} <= suffixes
    assert (".onnx" in suffixes) == GRAPH
    assert any("tfevents" in name for name in files)


def test_the_watch_is_in_each_process(watched: Watched) -> None:
    written = {path for event, path in watched.seen if event == "open"}
    (run,) = (watched.folder / "assay/work").iterdir()
    assert str(run / "ultralytics/args.yaml") in written  # the training process
    assert any("tfevents" in path for path in written)  # its parent


def test_no_socket_but_those_between_its_own_processes(watched: Watched) -> None:
    files = str(watched.folder / "temp")
    network = [e for e in watched.seen if e[0].startswith("socket.")]
    assert [e for e in network if files not in e[1] and e not in LOCAL] == []


def test_nothing_is_written_outside_home_and_temporary_folder(watched: Watched) -> None:
    folder = watched.folder
    allowed = (str(folder / "assay"), str(folder / "temp"), "/dev/null", "/dev/shm/")
    outside = [
        (event, path)
        for event, path in watched.seen
        if (event == "open" or event.startswith("os.")) and path and not path.startswith(allowed)
    ]
    assert outside == []
    for name in ("home", "cwd"):
        assert list((folder / name).iterdir()) == []


def test_no_program_is_started_but_to_look_at_the_system(watched: Watched) -> None:
    programs = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
    started = [entry for entry in watched.seen if entry[0] in programs]
    assert [e for e in started if not any(name in e[1] for name in LOOKS)] == []
