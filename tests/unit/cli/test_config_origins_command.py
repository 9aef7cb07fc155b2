"""assay config show --origins, assay train --fast --dry-run, assay hardware CONFIG."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from backend.cli.main import app
from backend.hardware.machine import survey
from backend.hardware.tiers import choose


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("kind: yolo\nmodel: yolov8m.pt\nbatch: 16\nimgsz: 640\n")
    (tmp_path / "mine.yaml").write_text(
        "extends: base.yaml\ndata: d.yaml\ndevice: cpu\nworkers: 0\nhardware: {auto_scale: true}\n"
    )
    return "mine.yaml"


def assay(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def rows(output: str) -> dict[str, list[str]]:
    """The cells of each row of a table, by its first cell."""
    cells = [[cell.strip() for cell in line.split("│")] for line in output.splitlines()]
    return {first: rest for first, *rest in cells if rest}


def test_each_value_is_shown_with_its_source(config: str) -> None:
    said = assay("config", "show", config, "--origins", "--fast", "--set", "imgsz=320")
    assert said.exit_code == 0, said.output
    shown = rows(said.output)
    assert shown["batch"] == ["16", "base.yaml", "4"], "the last one is the tier's"
    assert shown["imgsz"] == ["320", "--set", ""]
    assert shown["epochs"] == ["10", "--fast", ""]
    assert shown["device"] == ["cpu", "mine.yaml", ""]
    assert shown["seed"] == ["0", "default", ""]
    assert shown["hardware.keep"] == ["['imgsz', 'model']", "what was set", ""]
    assert "tier cpu" in said.output


def test_without_scaling_no_tier_is_shown(config: str) -> None:
    said = assay("config", "show", config, "--origins", "--set", "hardware.auto_scale=false")
    assert rows(said.output)["batch"] == ["16", "base.yaml"]
    assert "tier cpu" not in said.output


def test_a_fast_config_is_shown_whole(config: str) -> None:
    for command in (("config", "show", config), ("train", config, "--dry-run")):
        said = yaml.safe_load(assay(*command, "--fast", "--set", "patience=1").output)
        assert (said["epochs"], said["patience"], said["model"]) == (10, 1, "yolov8n.pt")
        assert said["augment"]["close_mosaic"] == 3


def test_a_resumed_run_cannot_become_fast(config: str) -> None:
    assert assay("train", "--resume", "run", "--fast").exit_code == 2


@pytest.mark.parametrize("arguments", [("run@soon",), ("run@",), ("run@3", "--fast")])
def test_a_run_begins_at_an_epoch_that_has_a_number(arguments: tuple[str, ...]) -> None:
    assert assay("train", "--resume", *arguments).exit_code == 2


def test_what_the_machine_makes_of_a_config(config: str) -> None:
    said = assay("hardware", config, "--set", "imgsz=320")
    assert said.exit_code == 0, said.output
    shown = rows(said.output)
    assert shown["batch"] == ["16", "base.yaml", "4", "4"]
    assert shown["imgsz"] == ["320", "--set", "", "320"]
    assert "workers" not in shown, "on the CPU Ultralytics has no loader processes"
    assert shown["1"] == ["batch 4 -> 2"]
    assert shown["server"] == ["64"], "imgsz was set, and the model is not auto"
    assert "tier cpu: trains on the CPU" in said.output
    assert "on the CPU no estimate of its memory is made" in said.output


def test_what_is_left_to_the_config_is_said(config: str) -> None:
    off = ("--set", "hardware.auto_scale=false", "--set", "hardware.recover=false")
    said = assay("hardware", config, *off).output
    assert rows(said)["batch"] == ["16", "base.yaml", "4", "16"]
    assert "hardware.auto_scale is false: the tier changes nothing" in said
    assert "hardware.recover is false: the run ends when memory runs out" in said


def test_the_forecast_as_json(config: str) -> None:
    said = json.loads(assay("hardware", config, "--json", "--set", "batch=6").output)
    batch = next(plan for plan in said["plans"] if plan["key"] == "batch")
    assert batch == {"key": "batch", "requested": 6, "tier": None, "planned": 6}
    assert said["origins"]["batch"] == "--set"
    assert said["origins"]["imgsz"].endswith("base.yaml")
    assert said["ladder"][0] == "batch 6 -> 3"
    assert said["gpu"] is False


def test_without_a_config_there_is_nothing_to_set() -> None:
    assert assay("hardware", "--set", "batch=1").exit_code == 2
    said = json.loads(assay("hardware", "--json").output)
    assert said["choice"]["tier"]["name"] == choose(survey()).tier.name
