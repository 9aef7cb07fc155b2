"""assay dataset check and convert."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli import datasets
from backend.core.errors import AssayError
from tests.support.detection_folders import SOUND, dair, image


def said(*arguments: object) -> str:
    """What a command prints."""
    app = typer.Typer()
    datasets.register(app)
    done = CliRunner().invoke(app, ["dataset", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def refusal(*arguments: object) -> str:
    with pytest.raises(AssayError) as caught:
        said(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    keys = ["000001", "000002", "000003"]
    objects = (*SOUND, ("Bus", (40, 10, 80, 50)), ("Barrow", (1, 1, 9, 9)))
    splits: dict[str, list[str]] = {"train": keys[:2], "val": keys[2:], "test": []}
    return dair(tmp_path / "set", dict.fromkeys(keys, objects), splits)


def test_check_prints_what_was_read(root: Path) -> None:
    text = said("check", root)
    assert "DAIR-V2X-I" in text
    rows = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["train", "2", "0", "4", "0", "0"] in rows
    assert ["val", "1", "0", "2", "0", "0"] in rows
    assert ["car", "2", "1", "3", "0", "0"] in rows
    assert ["bus", "2", "1", "0", "3", "0"] in rows
    assert "objects of train not among the classes: 2 (Barrow 2)" in text
    assert "classes without an object in val: truck, person, bicycle, motorcycle" in text


def test_check_as_json(root: Path) -> None:
    told = json.loads(said("check", root, "--json", "--split", "val", "--classes", "bus, car"))
    (val,) = told["splits"]
    assert val["objects"] == {"bus": 1, "car": 1}
    assert val["findings"]["dropped"] == {"Barrow": 1}
    assert len(val["digest"]) == 64


def test_check_warns_of_images_in_two_splits(root: Path) -> None:
    (root / "image/000003.jpg").write_bytes((root / "image/000001.jpg").read_bytes())
    assert "warning: images of val that are in train too: 1 (image/000001.jpg)" in said(
        "check", root
    )


def test_what_training_would_refuse_can_be_looked_at(root: Path) -> None:
    (root / "image/000002.jpg").unlink()
    assert "1 of 2 frames cannot be used" in refusal("check", root)
    text = said("check", root, "--anyway")
    assert "frames of train left out: 1 of 2: image missing 1 (000002)" in text


def test_a_class_map(root: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text("Bus: truck\nBarrow: ignore\n")
    told = json.loads(said("check", root, "--json", "--class-map", mapping))
    assert told["splits"][0]["objects"]["truck"] == 2
    assert told["splits"][0]["ignored"] == 2


def test_convert_writes_what_check_reads(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = said("convert", root, out, "--classes", "bus,car")
    assert f"written: {out / 'coco.yaml'}" in text.replace("\n", "")
    assert {path.name for path in out.rglob("*") if path.is_file()} == {
        "coco.yaml", "train.json", "val.json",
    }  # fmt: skip
    again = json.loads(said("check", out / "coco.yaml", "--json", "--classes", "bus,car"))
    first = json.loads(said("check", root, "--json", "--classes", "bus,car"))
    assert [s["digest"] for s in again["splits"]] == [s["digest"] for s in first["splits"]]
    assert "already has something in it" in refusal("convert", root, out)


def test_convert_can_copy(root: Path, tmp_path: Path) -> None:
    said("convert", root, tmp_path / "out", "--copy", "--split", "train")
    assert len(list((tmp_path / "out/images/train").rglob("*.jpg"))) == 2


def test_refusals(root: Path, tmp_path: Path) -> None:
    assert "no such file or folder" in refusal("check", tmp_path / "none")
    assert "expected different names" in refusal("check", root, "--classes", "car,car")
    assert "expected different names" in refusal("check", root, "--classes", ",")
    assert "no split 'dev'" in refusal("check", root, "--split", "dev")
    image(tmp_path / "pictures/a.jpg")
    assert "no dataset found" in refusal("check", tmp_path / "pictures")
