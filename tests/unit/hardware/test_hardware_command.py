"""assay hardware, on the machine that runs the tests."""

import json

import typer
from typer.testing import CliRunner

from backend.cli import hardware
from backend.hardware.machine import survey
from backend.hardware.tiers import choose

app = typer.Typer()
hardware.register(app)


def test_it_prints_what_was_found_and_what_it_would_choose() -> None:
    said = CliRunner().invoke(app)
    assert said.exit_code == 0, said.output
    choice = choose(survey())
    assert f"tier {choice.tier.name}: {choice.reason}" in " ".join(said.output.split())
    assert f"{choice.tier.name} *" in said.output


def test_the_same_as_json() -> None:
    said = json.loads(CliRunner().invoke(app, ["--json"]).output)
    assert said["choice"]["tier"]["name"] == choose(survey()).tier.name
    assert said["machine"]["cores"] == survey().cores
    assert [tier["batch"] for tier in said["tiers"]] == [4, 8, 16, 32, 64, 64]
