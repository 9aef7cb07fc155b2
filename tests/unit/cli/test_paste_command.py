"""assay dataset paste: what copy-paste would make, before anything is trained."""

from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from backend.cli.datasets import app
from backend.core.errors import AssayError, ConfigError
from tests.support.pasting import write_annotated, write_backgrounds
from tests.support.shapes import SIZE, write_dataset


@pytest.fixture
def config(tmp_path: Path) -> Path:
    given = {
        **{"kind": "yolo", "model": "none.yaml", "imgsz": SIZE},
        "data": str(write_dataset(tmp_path / "shapes", {"train": 2, "val": 2})),
        "synthetic": {
            "annotated_dir": str(write_annotated(tmp_path / "annotated")),
            "backgrounds_dir": str(write_backgrounds(tmp_path / "rooms")),
        },
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(given))
    return tmp_path / "config.yaml"


def paste(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["paste", *map(str, arguments)])
    if isinstance(done.exception, AssayError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_sheet_of_made_images_is_written(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    said = paste(config, "--out", out, "--count", 2)
    assert "6 cut-outs (6 by mask: polygon" in said
    with Image.open(out) as sheet:
        assert sheet.size == (2 * 320 + 4, 320)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "synthetic.enabled=false"], "nothing is pasted; name synthetic.annotated_dir"),
        (["--set", "synthetic.ratio=0"], "nothing is pasted"),
        (["--out", "sheet.mp3"], "cannot be written as a picture"),
        (["--out", "nowhere/sheet.png"], "cannot be written as a picture"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    arguments: list[str], said: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        paste(config, "--out", "sheet.png", *arguments)
