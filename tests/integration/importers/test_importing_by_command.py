"""The commands against a home."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli import importing
from backend.core.errors import ComparisonError, StoreError
from backend.tracking.home import Home
from tests.support.foreign_runs import MDFED, brief_tables, write


def assay(home: Home, *arguments: str) -> str:
    app = typer.Typer()
    importing.register(app)
    done = CliRunner().invoke(app, list(arguments), obj=home)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_the_briefs_claim_answered(home: Home, tmp_path: Path) -> None:
    folder = str(brief_tables(tmp_path / "adatad"))
    said = assay(home, "import", "csv", folder, "--name", "AdaTAD 64 GB", "--epochs", "100")
    assert "52 new values, 0 checkpoints; ranked by val/average_mAP, best at epoch 59" in said
    assert "stopped: imported at epoch 59 of 100" in said
    assert "nothing new" in assay(home, "import", "csv", folder, "--name", "AdaTAD 64 GB",
                                  "--epochs", "100")  # fmt: skip
    said = assay(home, "epochs", "AdaTAD 64 GB", "57", "59")
    assert "undecided. val/average_mAP is +0.040 points" in said
    assert "val/mAP_0.6 fell by 0.050 points" in said
    answer = json.loads(assay(home, "epochs", "AdaTAD 64 GB", "57", "59", "--json"))
    assert (answer["verdict"], answer["first"], answer["second"]) == ("undecided", 57, 59)
    with pytest.raises(StoreError, match="no run 'nobody'"):
        assay(home, "epochs", "nobody", "1", "2")


def test_json_output_and_a_headline_of_ones_own(home: Home, tmp_path: Path) -> None:
    write(tmp_path / "stage1" / "loss.json", json.dumps(MDFED))
    answer = json.loads(
        assay(home, "import", "json", str(tmp_path / "stage1"), "--headline", "val/loss", "--json")
    )
    assert (answer["values"], answer["headline"], answer["status"]) == (12, "val/loss", "finished")
    assert answer["best_epoch"] == 2


def test_a_chosen_name_stays(home: Home, tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "epoch,mAP\n1,0.5\n2,0.6\n")
    assay(home, "import", "csv", str(file), "--name", "first try")
    write(file, "epoch,mAP\n1,0.5\n2,0.6\n3,0.7\n")
    assay(home, "import", "csv", str(file))
    assert "Epoch 3 against epoch 1" in assay(home, "epochs", "first try", "1", "3")
    assay(home, "import", "csv", str(file), "--name", "second try")
    with pytest.raises(StoreError, match="no run 'first try'"):
        assay(home, "epochs", "first try", "1", "3")


def test_a_headline_of_the_question(home: Home, tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "epoch,mAP,loss\n1,0.5,3\n2,0.6,2\n")
    assay(home, "import", "csv", str(file))
    assert "train/loss is" in assay(home, "epochs", "t", "1", "2", "--headline", "loss")
    with pytest.raises(ComparisonError, match="no metric 'F1'"):
        assay(home, "epochs", "t", "1", "2", "--headline", "F1")
