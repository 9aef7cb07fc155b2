"""A folder of annotated images that objects are cut out of: what it says, before decoding."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.core.errors import DataError
from backend.scoring.detection.yolo_datafile import SUFFIXES, label_path, read_datafile
from backend.scoring.detection.yolo_labels import parse_labels

ABOVE = 2
"""Folders above the annotated one in which names are looked for: images/train has them there."""


@dataclass(frozen=True)
class Outline:
    """A labelled object: its class in the folder, and its polygon (x, y, x, y, ...) or its box
    (left, top, right, bottom), in shares of the image."""

    label: int
    points: tuple[float, ...]

    @property
    def polygon(self) -> bool:
        return len(self.points) > 4

    @property
    def box(self) -> tuple[float, float, float, float]:
        xs, ys = self.points[0::2], self.points[1::2]
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Annotated:
    """An image with its objects; ``content`` are the bytes of its label file."""

    image: Path
    name: str
    outlines: tuple[Outline, ...]
    content: bytes


def images_below(folder: Path, key: str) -> list[tuple[Path, str]]:
    """All images below a folder with their names in it, in order of name. Raises DataError, which
    names the config key, if there is none."""
    if not folder.is_dir():
        raise DataError(f"{key}: {folder} is no folder; name one with images")
    found = sorted((image.relative_to(folder).as_posix(), image) for image in _walk(folder))
    if not found:
        raise DataError(f"{key}: {folder} has no images")
    return [(image, name) for name, image in found]


def class_names(folder: Path) -> tuple[str, ...]:
    """The names by which the folder's labels are to be understood. Raises DataError."""
    for place in (folder, folder / "labels", *folder.parents[:ABOVE]):
        if (place / "data.yaml").is_file():
            return read_datafile(place / "data.yaml").names
        if (place / "classes.txt").is_file():
            return _listed(place / "classes.txt")
    raise DataError(
        f"synthetic.annotated_dir: {folder} does not say what its classes are called; add a "
        "data.yaml with 'names', or a classes.txt with one name in each line"
    )


def read_annotated(image: Path, name: str, classes: int) -> Annotated:
    """The objects of an image; none if it has no label file. Raises DataError for wrong labels."""
    path = label_path(image)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    parse_labels(content, path, classes)  # refuses what is no label
    lines = (line.split() for line in content.decode("utf-8-sig").splitlines())
    once = dict.fromkeys(_outline(words) for words in lines if words)
    return Annotated(image, name, tuple(o for o in once if _area(o) > 0), content)


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, inner, files in os.walk(folder, followlinks=True):
        inner.sort()
        if (real := os.path.realpath(place)) in seen:
            inner.clear()  # a link to where we have been, perhaps to a folder above
            continue
        seen.add(real)
        paths = (Path(place, file) for file in files if not file.startswith("."))
        yield from (path for path in paths if path.suffix.lower() in SUFFIXES)


def _listed(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of names ({error})") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names or len(set(names)) < len(names):
        raise DataError(f"{path}: expected one class name in each line, each once")
    return names


def _outline(words: list[str]) -> Outline:
    points = tuple(min(max(float(word), 0.0), 1.0) for word in words[1:])
    if len(points) == 4:
        x, y, w, h = (float(word) for word in words[1:])
        corners = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        points = tuple(min(max(value, 0.0), 1.0) for value in corners)
    return Outline(int(float(words[0])), points)


def _area(outline: Outline) -> float:
    left, top, right, bottom = outline.box
    return (right - left) * (bottom - top)
