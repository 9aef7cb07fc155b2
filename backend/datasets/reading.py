"""One way into every format: what the path is decides."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import yaml

from backend.core.errors import DataError
from backend.datasets.coco import (
    COCO_YAML,
    Place,
    category_names,
    coco_places,
    read_coco,
    yaml_places,
)
from backend.datasets.dair import CLASSES, dair_splits, read_dair
from backend.datasets.dair_index import find_info, read_index
from backend.datasets.detection import DetectionSplit
from backend.datasets.gathering import STRICT, Limits
from backend.datasets.split_names import by_use, own_name
from backend.datasets.yolo import read_yolo
from backend.scoring.detection.yolo_datafile import read_datafile

Read = Callable[[str, tuple[str, ...], Path | None, Limits], DetectionSplit]


_EXPECTED = (
    "a DAIR-V2X-I folder (data_info.json), a COCO folder (annotations/*.json) or .yaml "
    "(images and annotations of each split), or a YOLO data.yaml"
)


@dataclass(frozen=True)
class Dataset:
    """A dataset whose format is known, and its splits that have labels.

    ``class_names`` reads the names of its classes; of DAIR-V2X-I, the ones that its types lead
    to.
    """

    format: str
    splits: tuple[str, ...]
    class_names: Callable[[], tuple[str, ...]]
    read: Read


def read_split(
    data: Path,
    split: str,
    classes: tuple[str, ...],
    class_map: Path | None = None,
    limits: Limits = STRICT,
) -> DetectionSplit:
    """A split of a DAIR-V2X-I folder, a COCO folder or .yaml, or a YOLO data.yaml.

    ``class_map`` is a YAML of names in the dataset to ``classes`` (or null, ignore,
    ignore:<class>). ``holdout`` and ``test`` are two names for the same thing.

    Raises:
        DataError: the dataset cannot be used, or is worse than ``limits`` allow.
    """
    found = open_dataset(data).read(split, classes, class_map, limits)
    return replace(found, split=split)


def open_dataset(data: Path) -> Dataset:
    """Find out what a path is. Raises DataError, saying what was expected, if it is none."""
    data = Path(os.path.expanduser(data)).absolute()  # noqa: PTH111 (Path raises for ~nobody)
    if data.is_dir():
        return _open_folder(data)
    if not data.exists():
        raise DataError(f"{data}: no such file or folder; expected {_EXPECTED}")
    if data.suffix.lower() not in {".yaml", ".yml"}:
        raise DataError(f"{data}: expected {_EXPECTED}")
    places = yaml_places(_parse(data), data)
    return _yolo(data) if places is None else _coco(data, places)


def coco_splits(data: Path) -> dict[str, Place]:
    """The annotation files of a COCO folder or .yaml. Raises DataError if it is none."""
    if data.is_dir():
        named = data / COCO_YAML
        places = coco_splits(named) if named.is_file() else coco_places(data)
    else:
        places = yaml_places(_parse(data), data) or {}
    if not places:
        raise DataError(
            f"{data}: expected a COCO folder (annotations/*.json) or .yaml (images and "
            "annotations of each split)"
        )
    return places


def _open_folder(folder: Path) -> Dataset:
    if find_info(folder) is not None:
        return _dair(folder)
    if (folder / COCO_YAML).is_file():
        return open_dataset(folder / COCO_YAML)
    places = coco_places(folder)
    if places:
        return _coco(folder, places)
    if (folder / "data.yaml").is_file():
        return _yolo(folder / "data.yaml")
    raise DataError(f"{folder}: no dataset found in this folder; expected {_EXPECTED}")


def _dair(folder: Path) -> Dataset:
    def read(
        split: str, classes: tuple[str, ...], class_map: Path | None, limits: Limits
    ) -> DetectionSplit:
        name = "test" if split == "holdout" else own_name(split, splits)
        return read_dair(index, name, classes, class_map, limits)

    index = read_index(folder)
    splits = dair_splits(index)
    return Dataset("DAIR-V2X-I", splits, lambda: CLASSES, read)


def _coco(data: Path, places: dict[str, Place]) -> Dataset:
    def read(
        split: str, classes: tuple[str, ...], class_map: Path | None, limits: Limits
    ) -> DetectionSplit:
        name = own_name(split, places)
        if name not in places:
            raise DataError(f"{data}: no split '{split}'; it has {', '.join(places)}")
        return read_coco(data, name, places[name], classes, class_map, limits)

    names = partial(category_names, next(iter(places.values())))
    return Dataset("COCO", tuple(sorted(places, key=by_use)), names, read)


def _yolo(path: Path) -> Dataset:
    def read(
        split: str, classes: tuple[str, ...], class_map: Path | None, limits: Limits
    ) -> DetectionSplit:
        return read_yolo(data, own_name(split, data.splits), classes, class_map, limits)

    data = read_datafile(path)
    return Dataset("YOLO", tuple(data.splits), lambda: data.names, read)


def _parse(path: Path) -> dict[str, object]:
    """The mapping in a YAML file; empty if it is none, which the YOLO reader words better."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return {str(key): value for key, value in data.items()} if isinstance(data, dict) else {}
