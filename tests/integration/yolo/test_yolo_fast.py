"""assay train --fast: a run that tells that it was a short first one."""

from pathlib import Path

import yaml
from typer.testing import CliRunner

from backend.cli.main import app
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from backend.trainers.yolo.spec import YoloConfig


def test_a_fast_run_says_what_was_changed_and_has_a_tag(
    scratch: YoloConfig, home: Home, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(scratch.model_dump(mode="json")))
    arguments = ["--home", str(home.root), "train", str(path), "--fast", "--set", "epochs=1"]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, said.output
    assert "--fast: patience 5, augment.close_mosaic 0" in said.output
    (run,) = MlflowStore(home).runs()
    assert run.tags["fast"] == "true"
    assert (run.params["epochs"], run.params["patience"]) == ("1", "5")
