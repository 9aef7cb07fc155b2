"""A split of a YOLO data.yaml as COCO ground truth, in the terms of Ultralytics' results.

Ultralytics (``yolo val save_json=True``) names an image by the stem of its file, as a number
where it is one, and a class by its number in ``names`` plus 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, UnidentifiedImageError

from backend.core.errors import DataError
from backend.scoring.detection.yolo_datafile import label_path, read_datafile
from backend.scoring.detection.yolo_labels import parse_labels

_LYING = {5, 6, 7, 8}  # orientations in EXIF that turn width into height


def load_yolo_truth(path: Path, split: str = "val", first: int = 1) -> dict[str, Any]:
    """COCO ground truth; the first class has the category id ``first``.

    Of an image only the header is read. Raises DataError for a data.yaml, label file or image
    that cannot be read, and for two images of one name.
    """
    data = read_datafile(path)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    seen: dict[int | str, str] = {}
    for image, name in data.images(split):
        key = _image_id(image)
        if key in seen:
            raise DataError(
                f"{path}: the images {seen[key]} and {name} have the same name, so predictions "
                "cannot tell them apart; rename one"
            )
        seen[key] = name
        width, height = _size(image)
        images.append({"id": key, "file_name": name, "path": str(image), "width": width,
                       "height": height})  # fmt: skip
        for label, x, y, w, h in _labels(image, len(data.names)):
            bbox = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
            box = {"category_id": first + label, "bbox": bbox, "area": bbox[2] * bbox[3]}
            annotations.append({"id": len(annotations) + 1, "image_id": key, "iscrowd": 0, **box})
    categories = [{"id": number, "name": name} for number, name in enumerate(data.names, first)]
    return {"images": images, "annotations": annotations, "categories": categories}


def first_category(
    predictions: Sequence[Mapping[str, Any]], classes: int, asked: int | None = None
) -> int:
    """The category id that predictions give to the first class: 0 or 1.

    Raises DataError if it was not ``asked`` for and nothing tells.
    """
    if asked is not None:
        return asked
    used = Counter(_category(item) for item in predictions)
    if classes in used and 0 not in used:
        return 1
    if 0 in used and classes not in used:
        return 0
    if not predictions:
        return 1
    if 0 in used:
        raise DataError(
            f"predictions: category ids 0 and {classes} both occur, but the data.yaml has only "
            f"{classes} classes"
        )
    raise DataError(
        f"predictions: neither category id 0 nor {classes} occurs, so nothing tells whether the "
        f"{classes} classes are counted from 0 or from 1; say first_category=1 (Ultralytics) or 0"
    )


def _category(item: object) -> int | None:
    found = item.get("category_id") if isinstance(item, Mapping) else None
    return found if isinstance(found, int) else None


def _image_id(image: Path) -> int | str:
    return int(image.stem) if image.stem.isdecimal() else image.stem


def _labels(image: Path, classes: int) -> Sequence[tuple[int, float, float, float, float]]:
    path = label_path(image)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()  # a background
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_labels(content, path, classes).rows


def _size(path: Path) -> tuple[int, int]:
    """Width and height as the image is shown."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation) in _LYING
    except (OSError, ValueError, SyntaxError, ModuleNotFoundError) as error:
        strange = isinstance(error, UnidentifiedImageError | ModuleNotFoundError)
        reason = "not an image" if strange else error  # Ultralytics asks for a HEIF package first
        raise DataError(f"{path}: cannot be read ({reason})") from None
    return (height, width) if turned else (width, height)
