"""What detectors write: MOTChallenge's det.txt, COCO results, YOLO's text files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np

from backend.core.errors import DataError
from backend.datasets.tracking.detection_frames import Frame, Frames
from backend.datasets.tracking.records import UNKNOWN, Floats
from backend.scoring.detection.coco import load_ground_truth
from backend.scoring.json_files import is_number, read_json
from backend.scoring.tracking.motchallenge import read_table

Format = Literal["mot", "coco", "yolo"]
_SCORE, _CLASS, _WORLD = 6, 7, 10
_TRUTH_BESIDE = "ground_truth.json"


@dataclass
class Detected:
    """Detections of one source: frame to (n, 6) left, top, width, height, score, class.

    Classes are the source's own, -1 unknown; ``names`` are theirs where the source tells them,
    ``base`` is its first one. Frames without detections that it looked at have empty rows.
    """

    source: str
    base: int
    frames: dict[Frame, Floats] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)


def format_of(path: Path) -> Format:
    """What a file or folder seems to be: .json is COCO, texts are told apart by their rows."""
    if path.suffix.lower() == ".json":
        return "coco"
    texts = [path] if path.is_file() else sorted(path.rglob("*.txt"))
    for text in texts:
        with text.open(encoding="utf-8", errors="replace") as file:
            first = file.readline()
        if first.strip():
            return "mot" if "," in first else "yolo"
    if any(path.rglob("det.txt")):
        return "mot"
    raise DataError(f"{path}: no detections are in it; expected .json or .txt files")


def read_detections(
    path: Path, form: Format, frames: Frames, annotations: Path | None = None
) -> Detected:
    """The detections in a file or folder. Raises DataError naming file and line."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if form == "coco":
        return _coco(path, annotations, frames)
    if annotations is not None:
        raise DataError(f"--annotations {annotations}: only COCO results refer to images by id")
    return _mot(path, frames) if form == "mot" else _yolo(path, frames)


def _mot(path: Path, frames: Frames) -> Detected:
    """``<sequence>/det/det.txt`` or ``<sequence>.txt``; a file is of the only sequence."""
    found = Detected(str(path), base=1)
    for file, name in _mot_files(path, frames):
        table = _mot_rows(file)
        numbers = table[:, 0].astype(np.int64)
        for number in np.unique(numbers).tolist():
            frames.known((name, number), str(file))
        for number in frames.sequences[name].numbers.tolist():
            _add(found, (name, number), table[numbers == number, 1:], str(file))
    return found


def _mot_files(path: Path, frames: Frames) -> list[tuple[Path, str]]:
    if path.is_file():
        name = path.parent.parent.name if path.parent.name == "det" else path.stem
        only = list(frames.sequences)
        return [(path, only[0] if len(only) == 1 else frames.sequence(name, str(path)))]
    files = sorted(path.rglob("det/det.txt"))
    named = [(file, file.parent.parent.relative_to(path)) for file in files] or [
        (file, file.relative_to(path).with_suffix("")) for file in sorted(path.rglob("*.txt"))
    ]
    if not named:
        raise DataError(f"{path}: neither <sequence>/det/det.txt nor <sequence>.txt are in it")
    wanted = []
    for file, place in named:
        name = place.as_posix()
        inside = path.resolve() == frames.root.resolve() and name not in frames.sequences
        if not inside:  # a split of the data set itself that was not asked for
            wanted.append((file, frames.sequence(name, str(file))))
    return wanted


def _mot_rows(file: Path) -> Floats:
    """(n, 7) frame, left, top, width, height, score, class."""
    table, lines = read_table(file)
    if not len(table):
        return np.empty((0, 7))
    if table.shape[1] <= _SCORE:
        raise DataError(f"{file}: rows have no score; expected frame,id,x,y,w,h,score[,class]")
    bad = ~np.isfinite(table[:, [0, 2, 3, 4, 5, _SCORE]]).all(axis=1)
    bad |= table[:, 0] != np.floor(table[:, 0])
    if bad.any():
        raise DataError(f"{file}, line {lines[int(bad.argmax())]}: frame, box and score must be "
                        "finite numbers, and the frame a whole one")  # fmt: skip
    classes = np.full(len(table), float(UNKNOWN))
    if table.shape[1] > _CLASS:
        told = table[:, _CLASS]
        whole = np.isfinite(told) & (told == np.floor(told)) & (told >= UNKNOWN)
        if whole.all():
            classes = told
        elif table.shape[1] < _WORLD:
            raise DataError(f"{file}, line {lines[int((~whole).argmax())]}: a class must be a "
                            "whole number")  # fmt: skip
    return np.column_stack([table[:, [0, 2, 3, 4, 5, _SCORE]], classes])


