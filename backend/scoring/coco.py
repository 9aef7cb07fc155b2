"""COCO files, read and checked before pycocotools sees them.

pycocotools answers a wrong file with a wrong number or a traceback: an annotation whose id is
0 never counts as found, an empty list of results is an IndexError, a NaN is matched at random.
So each box is checked here and handed on with a number of our own.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.errors import DataError

CocoDict = Mapping[str, object]
ImageId = int | str


@dataclass(frozen=True)
class Box:
    """``bbox`` is x, y, width, height in pixels; ``image`` and ``label`` are positions in the
    sorted images and classes. ``score`` is 1 for ground truth."""

    image: int
    label: int
    bbox: tuple[float, float, float, float]
    area: float
    crowd: bool = False
    score: float = 1.0


@dataclass(frozen=True)
class Truth:
    """Checked ground truth. Images and classes are sorted by id, as pycocotools sorts them."""

    image_ids: tuple[ImageId, ...]
    class_ids: tuple[int, ...]
    names: tuple[str, ...]
    boxes: tuple[Box, ...]


def load_ground_truth(path: Path) -> dict[str, Any]:
    """The COCO ground truth in a JSON file. Raises DataError."""
    data = _load(path)
    if not isinstance(data, dict):
        raise DataError(
            f"{path}: expected COCO ground truth, an object with images, annotations "
            "and categories"
        )
    return data


def load_predictions(path: Path) -> list[dict[str, Any]]:
    """The COCO results in a JSON file. Raises DataError."""
    data = _load(path)
    if not isinstance(data, list):
        raise DataError(
            f"{path}: expected COCO results, a list of boxes with image_id, category_id, "
            "bbox and score"
        )
    return data


def check_ground_truth(ground_truth: CocoDict) -> Truth:
    """Ground truth as numbers that can be scored.

    Raises DataError for a missing part, no images, no categories, ids or class names that
    occur twice, boxes of unknown images or categories, and boxes that are not finite or have
    a negative size. Images without boxes are kept: what is found there is a false positive.
    """
    if not isinstance(ground_truth, Mapping):
        raise DataError("ground truth: expected an object with images, annotations and categories")
    images = _ids(_part(ground_truth, "images"), "image")
    classes = _ids(_part(ground_truth, "categories"), "category")
    if not images:
        raise DataError("ground truth: it lists no images, so there is nothing to score")
    if not classes:
        raise DataError("ground truth: it lists no categories, so there is nothing to score")
    class_ids = sorted(_whole(key, "category") for key in classes)
    image_ids = sorted(images, key=lambda key: (isinstance(key, str), key))
    image_at = {key: position for position, key in enumerate(image_ids)}
    class_at = {key: position for position, key in enumerate(class_ids)}
    annotations = _part(ground_truth, "annotations")
    _ids(annotations, "annotation")
    return Truth(
        image_ids=tuple(image_ids),
        class_ids=tuple(class_ids),
        names=_names([classes[key] for key in class_ids]),
        boxes=tuple(_truth_box(item, image_at, class_at) for item in annotations),
    )


def check_predictions(predictions: Sequence[CocoDict], truth: Truth) -> tuple[Box, ...]:
    """Predictions as numbers that can be scored, in their order. Raises DataError."""
    if isinstance(predictions, str | Mapping) or not isinstance(predictions, Sequence):
        raise DataError(
            "predictions: expected a list of boxes with image_id, category_id, bbox and score"
        )
    image_at = {key: position for position, key in enumerate(truth.image_ids)}
    class_at = {key: position for position, key in enumerate(truth.class_ids)}
    return tuple(
        _predicted_box(item, f"predictions: entry {number}", image_at, class_at)
        for number, item in enumerate(predictions, start=1)
    )


def _load(path: Path) -> object:
    try:
        with path.open(encoding="utf-8") as file:
            data: object = json.load(file)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None
    return data


def _part(ground_truth: CocoDict, key: str) -> list[CocoDict]:
    part = ground_truth.get(key)
    if not isinstance(part, list) or not all(isinstance(item, Mapping) for item in part):
        raise DataError(f"ground truth: '{key}' must be a list of objects; is this a COCO file?")
    return part


def _ids(items: Sequence[CocoDict], what: str) -> dict[ImageId, CocoDict]:
    found: dict[ImageId, CocoDict] = {}
    for number, item in enumerate(items, start=1):
        key = item.get("id")
        if isinstance(key, bool) or not isinstance(key, Integral | str):
            raise DataError(
                f"ground truth: {what} {number} has the id {key!r}; expected a number or a name"
            )
        key = key if isinstance(key, str) else int(key)
        if key in found:
            raise DataError(f"ground truth: two {_PLURAL[what]} have the id {key!r}")
        found[key] = item
    return found


_PLURAL = {"image": "images", "category": "categories", "annotation": "annotations"}


def _whole(key: ImageId, what: str) -> int:
    if not isinstance(key, int):
        raise DataError(f"ground truth: {what} id {key!r} is not a whole number")
    return key


def _names(categories: Sequence[CocoDict]) -> tuple[str, ...]:
    names = tuple(str(item.get("name", item["id"])) for item in categories)
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"ground truth: two categories are called '{name}'")
    return names


def _truth_box(
    item: CocoDict, image_at: Mapping[ImageId, int], class_at: Mapping[int, int]
) -> Box:
    where = f"ground truth: annotation {item['id']!r}"
    image, label = _place(item, where, image_at, class_at)
    bbox = _bbox(item, where)
    area = _number(item.get("area", bbox[2] * bbox[3]), f"{where}: area")
    if area < 0:
        raise DataError(f"{where}: area {area:g} is negative")
    return Box(image, label, bbox, area, crowd=bool(item.get("iscrowd", 0)))


def _predicted_box(
    item: object, where: str, image_at: Mapping[ImageId, int], class_at: Mapping[int, int]
) -> Box:
    if not isinstance(item, Mapping):
        raise DataError(f"{where}: expected an object with image_id, category_id, bbox and score")
    image, label = _place(item, where, image_at, class_at)
    bbox = _bbox(item, where)
    score = _number(item.get("score"), f"{where}: score")
    return Box(image, label, bbox, bbox[2] * bbox[3], score=score)


def _place(
    item: CocoDict, where: str, image_at: Mapping[ImageId, int], class_at: Mapping[int, int]
) -> tuple[int, int]:
    image, label = item.get("image_id"), item.get("category_id")
    if not isinstance(image, Integral | str) or image not in image_at:
        raise DataError(f"{where}: image_id {image!r} is not an image of the ground truth")
    if not isinstance(label, Integral) or label not in class_at:
        raise DataError(f"{where}: category_id {label!r} is not a category of the ground truth")
    return image_at[image if isinstance(image, str) else int(image)], class_at[int(label)]


def _bbox(item: CocoDict, where: str) -> tuple[float, float, float, float]:
    raw = item.get("bbox")
    if not isinstance(raw, Sequence | np.ndarray) or isinstance(raw, str) or len(raw) != 4:
        raise DataError(f"{where}: bbox is {raw!r}; expected [x, y, width, height]")
    x, y, width, height = (_number(value, f"{where}: bbox {list(raw)}") for value in raw)
    if width < 0 or height < 0:
        raise DataError(
            f"{where}: bbox {list(raw)} has a negative size; expected [x, y, width, height]"
        )
    return x, y, width, height


def _number(value: object, where: str) -> float:
    if not isinstance(value, Real) or not math.isfinite(value):
        raise DataError(f"{where}: {value!r} is not a finite number")
    return float(value)
