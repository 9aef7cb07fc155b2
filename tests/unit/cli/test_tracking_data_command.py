"""assay dataset check and convert on tracking data."""

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli import datasets
from backend.core.errors import AssayError
from tests.support import tracking_folders as made


def ran(*arguments: object) -> tuple[int, str]:
    """Exit code and what a command prints."""
    app = typer.Typer()
    datasets.register(app)
    done = CliRunner().invoke(app, ["dataset", *map(str, arguments)], catch_exceptions=False)
    return done.exit_code, done.output


def refusal(*arguments: object) -> str:
    with pytest.raises(AssayError) as caught:
        ran(*arguments)
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made.clean(tmp_path / "set")


def test_check_prints_a_mot_folder_in_numbers(root: Path) -> None:
    code, text = ran("check", root, "--detections", root / made.DATABASE)
    assert code == 0
    rows = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["train", "2", "24", "24", "96", "8", "12.0", "0", "file"] in rows
    assert ["player", "48", "24"] in rows
    assert ["train", "xywhcs", "104", "4.3", "0", "1.000", "24"] in rows
    assert "error" not in text
    assert "warning" not in text


def test_check_ends_with_another_code_if_there_are_errors(root: Path) -> None:
    shutil.rmtree(root / "val/c/img1")
    code, text = ran("check", root)
    assert code == 1
    assert "error N9: val: 12 annotated frames have no image: c (12)." in text
    assert ran("check", root, "--anyway")[0] == 0
    assert ran("check", root, "--split", "train")[0] == 0


def test_check_reads_the_database_that_training_would(root: Path) -> None:
    (root / made.DATABASE).write_text("[]")
    code, text = ran("check", root)
    assert code == 1
    assert "error N" in text


def test_check_as_json(root: Path) -> None:
    made.write_detections(root, made.detections(root, "xywhsc"))
    database = root / made.DATABASE
    code, text = ran("check", root, "--detections", database, "--fields", "xywhcs", "--json")
    told = json.loads(text)
    assert code == 1
    assert [one["code"] for one in told["findings"]] == ["N2"]
    assert told["splits"][1]["counts"] == {"player": 24, "referee": 12, "ball": 12}


def test_convert_from_coco(root: Path, tmp_path: Path) -> None:
    coco = made.coco_videos(root, tmp_path / "coco")
    code, text = ran("convert", coco, tmp_path / "mot", "--to", "mot", "--split", "val")
    assert code == 0
    assert "only name a group" in text
    assert ran("check", tmp_path / "mot")[0] == 0
    assert not (tmp_path / "mot/train").exists()
    linked = tmp_path / "linked"
    _, text = ran("convert", coco, linked, "--to", "mot", "--ids", "link", "--gap", "2")
    assert "pseudo identities" in text


def test_refusals(root: Path, tmp_path: Path) -> None:
    coco = made.coco_videos(root, tmp_path / "coco")
    out = tmp_path / "out"
    assert "expected coco or mot" in refusal("convert", coco, out, "--to", "yolo")
    assert "no split 'test'" in refusal("convert", coco, out, "--to", "mot", "--split", "test")
    assert "expected a COCO folder" in refusal("convert", root, out, "--to", "mot")
    assert "is no MOT folder" in refusal("check", coco, "--detections", root / made.DATABASE)
    assert "are not for --to mot" in refusal("convert", coco, out, "--to", "mot", "--anyway")
    assert "which has none" in refusal("check", root, "--class-map", tmp_path / "map.yaml")
    assert not out.exists()