def _coco(path: Path, annotations: Path | None, frames: Frames) -> Detected:
    """Results refer to the images of an annotation file; its images are what was looked at."""
    truth = annotations or path.with_name(_TRUTH_BESIDE)
    if not truth.is_file():
        raise DataError(
            f"{path}: its image ids mean nothing without the annotation file that they are of; "
            "name it with --annotations"
        )
    content = load_ground_truth(truth)
    names = {int(str(one["id"])): str(one["name"]) for one in _items(content, "categories", truth)}
    found = Detected(str(path), base=1, names=names)
    places = _coco_images(content, truth, frames)
    rows: dict[object, list[list[float]]] = {key: [] for key in places}
    results = read_json(path)
    if not isinstance(results, list):
        raise DataError(f"{path}: expected COCO results, a list of boxes")
    for place, one in enumerate(results):
        row = _coco_row(one, f"{path}, result {place}")
        if one["image_id"] not in rows:
            raise DataError(f"{path}, result {place}: {truth} has no image {one['image_id']!r}")
        if row[-1] not in names:
            raise DataError(f"{path}, result {place}: {truth} has no category {row[-1]:g}")
        rows[one["image_id"]].append(row)
    for key, frame in places.items():
        _add(found, frame, np.array(rows[key], float).reshape(-1, 6), str(path))
    return found


def _coco_images(
    content: Mapping[str, object], truth: Path, frames: Frames
) -> dict[object, Frame]:
    places: dict[object, Frame] = {}
    for image in _items(content, "images", truth):
        name = str(image.get("path") or image.get("file_name"))
        frame = frames.find(name, str(truth))
        sequence = frames.sequences[frame[0]]
        sizes = (image.get("width"), image.get("height")), (sequence.width, sequence.height)
        if None not in (*sizes[0], *sizes[1]) and sizes[0] != sizes[1]:
            raise DataError(f"{truth}: {name} is {sizes[0]} pixels, but {frame[0]} {sizes[1]}")
        places[image["id"]] = frame
    return places


def _coco_row(one: object, where: str) -> list[float]:
    box = one.get("bbox") if isinstance(one, dict) else None
    if not isinstance(one, dict) or not isinstance(box, list) or len(box) != 4:
        raise DataError(f"{where}: expected image_id, category_id, bbox of 4 numbers and score")
    row = [*box, one.get("score"), one.get("category_id")]
    if not all(is_number(value) and not isinstance(value, bool) for value in row):
        raise DataError(f"{where}: bbox, score and category_id must be finite numbers")
    return [float(cast(float, value)) for value in row]


def _items(content: Mapping[str, object], key: str, file: Path) -> Sequence[Mapping[str, object]]:
    items = content.get(key)
    if not isinstance(items, list) or not all(isinstance(i, dict) and "id" in i for i in items):
        raise DataError(f"{file}: expected '{key}', a list of objects with ids")
    return items


def _yolo(path: Path, frames: Frames) -> Detected:
    """``cls cx cy w h conf`` per line, shares of the image; one file per frame with any."""
    files = [path] if path.is_file() else sorted(path.rglob("*.txt"))
    if not files:
        raise DataError(f"{path}: no text files are in it")
    found = Detected(str(path), base=0)
    for file in files:
        inside = str(file.relative_to(path)) if path.is_dir() else file.name
        frame = frames.find(inside, str(file))
        sequence = frames.sequences[frame[0]]
        if sequence.width is None or sequence.height is None:
            raise DataError(f"{sequence.folder}: nothing tells the size of its images; write "
                            "imWidth and imHeight into seqinfo.ini")  # fmt: skip
        size = np.array([sequence.width, sequence.height], float)
        rows = np.array(list(_yolo_rows(file)), float).reshape(-1, 6)
        boxes = np.hstack([(rows[:, 1:3] - rows[:, 3:5] / 2) * size, rows[:, 3:5] * size])
        _add(found, frame, np.column_stack([boxes, rows[:, 5], rows[:, 0]]), str(file))
    for name in dict.fromkeys(name for name, _ in found.frames):
        for number in frames.sequences[name].numbers.tolist():
            found.frames.setdefault((name, number), np.empty((0, 6)))
    return found


def _yolo_rows(file: Path) -> Iterator[list[float]]:
    for place, line in enumerate(
        file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
    ):
        cells = line.split()
        if not cells:
            continue
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            values = [np.nan]
        if len(values) not in (6, 7) or not np.isfinite(values).all():
            raise DataError(
                f"{file}, line {place}: expected cls cx cy w h conf, got {line.strip()[:60]!r} "
                "(predict with save_txt=True save_conf=True)"
            )
        if max(values[1:5]) > 1.5:
            raise DataError(f"{file}, line {place}: a box in pixels; YOLO's are shares of 1")
        yield values[:6]


def _add(found: Detected, frame: Frame, rows: Floats, source: str) -> None:
    if frame in found.frames:
        raise DataError(f"{source}: a second entry for frame {frame[1]} of {frame[0]}")
    found.frames[frame] = rows
