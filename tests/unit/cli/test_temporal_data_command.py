"""assay dataset check on ActivityNet data."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli import datasets
from backend.core.errors import AssayError
from tests.support import temporal_folders as made


def ran(*arguments: object) -> tuple[int, str]:
    """Exit code and what a command prints."""
    app = typer.Typer()
    datasets.register(app)
    done = CliRunner().invoke(app, ["dataset", *map(str, arguments)], catch_exceptions=False)
    return done.exit_code, done.output


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made.clean(tmp_path / "set")


def test_check_prints_videos_and_actions(root: Path) -> None:
    code, text = ran("check", root)
    assert code == 0
    rows = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["run", "10", "1", "0.40", "0.50"] in rows
    assert ["training", "2", "2"] in [row[:3] for row in rows]
    assert "warning" not in text
    assert "error" not in text


def test_check_ends_with_another_code_if_there_are_errors(root: Path) -> None:
    (root / "videos/c.mp4").write_bytes(b"nothing")
    code, text = ran("check", root / "annotations.json")
    assert code == 1
    assert "error V2: validation: 1 video files cannot be used (c: cannot be decoded" in text
    assert ran("check", root, "--anyway")[0] == 0
    assert ran("check", root, "--split", "train")[0] == 0


def test_check_as_json(root: Path) -> None:
    code, text = ran("check", root, "--json", "--classes", "run,jump")
    told = json.loads(text)
    assert code == 0
    assert [one["actions"] for one in told["splits"]] == [20, 2]
    assert list(told["splits"][0]["counts"]) == ["run", "jump"]
    assert set(told["digests"]) == {"training", "validation"}


def test_options_of_other_data_are_refused(root: Path) -> None:
    with pytest.raises(AssayError, match="are not for ActivityNet data"):
        ran("check", root, "--class-map", root / "map.yaml")
