"""Pictures as the network gets them: boxes stay on their objects whatever is drawn."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from pydantic import ValidationError
from torch import Tensor

from backend.core.errors import DataError
from backend.datasets.recolouring import TO_YIQ
from backend.trainers.motrv2.data import ClipSamples
from backend.trainers.motrv2.data_reading import read_data
from backend.trainers.motrv2.images import (
    MEAN,
    STD,
    View,
    check_image,
    draw_colours,
    draw_view,
    drifting,
    read_image,
    resized,
    room,
    seen,
    shown,
    whole,
)
from backend.trainers.motrv2.spec import ImagesConfig, Motrv2Config
from tests.support.tracking_folders import clean, edit_rows

SIZE = (200, 100)
BOX = (60.0, 30.0, 60.0, 40.0)  # left, top, width and height of what is red
SMALL: dict[str, Any] = {
    "short": 64, "long": 160, "train_short": (48, 64, 96), "crop": (60, 120),
    "crop_short": (80, 100), "hsv": (0, 0, 0),
}  # fmt: skip


def images(**changes: Any) -> ImagesConfig:
    return ImagesConfig.model_validate({**SMALL, **changes})


def picture(box: tuple[float, ...] = BOX) -> Tensor:
    """Grey, with a red rectangle."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 120, dtype=np.uint8)
    left, top, width, height = map(int, box)
    pixels[top : top + height, left : left + width] = (230, 20, 20)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def red_box(image: Tensor) -> list[float]:
    """Bounds of the red pixels (cx, cy, w, h in 0..1)."""
    red = image[0] - image[1] > 1
    rows, columns = (torch.nonzero(red.any(dim=d)).flatten().tolist() for d in (1, 0))
    (top, bottom), (left, right) = ((ends[0], ends[-1] + 1) for ends in (rows, columns))
    height, width = red.shape
    return [
        (left + right) / 2 / width, (top + bottom) / 2 / height,
        (right - left) / width, (bottom - top) / height,
    ]  # fmt: skip


def turned(colour: Tensor) -> float:
    """The hue of a colour (3, 1) in YIQ, as a share of the circle."""
    _, across, up = (TO_YIQ @ colour.double().numpy()).ravel()
    return float(np.arctan2(up, across) / (2 * np.pi))


def test_boxes_stay_on_their_objects_whatever_is_drawn() -> None:
    asked, chance = images(crop_chance=0.7), Random(1)
    views = [draw_view(SIZE, asked, chance) for _ in range(60)]
    assert {view.mirrored for view in views} == {view.cut for view in views} == {True, False}
    assert len({view.size for view in views}) > 20
    for view in views:
        boxes, kept = seen(np.array([BOX]), view)
        image = shown(picture(), view)
        assert image.shape == (3, view.size[1], view.size[0])
        if kept.all() and boxes[0, 2:].min() * min(view.size) > 4:
            assert red_box(image) == pytest.approx(boxes[0].tolist(), abs=1.6 / min(view.size))


def test_a_crop_cuts_boxes_and_drops_what_has_no_area() -> None:
    view = View(50, 20, 100, 60, (50, 30), cut=True)
    boxes = np.array([[60, 30, 20, 20], [40, 10, 20, 20], [0, 0, 50, 100], [150, 20, 9, 9],
                      [0, 0, 200, 100]], float)  # fmt: skip
    inside, kept = seen(boxes, view)
    assert kept.tolist() == [True, True, False, False, True]
    expected = [[0.2, 1 / 3, 0.2, 1 / 3], [0.05, 1 / 12, 0.1, 1 / 6], [0.5, 0.5, 1, 1]]
    assert torch.allclose(inside, torch.tensor(expected))
    mirrored, _ = seen(boxes, view._replace(mirrored=True))
    assert torch.allclose(mirrored[:, 0], 1 - inside[:, 0])
    assert torch.equal(mirrored[:, 1:], inside[:, 1:])
    assert boxes[1].tolist() == [40, 10, 20, 20], "the given boxes are left alone"


def test_without_a_crop_boxes_may_leave_the_image() -> None:
    view = whole(SIZE, images())
    boxes, kept = seen(np.array([[-20, 10, 60, 40], [210, 10, 20, 20]], float), view)
    assert kept.all()
    assert torch.allclose(boxes, torch.tensor([[0.05, 0.3, 0.3, 0.4], [1.1, 0.2, 0.1, 0.2]]))
    none, kept = seen(np.empty((0, 4)), view)
    assert none.shape == (0, 4)
    assert none.dtype == torch.float32
    assert len(kept) == 0


