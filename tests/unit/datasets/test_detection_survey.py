from pathlib import Path

import numpy as np
from PIL import Image

from backend.core.evidence import LabelCensus
from backend.datasets import read_split
from backend.datasets.gathering import Limits
from backend.datasets.survey import LOOKS, Picture, Pictures, survey_detection, survey_pictures
from tests.support.shapes import write_dataset

LAX = Limits(unusable=1.0, clipped=1.0)


def paint(path: Path, values: object, size: tuple[int, int] = (40, 30)) -> Picture:
    """An image of one value, or of the values given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.broadcast_to(np.asarray(values, np.uint8), (size[1], size[0], 3))
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    return Picture(path, path.name, path.read_bytes(), [0])


def noise(path: Path, seed: int) -> Picture:
    return paint(path, np.random.default_rng(seed).integers(0, 255, (30, 40, 3)))


def test_a_sound_dataset_is_counted(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "shapes", {"train": 12, "val": 6, "holdout": 2})
    names = tuple(read_names(data))
    splits = [read_split(data, split, names) for split in ("train", "val")]
    survey = survey_detection(splits, head=len(names))
    assert [(c.split, c.expected, c.found, c.missing) for c in survey.inputs] == [
        ("train", 12, 12, ()), ("val", 6, 6, ()),
    ]  # fmt: skip
    assert [census.counts for census in survey.labels] == [split.objects for split in splits]
    assert all(isinstance(census, LabelCensus) and census.empty == 0 for census in survey.labels)
    assert all((census.highest or 0) < len(names) for census in survey.labels)
    assert [sampled.split for sampled in survey.sampled] == ["train"]
    assert survey.sampled[0].positions == 12
    assert [quality.zero_units for quality in survey.quality] == [0, 0]
    assert (survey.shared, survey.shared_counts) == ({}, {})


def read_names(data: Path) -> list[str]:
    import yaml

    names = yaml.safe_load(data.read_text())["names"]
    return list(names.values()) if isinstance(names, dict) else list(names)


def test_what_is_missing_and_what_is_shared_is_named(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "shapes", {"train": 12, "val": 6, "holdout": 2})
    images = sorted((data.parent / "images/train").iterdir())
    images[3].write_bytes(b"no image")
    val = sorted((data.parent / "images/val").iterdir())
    val[0].write_bytes(images[0].read_bytes())
    names = tuple(read_names(data))
    splits = [read_split(data, split, names, limits=LAX) for split in ("train", "val")]
    survey = survey_detection(splits, head=7)
    census = survey.inputs[0]
    assert (census.expected, census.found) == (12, 11)
    assert len(census.missing) == 1
    assert images[3].name in census.missing[0]
    assert "unreadable" in census.missing[0]
    assert census.searched == str(data)
    assert list(survey.shared) == ["train+val"]
    assert Path(survey.shared["train+val"][0]).name == val[0].name
    assert survey.labels[0].head == 7


def test_all_that_is_shared_is_counted_and_five_are_named(tmp_path: Path) -> None:
    pictures = [noise(tmp_path / f"{number:02}.png", number) for number in range(12)]
    both = [Pictures(name, "here", ("a",), pictures) for name in ("train", "val")]
    survey = survey_pictures(both, 1)
    assert survey.shared_counts == {"train+val": 12}
    assert survey.shared["train+val"] == tuple(f"{number:02}.png" for number in range(5))


def test_black_and_constant_images_are_found_and_broken_ones_left_to_others(
    tmp_path: Path,
) -> None:
    almost = np.zeros((30, 40, 3))
    almost[0, :] = 200  # a thirtieth
    broken = noise(tmp_path / "broken.png", 9)
    broken.path.write_bytes(broken.path.read_bytes()[:200])
    pictures = [
        noise(tmp_path / "a.png", 1), paint(tmp_path / "black.png", 0),
        paint(tmp_path / "grey.jpg", 114), paint(tmp_path / "almost.png", almost),
        noise(tmp_path / "b.jpg", 2), broken,
    ]  # fmt: skip
    (quality,) = survey_pictures([Pictures("train", "here", ("a",), pictures)], 1).quality
    assert (quality.units, quality.zero_units) == (6, 3)
    assert quality.examples == {"zero_units": ("black.png", "grey.jpg", "almost.png")}
    assert quality.outside is None


def test_an_image_of_16_bits_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    deep, black = tmp_path / "deep.png", tmp_path / "black.png"
    grey = np.random.default_rng(0).integers(10_000, 60_000, (30, 40)).astype(np.uint16)
    Image.fromarray(grey).save(deep)
    Image.fromarray(np.zeros_like(grey)).save(black)
    pictures = [Picture(path, path.name, b"", [0]) for path in (deep, black)]
    (quality,) = survey_pictures([Pictures("train", "here", ("a",), pictures)], 1).quality
    assert quality.examples == {"zero_units": ("black.png",)}


def test_only_some_of_many_images_are_decoded(tmp_path: Path) -> None:
    one = noise(tmp_path / "a.png", 1)
    last = paint(tmp_path / "black.png", 0)
    pictures = [one] * (3 * LOOKS) + [last]
    (quality,) = survey_pictures([Pictures("train", "", ("a",), pictures)], 1).quality
    assert quality.units == LOOKS


def test_unknown_objects_and_boxes_over_the_border_are_shares_of_all(tmp_path: Path) -> None:
    pictures = [Picture(tmp_path / "none.png", "none.png", b"", [0, 2, 2])]
    split = Pictures("train", "here", ("a", "b", "c"), pictures, unknown={"cow": 3}, outside=1,
                     boxes=4)  # fmt: skip
    survey = survey_pictures([split], 3)
    (labels,) = survey.labels
    assert labels.counts == {"a": 1, "b": 0, "c": 2}
    assert (labels.labels, labels.empty, labels.unknown) == (6, 3, {"cow": 3})
    assert survey.quality[0].outside == 0.25


def test_nothing_is_nothing() -> None:
    survey = survey_pictures([Pictures("train", "here", ("a",), [])], 1)
    assert survey.labels[0].highest is None
    assert survey.quality[0].units == 0
    assert survey.sampled[0].counts == {"a": 0}
