"""What is wrong in a setting is one sentence, wherever the setting is given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.catalog import resolve
from backend.core.comparisons import Contender
from backend.core.errors import ConfigError
from backend.core.records import Checkpoint
from backend.sides import Side, shared_config

BASE = {"kind": "yolo", "model": "net.yaml", "data": "data.yaml"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"freeze.strategy": "custom", "freeze.modules": True}, "modules or a list of them"),
        ({"freeze.strategy": "custom", "freeze.modules": -1}, "modules or a list of them, got -1"),
        ({"freeze.strategy": "custom", "freeze.modules": 4.5}, "modules or a list of them"),
        ({"hardware.sample": float("inf")}, "less than or equal to 3600, got inf"),
        (
            {"hardware.auto_scale": True, "hardware.keep": ["bacth"]},
            "does not change 'bacth'; of yolo it may change batch, imgsz, cache, workers, model",
        ),
        ({"export": "tflite"}, "'onnx' or 'ultralytics', got 'tflite'"),
    ],
)
def test_a_wrong_setting_of_a_training(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]+$") as refused:
        resolve(BASE, settings, "mine.yaml")
    assert sentence in str(refused.value)


def test_one_format_and_one_module_need_no_brackets() -> None:
    settings = {"export": "onnx", "freeze.strategy": "custom", "freeze.modules": "14.cv2"}
    config = resolve(BASE, settings, "mine.yaml").model_dump()
    assert config["export"] == ("onnx",)
    assert config["freeze"]["modules"] == ("14.cv2",)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"imgsz": 100}, "'imgsz': input should be a multiple of 32"), ({"no": 1}, "unknown key")],
)
def test_a_wrong_setting_by_which_checkpoints_are_scored(
    settings: dict[str, object], sentence: str
) -> None:
    config = resolve(BASE, {}, "mine.yaml")
    checkpoint = Checkpoint(path="best.pt", sha256="", step=1, epoch=1)
    side = Side(Contender(label="mine", checkpoint=checkpoint, trainer="yolo"), config)
    assert shared_config(None, side, {}, None) == config
    with pytest.raises(ConfigError) as refused:
        shared_config(None, side, settings, None)
    assert str(refused.value).startswith(f"the run's config: {sentence}")


START = """
from pathlib import Path
from backend.core.errors import TrainingError
from backend.processes import Workers
try:
    Workers(["no_memory"]).start("fit", Path("work"))
except TrainingError as error:
    print(error)
"""


def test_a_training_stack_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    (tmp_path / "no_memory.py").write_text("raise MemoryError\n")
    found = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    said = subprocess.run(
        [sys.executable, "-c", START], env=os.environ | found, capture_output=True, text=True
    )
    assert said.stdout.startswith("the process that loads the training stack ended before")
    assert "MemoryError" in said.stderr
