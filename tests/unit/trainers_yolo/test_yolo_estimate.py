"""How much memory a training is expected to take, by the networks that Ultralytics ships."""

from pathlib import Path

import pytest

from backend.hardware.machine import GIB
from backend.trainers.yolo.estimate import needed
from backend.trainers.yolo.spec import YoloConfig
from tests.support.shapes import write_dataset

MIB = 2**20
PARAMETERS = {"n": 3_157_200, "s": 11_166_560, "m": 25_902_640}
"""As Ultralytics counts them, for 80 classes."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_dataset(
        folder / "data", {"train": 1, "val": 1}, [f"class {n}" for n in range(80)]
    )


def config(data: Path, size: str, imgsz: int, **more: object) -> YoloConfig:
    plain = {"model": f"yolov8{size}.yaml", "data": str(data), "imgsz": imgsz, "amp": False}
    return YoloConfig.model_validate(plain).replace(dict(more))


@pytest.mark.parametrize(
    ("size", "batch", "imgsz", "activations", "total", "mixed"),
    [("n", 4, 320, 46, 0.24, 0.15), ("s", 8, 480, 194, 1.7, 1.0), ("m", 16, 640, 618, 10.1, 5.3)],
)
def test_the_specifications_measurements(
    size: str, batch: int, imgsz: int, activations: int, total: float, mixed: float, data: Path
) -> None:
    """MiB per image in float32, and GiB for the batch, without and with mixed precision."""
    need = needed(config(data, size, imgsz))
    assert need.per_sample / MIB == pytest.approx(activations, rel=0.02)
    assert need.fixed == 5 * 4 * PARAMETERS[size] - 2 * 4 * 16 - 4 * 16, "but for the fixed DFL"
    assert (need.fixed + batch * need.per_sample) / GIB == pytest.approx(total, rel=0.05)
    half = needed(config(data, size, imgsz, amp=True))
    assert half.fixed == need.fixed
    assert (half.fixed + batch * half.per_sample) / GIB == pytest.approx(mixed, rel=0.05)


def test_what_is_frozen_needs_less(data: Path) -> None:
    whole = needed(config(data, "n", 320))
    frozen = needed(config(data, "n", 320, **{"freeze.strategy": "backbone"}))
    assert frozen.fixed < whole.fixed
    assert frozen.per_sample < whole.per_sample
    later = {"freeze.strategy": "backbone", "freeze.unfreeze_at": 2}
    assert needed(config(data, "n", 320, **later)) == whole, "by the time that it is thawed"


def test_an_optimizer_with_one_moment_needs_less(data: Path) -> None:
    adam, sgd = (
        needed(config(data, "n", 320, **{"optimizer.name": name})) for name in ("AdamW", "SGD")
    )
    assert (adam.fixed - sgd.fixed) / (4 * PARAMETERS["n"]) == pytest.approx(1, rel=1e-4)
