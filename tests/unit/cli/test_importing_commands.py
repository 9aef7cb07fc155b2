"""assay import and assay epochs up to the point where a store is needed."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli import importing
from backend.core.errors import AssayError
from backend.tracking.home import Home
from tests.support.foreign_runs import write


def refusal(home: Path, *arguments: str) -> str:
    """What the command raises for the top level to print."""
    app = typer.Typer()
    importing.register(app)
    done = CliRunner().invoke(app, list(arguments), obj=Home(home))
    assert isinstance(done.exception, AssayError), done.output
    assert not home.exists(), "a refused import makes no home"
    return str(done.exception)


@pytest.mark.parametrize("kind", ["ultralytics", "mmengine", "tensorboard", "csv", "json"])
def test_an_empty_folder_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    said = refusal(tmp_path / "home", "import", kind, str(tmp_path / "empty"))
    assert str(tmp_path / "empty") in said
    assert "\n" not in said


@pytest.mark.parametrize("kind", ["ultralytics", "mmengine", "tensorboard", "csv", "json"])
def test_a_path_that_is_not_there(tmp_path: Path, kind: str) -> None:
    said = refusal(tmp_path / "home", "import", kind, str(tmp_path / "none"))
    assert str(tmp_path / "none") in said


def test_a_bad_map(tmp_path: Path) -> None:
    for pair in ("a", "a=b", "a=Val/b"):
        said = refusal(tmp_path / "home", "import", "json", str(tmp_path), "--map", pair)
        assert f"--map {pair}" in said


def test_a_headline_that_is_not_there(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "epoch,val_loss\n1,2\n")
    said = refusal(tmp_path / "home", "import", "csv", str(file), "--headline", "mAP")
    assert "no metric 'mAP' for the headline; there is: val/loss" in said


def test_bad_predictions(tmp_path: Path) -> None:
    files = ("--gt", str(tmp_path / "gt.json"), "--pred", str(tmp_path / "pred.json"))
    said = refusal(tmp_path / "home", "import", "predictions", "--task", "x", *files)
    assert "choose one of detection" in said
    said = refusal(tmp_path / "home", "import", "predictions", "--task", "detection", *files)
    assert "no such file or folder with ground truth" in said
    said = refusal(tmp_path / "home", "import", "predictions", "--task", "detection", *files,
                   "--option", "nonsense=1")  # fmt: skip
    assert "unknown key 'nonsense'" in said
