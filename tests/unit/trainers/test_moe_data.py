"""Frames as the network gets them: boxes stay on their objects whatever is done to the picture."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from backend.core.errors import DataError
from backend.datasets import DetectionSplit, read_split
from backend.runner.config import RunnerConfig
from backend.runner.data import Stream
from backend.runner.distributed import Ranks
from backend.trainers.moe_rtdetr.data import HUE, VISIBLE, Frames, Sample, batches, collate
from backend.trainers.moe_rtdetr.spec import AugmentConfig

SIZE = (64, 96)  # height and width of the network's images
BOX = (20, 30, 80, 70)  # of the drawn object, in a picture of 200 x 100
RED = (220, 30, 30)


def drawn(root: Path, boxes: list[tuple[int, int, int, int]], count: int = 1) -> DetectionSplit:
    """Grey pictures of 200 x 100 with red rectangles, read as a YOLO set."""
    for number in range(count):
        pixels = np.full((100, 200, 3), 90 + number, dtype=np.uint8)
        rows = []
        for left, top, right, bottom in boxes:
            pixels[top:bottom, left:right] = RED
            rows.append(f"0 {(left + right) / 400} {(top + bottom) / 200} "
                        f"{(right - left) / 200} {(bottom - top) / 100}\n")  # fmt: skip
        path = root / f"images/train/{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        label = root / f"labels/train/{number:03d}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("".join(rows))
    (root / "data.yaml").write_text("train: images/train\nnames: [car]\n")
    return read_split(root / "data.yaml", "train", ("car",))


def red_box(image: Tensor) -> list[float]:
    """Bounds of the red pixels (cx, cy, w, h in 0..1)."""
    red = (image[0].int() - image[1].int()) > 60
    rows, columns = (torch.nonzero(red.any(dim=d)).flatten() for d in (1, 0))
    top, bottom = rows[0].item() / SIZE[0], (rows[-1].item() + 1) / SIZE[0]
    left, right = columns[0].item() / SIZE[1], (columns[-1].item() + 1) / SIZE[1]
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def taken(split: DetectionSplit, times: int, **augment: float) -> list[Sample]:
    """The first frame, several times."""
    random.seed(0)
    config = AugmentConfig.model_validate({"fliplr": 0, **augment})
    frames = Frames(split, SIZE, config)
    return [frames[0] for _ in range(times)]


def test_a_frame_as_it_is(tmp_path: Path) -> None:
    sample = Frames(drawn(tmp_path, [BOX]), SIZE)[0]
    assert sample.image.shape == (3, 64, 96)
    assert sample.image.dtype == torch.uint8
    assert sample.target["boxes"].tolist()[0] == pytest.approx([0.25, 0.5, 0.3, 0.4])
    assert sample.target["class_labels"].tolist() == [0]
    assert sample.target["class_labels"].dtype == torch.int64
    assert sample.target["areas"].tolist() == [60 * 40]
    assert red_box(sample.image) == pytest.approx([0.25, 0.5, 0.3, 0.4], abs=0.02)


@pytest.mark.parametrize("augment", [
    {"fliplr": 1}, {"fliplr": 0.5}, {"scale": 0.4}, {"scale": 0.9}, {"hsv": 0.3},
    {"fliplr": 0.5, "scale": 0.5, "hsv": 0.3},
])  # fmt: skip
def test_boxes_stay_on_their_objects(tmp_path: Path, augment: dict[str, float]) -> None:
    seen = 0
    for sample in taken(drawn(tmp_path, [BOX]), 60, **augment):
        if len(sample.target["boxes"]):
            seen += 1
            assert sample.target["boxes"][0].tolist() == pytest.approx(
                red_box(sample.image), abs=0.025
            )
    assert seen >= 40


def test_each_key_changes_something(tmp_path: Path) -> None:
    split = drawn(tmp_path, [BOX])
    plain = Frames(split, SIZE)[0].image
    assert all(torch.equal(s.image, plain) for s in taken(split, 5)), "nothing asked for"
    for augment in ({"fliplr": 1.0}, {"scale": 0.3}, {"hsv": 0.3}):
        changed = [not torch.equal(s.image, plain) for s in taken(split, 5, **augment)]
        assert all(changed), augment


def test_flips_are_as_frequent_as_asked(tmp_path: Path) -> None:
    samples = taken(drawn(tmp_path, [BOX]), 400, fliplr=0.25)
    flipped = sum(sample.target["boxes"][0, 0].item() > 0.5 for sample in samples)
    assert 70 < flipped < 130


def test_a_zoom_keeps_its_bounds_and_cuts_what_is_outside(tmp_path: Path) -> None:
    split = drawn(tmp_path, [BOX])
    widths, areas, lost = [], [], 0
    for sample in taken(split, 300, scale=0.8):
        boxes = sample.target["boxes"]
        if not len(boxes):
            lost += 1
            continue
        left, top = (boxes[0, :2] - boxes[0, 2:] / 2).tolist()
        right, bottom = (boxes[0, :2] + boxes[0, 2:] / 2).tolist()
        assert -1e-6 <= left < right <= 1 + 1e-6
        assert -1e-6 <= top < bottom <= 1 + 1e-6
        widths.append(boxes[0, 2].item())
        areas.append(sample.target["areas"].item())
    assert 0 < lost < 60, "a zoom in may leave an object out"
    assert min(widths) >= 0.3 * 0.2 * VISIBLE
    assert max(widths) == pytest.approx(0.3 * 1.8, abs=0.02)
    assert max(areas) == pytest.approx(2400, rel=1e-5), "of the original, whatever the zoom"
    assert VISIBLE * 2400 <= min(areas) < 2300


def test_beside_a_small_picture_is_grey(tmp_path: Path) -> None:
    samples = taken(drawn(tmp_path, [BOX]), 40, scale=0.5)
    corners = torch.stack([s.image[:, [0, 0, -1, -1], [0, -1, 0, -1]] for s in samples])
    assert (corners == 114).all(dim=1).any()
    assert not ((corners == 0).all(dim=1)).any()


def test_colours_change_within_bounds(tmp_path: Path) -> None:
    samples = taken(drawn(tmp_path, [BOX]), 100, hsv=0.2)
    grey = torch.stack([s.image[:, 60, 90] for s in samples]).float()
    assert 90 * 0.8 - 1 <= grey.min() < 90 * 0.85
    assert 90 * 1.15 < grey.max() <= 90 * 1.2 + 1
    assert (grey.max(dim=1).values - grey.min(dim=1).values).max() <= 1, "grey stays grey"
    red = torch.stack([s.image[:, 32, 24] for s in samples]).float()
    distance = red[:, 0] - red[:, 1:].max(dim=1).values
    assert distance.min() > 80, "red stays red"
    assert distance.max() - distance.min() > 60, "more and less of it"
    assert (red[:, 1] - red[:, 2]).abs().max() > 5, "towards orange or pink"
    assert HUE * 0.2 * 360 < 10


def test_randomness_is_the_runners(tmp_path: Path) -> None:
    """The Runner seeds each sample, so any number of loader processes gives the same batches."""
    split = drawn(tmp_path, [BOX], count=6)
    augment = AugmentConfig(fliplr=0.5, hsv=0.3, scale=0.4)

    def epoch(workers: int, number: int) -> Tensor:
        config = RunnerConfig.model_validate({"batch": 4, "workers": workers})
        stream = Stream(Frames(split, SIZE, augment), collate, config, 0, Ranks())
        batches = stream.iterate(number, 0, torch.device("cpu"))
        return torch.cat([batch.images for batch in batches])

    first = epoch(0, 1)
    assert torch.equal(first, epoch(0, 1))
    assert torch.equal(first, epoch(1, 1))
    assert not torch.equal(first, epoch(0, 2))


def test_a_batch(tmp_path: Path) -> None:
    split = drawn(tmp_path, [BOX, (100, 10, 140, 90)], count=2)
    (tmp_path / "labels/train/000.txt").write_text("")
    split = read_split(split.data, "train", ("car",))
    batch = collate([Frames(split, SIZE)[i] for i in range(2)])
    assert batch.images.shape == (2, 3, 64, 96)
    assert batch.images.dtype == torch.float32
    assert 0 <= batch.images.min() < batch.images.max() <= 1
    assert [len(target["boxes"]) for target in batch.targets] == [0, 2]
    assert batch.targets[0]["boxes"].shape == (0, 4)
    assert batch.targets[0]["class_labels"].dtype == torch.int64
    assert batch.prompts == ()


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_validation_sees_each_frame_once_in_order(tmp_path: Path, size: int) -> None:
    split = drawn(tmp_path, [BOX], count=7)
    found = list(batches(split, SIZE, size))
    frames = [frame for _, part in found for frame in part]
    assert [frame.id for frame in frames] == [frame.id for frame in split.frames]
    assert all(len(part) == len(batch.images) for batch, part in found)
    images = torch.cat([batch.images for batch, _ in found])
    corner = (images[:, 0, 0, 0] * 255).round().int().tolist()
    assert corner == [90 + number for number in range(7)], "each image is its frame's"
    assert (frames[0].width, frames[0].height) == (200, 100)


def test_a_turned_photograph(tmp_path: Path) -> None:
    split = drawn(tmp_path, [BOX])
    with Image.open(split.frames[0].path) as opened:
        turned = opened.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned back when shown
    turned.save(split.frames[0].path, exif=exif)
    split = read_split(split.data, "train", ("car",))
    sample = Frames(split, SIZE)[0]
    assert sample.target["boxes"].tolist()[0] == pytest.approx(red_box(sample.image), abs=0.02)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_pictures_of_other_kinds(tmp_path: Path, mode: str) -> None:
    split = drawn(tmp_path, [BOX])
    with Image.open(split.frames[0].path) as opened:
        opened.convert(mode).save(split.frames[0].path)
    assert Frames(split, SIZE)[0].image.shape == (3, 64, 96)


def test_an_image_that_changed_meanwhile(tmp_path: Path) -> None:
    split = drawn(tmp_path, [BOX])
    Image.new("RGB", (50, 50)).save(split.frames[0].path)
    with pytest.raises(DataError, match="is 50 x 50 now and was 200 x 100"):
        Frames(split, SIZE)[0]
    split.frames[0].path.unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        list(batches(split, SIZE, 1))
