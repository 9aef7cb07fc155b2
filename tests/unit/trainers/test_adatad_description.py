"""The tables of the brief, from the config that is its recipe."""

import subprocess
import sys
from pathlib import Path

from backend.catalog import load_config
from backend.trainers.adatad.description import described
from backend.trainers.adatad.spec import AdaTadConfig

BASE = Path(__file__).parents[3] / "configs/base/adatad.yaml"


def rows(**changes: object) -> dict[str, tuple[str, ...]]:
    """Values by name."""
    overrides = {"data": "/d/thumos.json", **{k.replace("__", "."): v for k, v in changes.items()}}
    config = load_config(BASE, overrides)
    assert isinstance(config, AdaTadConfig)
    found: dict[str, tuple[str, ...]] = {}
    for table in described(config):
        assert {len(row) for row in table.rows} == {len(table.head)}
        found |= {f"{table.title}: {row[0]}": row[1:] for row in table.rows}
    return found


def test_the_data_of_the_brief() -> None:
    said = rows(videos__threads=12)
    assert said["Windows and frames: sampling"] == (
        "random truncation: one window per video and epoch",
        "sliding windows, 25 % shared with the next",
        "sliding windows, 50 % shared with the next",
    )
    assert said["Windows and frames: window"] == ("768 frames",) * 3
    assert said["Windows and frames: input"] == ("160 x 160",) * 3
    crops = ("random resized crop", "centre crop", "centre crop")
    assert said["Windows and frames: crop"] == crops
    assert said["Windows and frames: augmentation"][0].startswith("flip 0.5; ")
    assert said["Windows and frames: augmentation"][1:] == ("none", "none")
    assert said["Windows and frames: decoding threads of a loader"] == ("12",) * 3
    assert said["Preprocessing, in order: 1"][0] == (
        "768 frames at random, of which 0.9 to 1 are filled; at least one action keeps 0.75 of "
        "its length"
    )


def test_the_model_of_the_brief() -> None:
    said = {name: values[0] for name, values in rows().items()}
    for name, value in {
        "patch": "16 x 16 pixels, 2 frames",
        "width": "384",
        "layers": "12",
        "attention heads": "6",
        "MLP ratio": "4",
        "frames of a chunk": "16",
        "frames of a window": "768 (48 chunks)",
        "adapters": "in all 12 layers, 96 of 384 channels wide, along time",
        "activation checkpointing": "yes: backbone.blocks.*",
        "input": "160 x 160; positions of 224 x 224 are interpolated",
    }.items():
        assert said[f"Backbone: {name}"] == value
    assert said["Detector: pyramid"] == "6 levels, strides 1, 2, 4, 8, 16, 32"


def test_loading_of_training_and_of_the_rest() -> None:
    said = rows(runner__batch=8, runner__workers=12, runner__prefetch=6, inference__batch=2)
    assert said["Loading: batch (windows)"] == ("8", "2", "2")
    assert said["Loading: loaders"] == ("12 processes", "12 threads", "12 threads")
    assert said["Loading: batches that each has ready"] == ("6", "1", "1")


def test_a_head_alone_on_frames_that_stay_as_they_are() -> None:
    alone = {"freeze__strategy": "head-only", "frames__augment": False, "windows__align": 16,
             "reuse__folder": "/f"}  # fmt: skip
    said = rows(**alone)
    assert said["Backbone: adapters"] == ("none",)
    assert said["Windows and frames: augmentation"] == ("none",) * 3
    assert said["Windows and frames: crop"] == ("centre crop",) * 3
    assert said["Windows and frames: frozen features used again"] == ("yes", "yes", "no")
    other = rows(**alone | {"windows__align": 1})
    assert other["Windows and frames: frozen features used again"] == ("no",) * 3


def test_no_torch_is_needed_to_describe() -> None:
    code = (
        "import sys; import backend.trainers.adatad.description as d\n"
        "assert 'torch' not in sys.modules, sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
