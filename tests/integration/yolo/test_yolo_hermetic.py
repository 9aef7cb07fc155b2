"""A training touches no network and no file outside its work directory.

Ultralytics behaves better inside pytest than outside of it, so this is watched from an audit
hook in processes that have never heard of pytest.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.trainers.yolo.spec import YoloConfig
from tests.support.watched import WATCHED
from tests.support.yolo_runs import Training

ROOT = Path(__file__).parents[3]

WORK = """
from pathlib import Path
from backend.core.trainer import EvalRequest
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer

class Once:
    def __init__(self, stops): self.stops = stops
    def reason(self): return "enough" if self.stops else None

config = YoloConfig.model_validate_json(os.environ["CONFIG"])
work = Path(os.environ["WORK"])
events = []
first = YoloTrainer(config, work).fit(events.append, Once(True))
assert first.status == "stopped", first
trainer = YoloTrainer(config, work)
outcome = trainer.fit(events.append, Once(False))
assert outcome.status == "finished", outcome
best = work / outcome.best
request = EvalRequest(checkpoint=str(best), data=str(config.data), split="holdout",
                      out=str(work / "holdout"))
assert trainer.evaluate(request).units == 12
import numpy as np
assert len(trainer.predictor(best).predict([np.zeros((50, 80, 3), np.uint8)])) == 1
try:
    YoloTrainer(config.replace({"model": "yolov8n.pt"}), work / "none").fit(events.append, Once(0))
except Exception as error:
    assert type(error).__name__ == "CheckpointError", error
import ultralytics.utils as u
assert not u.TESTS_RUNNING
bad = {"mlflow", "optuna", "dash", "wandb", "matplotlib", "pytest"} & set(sys.modules)
assert not bad, bad
"""


@pytest.fixture(scope="module")
def watched(
    tuning: YoloConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[tuple[str, str]]]:
    """What a stopped, resumed, evaluated and served training did to the machine."""
    folder = tmp_path_factory.mktemp("hermetic")
    for name in ("home", "cwd", "temp", "data"):
        (folder / name).mkdir()
    shutil.copytree(tuning.data.parent, folder / "data/shapes")
    config = tuning.replace({"data": str(folder / "data/shapes/data.yaml")})
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": str(folder / "home")},
        **{"TMPDIR": str(folder / "temp"), "PYTHONPATH": str(ROOT)},
        **{"PYTHONDONTWRITEBYTECODE": "1", "AUDIT_LOG": str(folder / "audit.jsonl")},
        **{"CONFIG": config.model_dump_json(), "WORK": str(folder / "work")},
        **{"ULTRALYTICS_API_KEY": "a key that must not be used", "OMP_NUM_THREADS": "1"},
    }
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED + WORK],
        cwd=folder / "cwd",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    lines = (folder / "audit.jsonl").read_text().splitlines()
    return folder, [tuple(json.loads(line)) for line in lines]


def test_the_watch_sees_what_happens(watched: tuple[Path, list[tuple[str, str]]]) -> None:
    folder, seen = watched
    assert ("open", str(folder / "work/ultralytics/args.yaml")) in seen
    assert any(event == "os.symlink" for event, _ in seen)


def test_no_socket_and_no_name_is_looked_up(
    watched: tuple[Path, list[tuple[str, str]]],
) -> None:
    assert [entry for entry in watched[1] if entry[0].startswith("socket.")] == []


def test_nothing_is_written_outside_the_work_directory_and_the_temporary(
    watched: tuple[Path, list[tuple[str, str]]],
) -> None:
    folder, seen = watched
    allowed = (str(folder / "work"), str(folder / "temp"), "/dev/null", "/dev/shm/")
    paths = [e for e in seen if e[0] == "open" or e[0].startswith("os.")]
    outside = [e for e in paths if e[1] and not e[1].startswith(allowed)]
    assert outside == []


def test_home_and_working_directory_stay_empty(
    watched: tuple[Path, list[tuple[str, str]]],
) -> None:
    folder, _ = watched
    assert list((folder / "home").iterdir()) == []
    assert list((folder / "cwd").iterdir()) == []


def test_the_temporary_folder_is_left_clean(
    watched: tuple[Path, list[tuple[str, str]]],
) -> None:
    folder, _ = watched
    assert [path.name for path in (folder / "temp").iterdir()] == []


def test_no_program_is_started(watched: tuple[Path, list[tuple[str, str]]]) -> None:
    programs = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
    started = [entry for entry in watched[1] if entry[0] in programs]
    assert [e for e in started if "ldconfig" not in e[1]] == []  # torch looks for its libraries


def test_the_dataset_is_as_it_was(
    watched: tuple[Path, list[tuple[str, str]]], tuning: YoloConfig
) -> None:
    here = {p.relative_to(tuning.data.parent) for p in tuning.data.parent.rglob("*")}
    copy = watched[0] / "data/shapes"
    assert {p.relative_to(copy) for p in copy.rglob("*")} == here


def test_ultralytics_imported_by_someone_else_first_is_refused(tmp_path: Path) -> None:
    code = (
        "import ultralytics\n"
        "try:\n    import backend.trainers.yolo.trainer\n"
        "except RuntimeError as error:\n    assert 'hermetic first' in str(error)\n"
        "else:\n    raise SystemExit(1)\n"
    )
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        **{"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "1"},
    }
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False
    )
    assert ended.returncode == 0


def test_weights_of_a_run_carry_no_path(trained: Training) -> None:
    facts = trained.best().with_suffix(".json").read_text()
    assert str(trained.work) not in facts
    assert str(trained.config.model) not in facts


def test_a_damaged_image_is_pillows_own_error(tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"no image")
    script = (
        "import backend.trainers.yolo.hermetic\n"
        "from PIL import Image, UnidentifiedImageError\n"
        "try:\n    Image.open('damaged.png')\n"
        "except UnidentifiedImageError:\n    print('plain')\n"
    )
    asked = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.stdout == "plain\n", asked.stderr
