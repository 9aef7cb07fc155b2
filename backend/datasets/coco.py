"""COCO json: one annotation file per split, found in a folder or named in a .yaml."""

import os
import re
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backend.core.errors import DataError
from backend.datasets.boxes import Corners
from backend.datasets.class_rules import by_name
from backend.datasets.detection import DetectionSplit
from backend.datasets.gathering import STRICT, Limits, Listed, Listing, Mark, Told, gather
from backend.datasets.split_names import ALIASES, SPLITS
from backend.scoring.detection.coco import load_ground_truth
from backend.scoring.json_files import is_number

Item = Mapping[str, object]
COCO_YAML = "coco.yaml"
"""In a folder: names the annotations and images of each split, which may lie elsewhere."""
SAMPLE = 20
"""Images that are looked for to find their folder."""


@dataclass(frozen=True)
class Place:
    """A split's annotation file and the folders in which its images may lie."""

    annotations: Path
    images: tuple[Path, ...]


def coco_places(folder: Path) -> dict[str, Place]:
    """The splits of a folder with ``annotations/instances_<split>*.json`` or
    ``annotations/<split>.json``, or of Roboflow's with ``<split>/_annotations.coco.json``.

    Raises DataError if a split has two files.
    """
    files = sorted((folder / "annotations").glob("*.json"))
    instances = [file for file in files if file.name.startswith("instances_")]
    found: dict[str, Place] = {}
    for file in instances or files:
        stem = file.stem.removeprefix("instances_")
        split = _split_of(stem)
        if split in found:
            raise DataError(
                f"{folder}: {found[split].annotations.name} and {file.name} are both for "
                f"'{split}'; name one in a .yaml ({split}: {{images: ..., annotations: ...}})"
            )
        found[split] = Place(file, _folders(folder, split, stem))
    for file in sorted(folder.glob("*/_annotations.coco.json")):
        found.setdefault(_split_of(file.parent.name), Place(file, (file.parent,)))
    return found


def yaml_places(data: Mapping[str, object], path: Path) -> dict[str, Place] | None:
    """The splits of a .yaml that names ``images`` and ``annotations`` of each; None if it is
    none. Raises DataError if one of the two is missing."""
    parts = {key: value for key, value in data.items() if isinstance(value, dict)}
    splits = {key: value for key, value in parts.items() if "annotations" in value}
    if not splits:
        return None
    found = {}
    for split, part in splits.items():
        images, annotations = part.get("images"), part["annotations"]
        if not isinstance(images, str) or not isinstance(annotations, str):
            raise DataError(f"{path}: '{split}' needs images: a folder, annotations: a file")
        folder, file = _beside(path, images), _beside(path, annotations)
        found[ALIASES.get(split, split)] = Place(file, (folder,))
    return found


def category_names(place: Place) -> tuple[str, ...]:
    """The categories of an annotation file, by id."""
    return tuple(_categories(load_ground_truth(place.annotations), place.annotations).values())


def read_coco(
    data: Path,
    split: str,
    place: Place,
    classes: tuple[str, ...],
    class_map: Path | None = None,
    limits: Limits = STRICT,
) -> DetectionSplit:
    """A split of a COCO dataset. Ids of images are kept; iscrowd becomes an ignored region.

    Raises DataError with one sentence for a file that contradicts itself.
    """
    file = place.annotations
    content = load_ground_truth(file)
    names = _categories(content, file)
    images = by_id(items(content, "images", file), "image", file)
    marks = _marks(items(content, "annotations", file), names, images, file)
    folder = image_folder(place, list(images.values())[:SAMPLE], file)
    frames = [
        Listed(key, name := file_name(item, file), folder / name, partial(Told, marks[key]),
               _size(item))
        for key, item in images.items()
    ]  # fmt: skip
    rules = by_name(list(names.values()), classes, class_map, file)
    return gather(Listing(data, split, frames), classes, rules, limits)


