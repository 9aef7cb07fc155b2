"""assay compare on files of predictions, without a home."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli import evidence
from backend.core.errors import AssayError
from backend.tracking.home import Home


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ground truth of six images, and predictions of four models, ``a,b.json`` among them."""
    images = range(6)
    truth = {
        "images": [{"id": image} for image in images],
        "categories": [{"id": 1, "name": "ball"}],
        "annotations": [
            {"id": image + 1, "image_id": image, "category_id": 1, "bbox": [5, 5, 40, 40]}
            for image in images
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    for shift, name in enumerate(("old", "new", "seed", "a,b")):
        boxes = [
            {"image_id": image, "category_id": 1, "bbox": [5 + shift * image, 5, 40, 40],
             "score": 0.9}
            for image in images
        ]  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(boxes))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    """What the command prints, or the sentence that it raises for the top level to print."""
    app = typer.Typer()
    app.command()(evidence.compare)
    done = CliRunner().invoke(app, list(arguments), obj=Home(folder / "home"))
    assert not (folder / "home").exists(), "comparing files makes no home"
    if done.exception is None:
        return done.stdout
    assert isinstance(done.exception, AssayError), done.exception
    assert "\n" not in str(done.exception)
    return str(done.exception)


TRUTH = ("--gt", "gt.json")


def test_names_may_hold_commas(files: Path) -> None:
    found = json.loads(run(files, "old.json", "a,b.json", *TRUTH, "--json"))
    assert found["candidate"]["label"] == "a,b.json"
    assert found["target"]["units"] == 6


def test_seeds_stand_between_commas(files: Path) -> None:
    found = json.loads(run(files, "old.json,new.json", "seed.json", *TRUTH, "--json"))
    assert len(found["baseline"]["values"]) == 2
    assert len(found["candidate"]["values"]) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((",", "new.json", *TRUTH), "',': a name is missing"),
        (("", "new.json", *TRUTH), "'': a name is missing"),
        (("old.json,", "new.json", *TRUTH), "'old.json,': a name is missing"),
        (("old.json,old.json", "new.json", *TRUTH), "old.json twice, but seeds are"),
        (("old.json,new.json", "seed.json", *TRUTH, "--html", "o.html"), "recipes have no report"),
        (("old.json", "new.json"), "old.json: no weights; predictions need their ground truth"),
        (("old.json", "new.json", *TRUTH, "--config", "c.yaml"), "are scored already"),
        (("old", "new"), "no run 'old'"),
        (("old,older", "new"), "no run 'old'"),
    ],
)
def test_one_sentence_for_each_mistake(
    files: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in run(files, *arguments)