@pytest.mark.parametrize(
    ("size", "short", "longest", "expected"),
    [
        ((1920, 1080), 800, 1536, (1422, 800)),
        ((1080, 1920), 800, 1536, (800, 1422)),
        ((1920, 1080), 992, 1536, (1536, 864)),
        ((640, 640), 800, 1536, (800, 800)),
        ((2000, 500), 800, 1536, (1536, 384)),
        ((160, 96), 96, 160, (160, 96)),
        ((1200, 235), 800, 1536, (1536, 301)),
        ((4000, 2), 800, 1536, (1536, 1)),
    ],
)
def test_the_short_side_is_resized_unless_the_long_one_is_too_long(
    size: tuple[int, int], short: int, longest: int, expected: tuple[int, int]
) -> None:
    assert resized(size, short, longest) == expected


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 9999))
def test_a_view_never_leaves_its_image(width: int, height: int, seed: int) -> None:
    """With the ranges of the reference, which raise there, and with small ones."""
    for asked in (ImagesConfig(crop_chance=1), images(crop_chance=1)):
        view = draw_view((width, height), asked, Random(seed))
        assert 0 <= view.left <= view.left + view.width <= width
        assert 0 <= view.top <= view.top + view.height <= height
        assert min(view.width, view.height, *view.size) >= 1
        assert max(view.size) <= asked.long
        assert view.cut == ((view.width, view.height) != (width, height))


def test_crops_have_the_sides_that_are_asked_for() -> None:
    asked = ImagesConfig(crop_chance=1, crop_short=(540,), crop=(300, 500))
    views = [draw_view((1920, 1080), asked, Random(seed)) for seed in range(300)]
    for sides in ([view.width for view in views], [view.height for view in views]):
        assert 600 <= min(sides) < 610 < 990 < max(sides) <= 1000
    assert max(view.left + view.width for view in views) > 1900
    assert min(view.top for view in views) < 10
    assert max(max(view.size) for view in views) == asked.long
    wide = [draw_view((1920, 1080), ImagesConfig(crop_chance=1), Random(n)) for n in range(300)]
    assert max(view.height for view in wide) == 1080
    assert min(view.width for view in wide) == pytest.approx(800 * 1080 / 1200, abs=20)


