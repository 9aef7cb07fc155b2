"""What is said of the data before the first step."""

from pathlib import Path

import numpy as np

from backend.datasets.detection import DetectionSplit, Frame
from backend.trainers.moe_rtdetr.data_notes import crowded_notes
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig

NOWHERE = np.zeros((0, 4))


def frame(number: int, objects: int) -> Frame:
    return Frame(
        id=number, path=Path(f"/{number}.png"), name=f"{number}.png", width=64, height=64,
        boxes=np.tile([0.0, 0.0, 9.0, 9.0], (objects, 1)), labels=np.zeros(objects, np.int64),
        ignored=NOWHERE, ignored_labels=np.zeros(0, np.int64),
    )  # fmt: skip


def split(name: str, *frames: Frame) -> DetectionSplit:
    return DetectionSplit(Path("/data"), name, ("car",), frames, "digest")


def config(**options: object) -> MoeRtDetrConfig:
    return MoeRtDetrConfig.model_validate({"data": "data"} | options)


def test_frames_with_more_objects_than_can_be_found_are_told() -> None:
    full = split("val", frame(1, 3), frame(2, 5), frame(3, 4))
    (note,) = crowded_notes(full, config(model={"queries": 3}))
    assert "images of val that hold more objects than model.queries (3)" in note
    assert "2, up to 5 in 2.png" in note
    (note,) = crowded_notes(full, config(max_det=4))
    assert "max_det (4)" in note
    assert crowded_notes(full, config(model={"queries": 5})) == ()
