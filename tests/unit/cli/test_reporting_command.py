"""assay report where there is nothing to report."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli import reporting
from backend.core.errors import StoreError
from backend.tracking.home import Home


@pytest.mark.parametrize("more", [(), ("--against", "other"), ("--json",)])
def test_an_empty_home_is_one_sentence(tmp_path: Path, more: tuple[str, ...]) -> None:
    app = typer.Typer()
    reporting.register(app)
    done = CliRunner().invoke(app, ["nobody", *more], obj=Home(tmp_path / "home"))

    assert isinstance(done.exception, StoreError)
    assert "no run 'nobody'; there is: none yet; studies: none" in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "home").exists(), "asking makes no home"
