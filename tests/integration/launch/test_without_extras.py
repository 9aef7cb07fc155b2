"""Without the extras 'yolo' and 'onnx' everything else works, and their absence is a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HIDE = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ultralytics", "onnx", "onnxslim", "onnxruntime"):
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""
WORKS = """
import importlib
from pathlib import Path
from backend.catalog import CATALOG, load_config

for kind, spec in CATALOG.items():
    load_config(Path(os.environ["ROOT"]) / f"configs/train/{kind}.yaml", {"data": "data.yaml"})
    if kind != "yolo":
        importlib.import_module(spec.entry.partition(":")[0])
for module in ("compare", "promote", "report", "diagnose", "evaluate", "sides", "worker"):
    importlib.import_module(f"backend.{module}")
for module in ("dashboard.app", "studies"):
    importlib.import_module(module)
print("HIDDEN", not any(name.startswith(("ultralytics", "onnx")) for name in sys.modules))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a process, and of those that it starts, for which the packages are not installed."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text(HIDE)
    path = f"{tmp_path / 'hidden'}{os.pathsep}{ROOT}"
    return {**os.environ, "PYTHONPATH": path, "ROOT": str(ROOT), "OMP_NUM_THREADS": "1"}


def ran(environment: dict[str, str], cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_but_the_yolo_trainer_can_be_imported(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = ran(environment, tmp_path, "-c", f"import os, sys\n{WORKS}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("HIDDEN True\n")


def test_the_command_line_helps_and_knows_the_trainer(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = ran(environment, tmp_path, "-m", "backend.cli", "trainers", "list")
    assert done.returncode == 0, done.stderr
    assert "YOLO" in done.stdout


def test_a_yolo_training_ends_with_what_to_install(
    environment: dict[str, str], tmp_path: Path
) -> None:
    data, model = ROOT / "tests/data.yaml", ROOT / "configs/models/yolo-tiny.yaml"
    (tmp_path / "mine.yaml").write_text(f"kind: yolo\nmodel: {model}\ndata: {data}\n")
    arguments = ("--home", str(tmp_path / "home"), "train", "mine.yaml")
    done = ran(environment, tmp_path, "-m", "backend.cli", *arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert "No module named 'ultralytics'" in done.stderr
    assert "install the extra" in done.stderr
    assert list((tmp_path / "home").glob("work/*")) == []
