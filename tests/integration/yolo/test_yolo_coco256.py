"""Real photographs, as they come: 80 classes, not all of them in both splits, images without
objects, boxes smaller than a pixel. From the command line, as a user would."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from backend.cli.main import app
from backend.core.events import Evaluated
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.tracking.home import Home
from tests.support.mlflow_home import copy_home

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared/data/coco256/data.yaml"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="../shared/data/coco256 is not there")
IMAGES = 128
WITHOUT_IN_TRAIN = ("fire hydrant", "sheep", "surfboard", "apple", "keyboard")


def assay(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual recipe, small."""
    path = tmp_path_factory.mktemp("coco") / "coco.yaml"
    settings = {
        "extends": str(ROOT / "configs/base/yolo.yaml"),
        "model": str(ROOT / "configs/models/yolo-tiny.yaml"),
        **{"data": str(DATA), "device": "cpu", "epochs": 1, "imgsz": 64},
    }
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def home(template_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return copy_home(template_home, tmp_path_factory.mktemp("coco-home") / "mlruns")


@pytest.fixture(scope="module")
def trained(config: Path, home: Home) -> tuple[str, WorkDir]:
    """What was printed, and where the run is."""
    done = assay("--home", str(home.root), "train", str(config))
    assert done.exit_code == 0, done.output
    (work,) = home.work.iterdir()
    return done.output, WorkDir(work)


def test_a_training_says_that_it_finished_and_where_its_files_are(
    trained: tuple[str, WorkDir],
) -> None:
    said, work = trained
    assert f"run {work.path.name}: finished, best val/mAP50-95" in said
    assert str(work.path) in said
    assert "always frozen by Ultralytics: model.14.dfl.conv.weight" in said


def test_its_files_tell_of_all_images_and_classes(trained: tuple[str, WorkDir]) -> None:
    _, work = trained
    (report,) = (
        e.event.report for e in read_events(work.events) if isinstance(e.event, Evaluated)
    )
    assert (report.split, report.units) == ("val", IMAGES)
    assert report.classes == tuple(yaml.safe_load(DATA.read_text())["names"].values())
    assert report.metrics["mAP50-95"] is not None
    result = json.loads((work.path / "training_result.json").read_text())
    assert [(d["split"], d["images"]) for d in result["data"]] == [
        ("train", IMAGES),
        ("val", IMAGES),
    ]
    assert result["metrics"]["mAP50"] == report.metrics["mAP50"]
    with (work.path / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["epoch"] == "1"
    assert all(0 < float(row[name]) < 100 for name in ("box_loss", "cls_loss", "dfl_loss"))


def test_an_evaluation_of_its_best_checkpoint_says_the_same(
    trained: tuple[str, WorkDir], home: Home
) -> None:
    _, work = trained
    done = assay("--home", str(home.root), "evaluate", work.path.name, "--json")
    assert done.exit_code == 0, done.output
    again = json.loads(done.stdout)
    told = json.loads((work.path / "training_result.json").read_text())
    assert again["metrics"]["mAP50-95"] == told["metrics"]["mAP50-95"]


def test_the_report_and_the_diagnosis_name_what_the_data_lacks(
    trained: tuple[str, WorkDir], home: Home
) -> None:
    _, work = trained
    done = assay("--home", str(home.root), "report", work.path.name)
    assert done.exit_code == 0, done.output
    text = (work.path / "report.md").read_text()
    assert f"No training example of {', '.join(WITHOUT_IN_TRAIN)}, which validation asks" in text
    assert f"on {IMAGES} images of 'val'" in text
    assert "toothbrush" in text
    assert (work.path / "report.html").stat().st_size > 0


def test_the_data_can_be_judged_before_anything_is_trained(config: Path) -> None:
    done = assay("check", str(config), "--json")
    assert done.exit_code == 4, done.output  # something to know
    findings = {f["rule"]: f for f in json.loads(done.stdout)["findings"]}
    assert findings["D03"]["severity"] == "warning"


def test_the_folder_is_read_as_it_is() -> None:
    done = assay("dataset", "check", str(DATA.parent))
    assert done.exit_code == 0, done.output
    assert "images of train without an object, which stay: 2" in done.output
    assert "boxes of train left out, smaller than a pixel: 3" in done.output
    lacking = "fire hydrant, parking meter, sheep, cow, surfboard, apple, keyboard, toaster"
    assert f"classes without an object in train: {lacking}, hair drier" in done.output