def _beside(path: Path, name: str) -> Path:
    return path.parent / os.path.expanduser(name)  # noqa: PTH111 (Path raises for ~nobody)


def _split_of(stem: str) -> str:
    word = re.split(r"[^A-Za-z]", stem)[0].casefold()
    split = ALIASES.get(word, word)
    return split if split in SPLITS else stem


def _folders(folder: Path, split: str, stem: str) -> tuple[Path, ...]:
    names = dict.fromkeys((stem, split, *(a for a, name in ALIASES.items() if name == split)))
    places = [folder / parent / name for name in names for parent in ("images", "")]
    similar = sorted(path for path in folder.glob(f"{split}*") if path.is_dir())
    return (*places, *similar, folder / "images", folder, folder / "annotations")


def image_folder(place: Place, sample: Sequence[Item], file: Path) -> Path:
    """The folder that has most of the first images. Raises DataError if none has any."""
    names = [file_name(item, file) for item in sample]
    counts = [sum((folder / name).is_file() for name in names) for folder in place.images]
    if not names:
        raise DataError(f"{file}: it lists no images")
    if not max(counts):
        where = ", ".join(str(folder) for folder in place.images[:4])
        raise DataError(f"{file}: its image {names[0]} is in none of {where}")
    return place.images[counts.index(max(counts))]


def items(content: Item, key: str, file: Path) -> list[Item]:
    """A list of objects in a COCO file. Raises DataError if it is none."""
    part = content.get(key)
    if not isinstance(part, list) or not all(isinstance(item, dict) for item in part):
        raise DataError(f"{file}: '{key}' must be a list of objects; is this a COCO file?")
    return part


def by_id(listed: Sequence[Item], what: str, file: Path) -> dict[int, Item]:
    """Objects by their id. Raises DataError for an id that is no whole number or occurs twice."""
    found: dict[int, Item] = {}
    for item in listed:
        key = whole_number(item.get("id"), f"{what} id", file)
        if key in found:
            raise DataError(f"{file}: the {what} id {key} occurs twice")
        found[key] = item
    return found


def whole_number(value: object, what: str, file: Path) -> int:
    """A number from 0, also as a text or a float of a table. Raises DataError."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # of a table of pandas
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or not text.isdecimal():
        raise DataError(f"{file}: {what} {value!r} is not a whole number")
    return int(text)


def _categories(content: Item, file: Path) -> dict[int, str]:
    found = by_id(items(content, "categories", file), "category", file)
    return {key: str(found[key].get("name", key)).strip() for key in sorted(found)}


def _marks(
    annotations: Sequence[Item], names: Mapping[int, str], images: Container[int], file: Path
) -> dict[int, list[Mark]]:
    marks: dict[int, list[Mark]] = defaultdict(list)
    for number, item in enumerate(annotations):
        where = f"annotation {item.get('id', number)!r}"
        image = whole_number(item.get("image_id"), f"{where}: image_id", file)
        label = whole_number(item.get("category_id"), f"{where}: category_id", file)
        if image not in images:
            raise DataError(f"{file}: {where} is of image {image}, which is not listed")
        if label not in names:
            raise DataError(f"{file}: {where} is of category {label}, which is not listed")
        crowd = bool(item.get("iscrowd", 0)) or bool(item.get("ignore", 0))
        marks[image].append(Mark(names[label], _corners(item.get("bbox")), crowd=crowd))
    return marks


def _corners(box: object) -> Corners:
    """From x, y, width, height; NaN for what is no box, so that it is counted as bad."""
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) for v in box):
        nan = float("nan")
        return nan, nan, nan, nan
    x, y, width, height = map(float, box)
    return x, y, x + width, y + height


def file_name(item: Item, file: Path) -> str:
    """The file name of an image. Raises DataError if it has none."""
    name = item.get("file_name")
    if not isinstance(name, str) or not name:
        raise DataError(f"{file}: image {item.get('id')!r} has no file_name")
    return name


def _size(item: Item) -> tuple[int, int] | None:
    width, height = item.get("width"), item.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None
