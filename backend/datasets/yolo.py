"""A YOLO data.yaml: boxes in shares of the image, one label file beside each image."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from backend.core.errors import DataError
from backend.datasets.class_rules import by_name
from backend.datasets.detection import DetectionSplit
from backend.datasets.gathering import STRICT, Limits, Listed, Listing, Mark, Told, gather
from backend.scoring.detection.yolo_datafile import DataFile, label_path
from backend.scoring.detection.yolo_labels import parse_labels


def read_yolo(
    data: DataFile,
    split: str,
    classes: tuple[str, ...],
    class_map: Path | None = None,
    limits: Limits = STRICT,
) -> DetectionSplit:
    """A split of a data.yaml; images without a label file are backgrounds.

    Ids are the numbers in the file names if every image has its own, else counted from 1.
    Raises DataError, naming file and line for a wrong label.
    """
    images = data.images(split)
    ids = image_ids([image for image, _ in images])
    frames = [
        Listed(key, name, image, partial(_read_labels, label_path(image), data.names))
        for key, (image, name) in zip(ids, images, strict=True)
    ]
    rules = by_name(data.names, classes, class_map, data.path)
    return gather(Listing(data.path, split, frames), classes, rules, limits)


def image_ids(images: Sequence[Path]) -> list[int]:
    """The numbers that the files are named by, or 1 to n."""
    numbers = [int(image.stem) for image in images if image.stem.isdecimal()]
    return numbers if len(set(numbers)) == len(images) else list(range(1, len(images) + 1))


def _read_labels(path: Path, names: Sequence[str]) -> Told:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Told(())  # a background
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    labels = parse_labels(content, path, len(names))
    marks = [
        Mark(names[label], (x - w / 2, y - h / 2, x + w / 2, y + h / 2), shares=True)
        for label, x, y, w, h in labels.rows
    ]
    return Told(marks, labels.flat)
