"""Synthetic traffic: what the boxes promise about the pixels, and the files about the set."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from backend.core.errors import ConfigError, DataError
from backend.datasets import read_split, summary
from backend.synthetic import _traffic_shapes as shapes
from backend.synthetic._traffic_scene import OVERLAP, Placed, compose
from backend.synthetic._traffic_shapes import Brush, Kind
from backend.synthetic.traffic import write_traffic

KINDS = (
    *(shapes.CAR, shapes.VAN, shapes.TRUCK, shapes.BUS, shapes.PERSON, shapes.CYCLIST),
    *(shapes.MOTORCYCLIST, shapes.TRICYCLIST),
)
CLASSES = ("car", "truck", "bus", "person", "bicycle", "motorcycle")
SCALE = 40


def drawn(kind: Kind, mirrored: bool) -> Image.Image:
    """The object alone, 40 pixels per metre, a metre of room on each side."""
    sheet = Image.new("L", (round((kind.width + 2) * SCALE), round((kind.height + 2) * SCALE)))
    brush = Brush(ImageDraw.Draw(sheet), SCALE, SCALE, kind.width, SCALE, mirrored)
    canvas = Image.new("RGB", sheet.size, (255, 0, 255))
    kind.paint(
        Brush(ImageDraw.Draw(canvas), brush.left, brush.top, kind.width, SCALE, mirrored),
        np.random.default_rng(0),
    )
    ink = (np.asarray(canvas) != (255, 0, 255)).any(axis=2)
    return Image.fromarray(ink)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_each_shape_fills_its_box(kind: Kind, mirrored: bool) -> None:
    found = drawn(kind, mirrored).getbbox()
    assert found is not None
    box = (SCALE, SCALE, (1 + kind.width) * SCALE, (1 + kind.height) * SCALE)
    assert np.abs(np.subtract(found, box)).max() <= 0.05 * SCALE, "five centimetres"


def test_a_mirrored_object_is_the_other_way_round() -> None:
    for kind in KINDS:
        right, left = (np.asarray(drawn(kind, mirrored)) for mirrored in (False, True))
        assert (right[:, ::-1] == left).mean() > 0.98


def test_what_a_scene_promises() -> None:
    scenes = [compose((416, 240), np.random.default_rng([5, i])) for i in range(150)]
    objects = [one for scene in scenes for one in scene.objects]
    assert {one.kind.type for one in objects} == {kind.type for kind in KINDS}
    assert any(not scene.objects for scene in scenes)
    for scene in scenes:
        assert scene.image.shape == (240, 416, 3)
        depths = [one.whole[3] for one in scene.objects]
        assert depths == sorted(depths), "far to near"
        for at, one in enumerate(scene.objects):
            left, top, right, bottom = one.box
            assert 0 <= left < right <= 416
            assert 0 <= top < bottom <= 240
            assert all(shared(one, other) <= OVERLAP + 1e-9 for other in scene.objects[:at])
    assert {one.occlusion for one in objects} >= {0, 1}
    assert all(one.truncation == (one.box != one.whole) for one in objects)
    areas = [np.sqrt((o.box[2] - o.box[0]) * (o.box[3] - o.box[1])) for o in objects]
    small, median, large = np.percentile(areas, [5, 50, 95]) * 640 / 416
    assert 12 < small < 26
    assert 40 < median < 56
    assert 100 < large < 150


def shared(a: Placed, b: Placed) -> float:
    wide = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    high = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    sides = [(o.box[2] - o.box[0]) * (o.box[3] - o.box[1]) for o in (a, b)]
    return float(max(wide, 0) * max(high, 0) / min(sides))


def test_objects_are_where_their_boxes_are() -> None:
    """Plain blocks in a colour that nothing else has: each box is tight to its pixels."""

    def block(brush: Brush, rng: np.random.Generator) -> None:
        brush.block((0, 0, 3, 2), (255, 0, 255))

    kind = Kind("Block", 3, 2, 1, block)
    checked = 0
    for seed in range(40):
        scene = compose((416, 240), np.random.default_rng(seed), [(1, (kind,))])
        red, green, blue = np.moveaxis(scene.image.astype(int), 2, 0)
        ink = (red - green > 60) & (blue - green > 60)
        owned = np.zeros_like(ink)
        for one in scene.objects:
            left, top, right, bottom = (round(edge) for edge in one.box)
            owned[max(top - 1, 0) : bottom + 2, max(left - 1, 0) : right + 2] = True
            inside = ink[top + 1 : bottom - 1, left + 1 : right - 1]
            checked += 1
            assert inside.mean() > 0.98, "filled to its box"
        assert not (ink & ~owned).any(), "and not beyond"
    assert checked > 150


def test_the_set_in_its_layout(tmp_path: Path) -> None:
    root = write_traffic(tmp_path / "set", frames=40, size=(256, 160), seed=3)
    assert not [path for path in tmp_path.iterdir() if path != root]
    rows = json.loads((root / "data_info.json").read_text())
    assert len(rows) == 40
    assert all((root / row[key]).is_file() for row in rows for key in row)
    splits = [read_split(root, name, CLASSES) for name in ("train", "val", "holdout")]
    assert [len(split.frames) for split in splits] == [28, 6, 6]
    assert all(split.findings.left_out == {} for split in splits)
    assert all(split.findings.bad_boxes == {} for split in splits)
    assert all(splits[0].objects.values())
    assert summary(splits[0]).without_objects < 8
    assert all((frame.width, frame.height) == (256, 160) for frame in splits[0].frames)
    label = json.loads((root / "label/camera/000000.json").read_text())
    assert all(isinstance(value, str) for item in label for value in item["2d_box"].values())


def test_each_frame_depends_on_the_seed_and_its_number_only(tmp_path: Path) -> None:
    few = write_traffic(tmp_path / "few", frames=8, size=(128, 96), seed=1)
    more = write_traffic(tmp_path / "more", frames=12, size=(128, 96), seed=1)
    other = write_traffic(tmp_path / "other", frames=8, size=(128, 96), seed=2)
    for place in ("image/000007.jpg", "label/camera/000007.json"):
        assert (few / place).read_bytes() == (more / place).read_bytes()
        assert (few / place).read_bytes() != (other / place).read_bytes()


def test_a_second_call_finds_it_done(tmp_path: Path) -> None:
    root = write_traffic(tmp_path / "set", frames=8, size=(128, 96))
    marker = root / "image/000000.jpg"
    marker.write_bytes(b"mine")
    assert write_traffic(root, frames=8, size=(128, 96)) == root
    assert marker.read_bytes() == b"mine"
    with pytest.raises(DataError, match="another version, seed or size"):
        write_traffic(root, frames=8, size=(128, 96), seed=1)


def test_two_at_once_make_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(write_traffic, tmp_path / "set", frames=8, size=(128, 96))
                for _ in range(2)]  # fmt: skip
        assert [one.result() for one in made] == [tmp_path / "set"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(list((tmp_path / "set/image").iterdir())) == 8


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no synthetic traffic"):
        write_traffic(tmp_path, frames=8)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 frames cannot be shared out"):
        write_traffic(tmp_path / "set", frames=3)
    with pytest.raises(ConfigError, match="at least 64 x 64"):
        write_traffic(tmp_path / "set", size=(63, 240))
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_traffic(blocked / "set", frames=8, size=(64, 64))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
