"""A checkpoint that answers, in the pixels of the image as given."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backend.core.trainer import Detection
from backend.trainers.yolo.predictor import YoloPredictor, frame
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.yolo_runs import Training


@pytest.fixture(scope="module")
def predictor(trained: Training) -> YoloPredictor:
    return YoloTrainer(trained.config, trained.work).predictor(trained.best())


@pytest.fixture(scope="module")
def images(trained: Training) -> list[NDArray[np.uint8]]:
    folder = trained.config.data.parent / "images/val"
    return [np.asarray(Image.open(path)).copy() for path in sorted(folder.iterdir())]


def sure(found: list[Detection]) -> list[Detection]:
    return [box for box in found if box.score > 0.6]


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return width * height / (sum(areas) - width * height)


def truths(trained: Training, number: int) -> list[tuple[str, tuple[float, ...]]]:
    names = ("square", "disc", "triangle")
    text = (trained.config.data.parent / f"labels/val/{number:03d}.txt").read_text()
    rows = [[float(word) for word in line.split()] for line in text.splitlines()]
    return [
        (names[int(c)], tuple(v * 64 for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)))
        for c, x, y, w, h in rows
    ]


def test_boxes_lie_on_the_shapes(
    predictor: YoloPredictor, images: list[NDArray[np.uint8]], trained: Training
) -> None:
    found = predictor.predict(images)
    assert len(found) == len(images)
    hits = [
        any(d.label == name and iou(d.box, box) > 0.6 for d in found[number])
        for number in range(len(images))
        for name, box in truths(trained, number)
    ]
    assert sum(hits) / len(hits) > 0.5


def test_the_surest_come_first_and_conf_is_a_floor(
    predictor: YoloPredictor, images: list[NDArray[np.uint8]]
) -> None:
    for found in predictor.predict(images, conf=0.1):
        scores = [box.score for box in found]
        assert scores == sorted(scores, reverse=True)
        assert all(score > 0.1 for score in scores)


@pytest.mark.parametrize("factor", [2, 3])
def test_boxes_are_in_pixels_of_the_image_as_given(
    predictor: YoloPredictor, images: list[NDArray[np.uint8]], factor: int
) -> None:
    large = [image.repeat(factor, axis=0).repeat(factor, axis=1) for image in images]
    pairs = 0
    for small, big in zip(predictor.predict(images), predictor.predict(large), strict=True):
        for box in sure(small):
            scaled = tuple(value * factor for value in box.box)
            pairs += any(b.label == box.label and iou(b.box, scaled) > 0.7 for b in big)
    assert pairs >= 0.8 * sum(len(sure(small)) for small in predictor.predict(images)) > 0


def test_an_image_that_is_not_square_is_padded_and_undone(
    predictor: YoloPredictor, images: list[NDArray[np.uint8]]
) -> None:
    """A shape in the left half stays where it is when the right half is doubled in width."""
    wide = [np.concatenate([image, np.zeros_like(image)], axis=1) for image in images]
    for image, found in zip(wide, predictor.predict(wide, conf=0.01), strict=True):
        assert all(
            0 <= b.box[0] <= b.box[2] <= 128 and 0 <= b.box[1] <= b.box[3] <= 64 for b in found
        )
        assert image.shape == (64, 128, 3)


def test_images_of_different_sizes_keep_their_order(
    predictor: YoloPredictor, images: list[NDArray[np.uint8]]
) -> None:
    mixed = [images[0], images[1][:40], images[2], images[3][:, :30]]
    together = predictor.predict(mixed, conf=0.05)
    alone = [predictor.predict([image], conf=0.05)[0] for image in mixed]
    for one, other in zip(together, alone, strict=True):
        assert [b.label for b in one] == [b.label for b in other]
        for a, b in zip(one, other, strict=True):
            assert a.box == pytest.approx(b.box, abs=1e-2)


def test_colours_are_red_green_blue(
    predictor: YoloPredictor, images: list[NDArray[np.uint8]], trained: Training
) -> None:
    """The predictor and the evaluation, which reads files, see the same image."""
    results = json.loads(Path(trained.evaluated().report.predictions).read_text())
    evaluated = sorted((r["score"] for r in results if r["image_id"] == 1), reverse=True)
    (found,) = predictor.predict(images[:1], conf=0.001)
    assert found[0].score == pytest.approx(evaluated[0], abs=1e-4)


def test_no_images_no_answers(predictor: YoloPredictor) -> None:
    assert predictor.predict([]) == []


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 4), (3, 64, 64)])
def test_other_arrays_are_refused(predictor: YoloPredictor, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected a uint8 image"):
        predictor.predict([np.zeros(shape, np.uint8)])


def test_float_images_are_refused(predictor: YoloPredictor) -> None:
    with pytest.raises(ValueError, match="float64"):
        predictor.predict([np.zeros((64, 64, 3))])  # type: ignore[list-item]


@pytest.mark.parametrize("size", [(64, 64), (37, 91), (480, 640), (10, 300)])
def test_framing_is_undone_exactly(size: tuple[int, int]) -> None:
    import torch

    framed = frame(np.zeros((*size, 3), np.uint8), 128, 32)
    assert framed.pixels.shape[1] % 32 == framed.pixels.shape[2] % 32 == 0
    points = torch.tensor([[1.0, 2.0, 9.0, 8.0]]) * framed.scale
    points += torch.tensor([framed.left, framed.top] * 2)
    assert framed.undo(points)[0] == pytest.approx([1, 2, 9, 8], abs=1e-3)