def test_pixels_are_normalised_as_the_checkpoint_wants_them() -> None:
    view = whole(SIZE, images(short=100, long=200))
    image = shown(torch.tensor([255, 128, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 100, 200),
                  view)  # fmt: skip
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    expected = [(value / 255 - mean) / std for value, mean, std in zip((255, 128, 0), MEAN, STD,
                                                                       strict=True)]  # fmt: skip
    assert image[:, 50, 50].tolist() == pytest.approx(expected, abs=1e-6)


def test_resizing_is_as_pillow_has_it() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    view = whole(SIZE, images())
    mine = shown(torch.from_numpy(pixels).permute(2, 0, 1), view)
    theirs = np.array(Image.fromarray(pixels).resize(view.size, Image.Resampling.BILINEAR))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    levels = ((mine * std + mean) * 255).permute(1, 2, 0).numpy()
    assert np.abs(levels - theirs).max() <= 1.01


def test_images_are_read_as_they_are_stored(tmp_path: Path) -> None:
    """A rotation in EXIF is not followed: boxes are annotated in stored pixels."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    stored = Image.fromarray(picture().permute(1, 2, 0).numpy())
    stored.save(tmp_path / "turned.png", exif=turned)
    with Image.open(tmp_path / "turned.png") as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 6
    assert torch.equal(read_image(tmp_path / "turned.png", SIZE), picture())
    for mode in ("L", "RGBA", "P", "CMYK"):
        path = tmp_path / f"{mode}.tif"
        stored.convert(mode).save(path)
        assert read_image(path, SIZE).shape == (3, 100, 200)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "000001.png"
    Image.new("RGB", (20, 10)).save(path)
    with pytest.raises(DataError, match=rf"{path}: is 20 x 10, but its sequence 200 x 100"):
        read_image(path, SIZE)
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_image(tmp_path, SIZE)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_a_damaged_image_is_found_before_the_training(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"000001.{suffix}"
    Image.fromarray(picture().permute(1, 2, 0).numpy()).save(path)
    check_image(path, SIZE)
    whole_file = path.read_bytes()
    for rest in (whole_file[: len(whole_file) // 2], b""):
        path.write_bytes(rest)
        with pytest.raises(DataError, match=f"{path}: cannot be read as an image"):
            check_image(path, SIZE)
    path.write_bytes(whole_file + b"what a camera adds")
    check_image(path, SIZE)
    with pytest.raises(DataError, match="but its sequence 20 x 10"):
        check_image(path, (20, 10))


def test_colours_change_as_hue_saturation_and_value_do() -> None:
    assert draw_colours(images(), Random(0)) is None
    turns = []
    grey, red = torch.full((3, 1), 100.0), torch.tensor([[200.0], [40], [40]])
    for seed in range(20):
        hue = draw_colours(images(hsv=(0.05, 0, 0)), Random(seed))
        purer = draw_colours(images(hsv=(0, 0.5, 0)), Random(seed))
        value = draw_colours(images(hsv=(0, 0, 0.5)), Random(seed))
        assert hue is not None
        assert purer is not None
        assert value is not None
        assert torch.allclose(hue @ grey, grey, atol=1e-3)
        assert torch.allclose(purer @ grey, grey, atol=1e-3)
        factor = float((value @ grey)[0, 0]) / 100
        assert 0.5 <= factor <= 1.5
        assert torch.allclose(value @ red, factor * red, atol=1e-3)
        spread = purer @ red
        assert 0.5 * 160 - 1 <= float(spread[0, 0] - spread[1, 0]) <= 1.5 * 160 + 1
        turns.append(turned(hue @ red) - turned(red))
    assert max(map(abs, turns)) <= 0.05 + 1e-3
    assert min(turns) < -0.03
    assert max(turns) > 0.03
    changed = shown(picture(), whole(SIZE, images()), torch.eye(3) * 3)
    assert float(changed[0].max()) == pytest.approx((1 - MEAN[0]) / STD[0]), "no more than white"


def test_a_still_image_drifts_without_leaving_itself() -> None:
    shifts = np.array([[0, 0], [7, -3], [-5, 4]])
    assert room(shifts) == (12, 7)
    inner = SIZE[0] - 12, SIZE[1] - 7
    views = drifting(View(0, 0, *inner, inner), shifts)
    for view, (x, y) in zip(views, shifts.tolist(), strict=True):
        assert (view.left, view.top) == (7 - x, 4 - y)
        assert view.left + view.width <= SIZE[0]
        assert view.top + view.height <= SIZE[1]
        assert view.cut
        moved, start = (seen(np.array([BOX]), one)[0][0, :2] for one in (view, views[0]))
        assert ((moved - start) * torch.tensor(inner)).tolist() == pytest.approx([x, y], abs=1e-4)
    still = View(0, 0, *SIZE, SIZE)
    assert drifting(still, np.zeros((3, 2), np.int64)) == (still,) * 3


def test_one_look_for_all_frames_of_a_clip(tmp_path: Path) -> None:
    """Of a video that stands still, all frames are equal, and proposals lie where boxes do."""
    root = clean(tmp_path / "data")
    first = (root / "train" / "a" / "img1" / "000001.png").read_bytes()
    for path in (root / "train").glob("*/img1/*.png"):
        path.write_bytes(first)
    place = {(1.0): (10, 10), (2.0): (40, 20), (3.0): (70, 40), (4.0): (2, 40)}
    edit_rows(root, lambda _, row: [*row[:2], *place[row[1]], *row[4:]])
    lines = [f"{x},{y},14,18,1,0.{track:.0f}5" for track, (x, y) in place.items()]
    keys = [f"train/{one}/img1/{n:06d}" for one in "ab" for n in range(1, 13)]
    (root / "det_db.json").write_text(json.dumps(dict.fromkeys(keys, lines)))
    told = Motrv2Config.model_validate({"data": root, "images": {
        **SMALL, "crop": (40, 70), "crop_short": (64,), "crop_chance": 0.8,
        "hsv": (0.02, 0.5, 0.5),
    }})  # fmt: skip
    samples = ClipSamples(read_data(told, ["train"]).splits[0], told)
    dropped, sizes = 0, set()
    for place_of in range(len(samples)):
        clip, _ = samples[place_of]
        for frame in clip:
            assert torch.equal(frame.image, clip[0].image)
            assert torch.equal(frame.boxes, clip[0].boxes)
            assert torch.equal(frame.proposals, frame.boxes)
            tracks = (frame.proposal_scores * 10).floor().long()
            assert torch.equal(frame.ids % 100_000, tracks)
            assert frame.labels.tolist() == [(0, 1, 2, 0)[track - 1] for track in tracks]
        dropped += len(clip[0].ids) < 4
        sizes.add(clip[0].image.shape)
    assert dropped > 2
    assert len(sizes) > 5


@pytest.mark.parametrize(
    ("key", "value"),
    [("train_short", [0]), ("crop_short", [-5]), ("hsv", [0, 0, 1.5]), ("hsv", [-0.1, 0, 0])],
)
def test_what_no_image_could_be_made_of_is_refused(key: str, value: list[float]) -> None:
    with pytest.raises(ValidationError, match=rf"(?m)^{key}\.\d$"):
        images(**{key: value})
