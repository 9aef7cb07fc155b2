"""A split for others: as COCO ground truth, in numbers, and as files."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from backend.core.errors import DataError
from backend.core.folders import whole_folder
from backend.core.workdir import write_json
from backend.datasets.coco import COCO_YAML
from backend.datasets.detection import EVERY_CLASS, DetectionSplit, Frame
from backend.datasets.wording import some

SIZES = {"small": 0.0, "medium": 32.0**2, "large": 96.0**2}
"""COCO's sizes of objects, each from an area in pixels on."""


class Summary(NamedTuple):
    """A split in numbers. ``sizes`` counts each class's objects by COCO's sizes."""

    images: int
    without_objects: int
    objects: dict[str, int]
    sizes: dict[str, dict[str, int]]
    ignored: int


def summary(split: DetectionSplit) -> Summary:
    """Objects per class and size, images without any, regions that count for nothing."""
    labels = np.concatenate([frame.labels for frame in split.frames])
    boxes = np.concatenate([frame.boxes for frame in split.frames])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    bins = np.digitize(areas, list(SIZES.values())) - 1
    table = np.zeros((len(split.classes), len(SIZES)), dtype=int)
    np.add.at(table, (labels, bins), 1)
    return Summary(
        images=len(split.frames),
        without_objects=sum(not len(frame.labels) for frame in split.frames),
        objects=split.objects,
        sizes={
            name: dict(zip(SIZES, row.tolist(), strict=True))
            for name, row in zip(split.classes, table, strict=True)
        },
        ignored=sum(len(frame.ignored_labels) for frame in split.frames),
    )


def shared_images(splits: Sequence[DetectionSplit]) -> tuple[str, ...]:
    """Sentences about images that lie, byte for byte, in two splits: scores would flatter."""
    found = []
    for at, split in enumerate(splits):
        names = {frame.digest: frame.name for frame in split.frames}
        for other in splits[at + 1 :]:
            both = sorted({names[f.digest] for f in other.frames if f.digest in names})
            if both:
                where = f"images of {other.split} that are in {split.split} too"
                found.append(f"{where}: {len(both)} ({some(both)})")
    return tuple(found)


def to_coco(split: DetectionSplit) -> dict[str, Any]:
    """COCO ground truth: category ids from 1 in the order of the classes, annotation ids from 1
    over all images. A region that is ignored for every class is one crowd of each."""
    annotations: list[dict[str, Any]] = []
    for frame in split.frames:
        for label, box, crowd in _regions(frame, len(split.classes)):
            left, top, right, bottom = map(float, box)
            bbox = [left, top, right - left, bottom - top]
            annotations.append({
                "id": len(annotations) + 1, "image_id": frame.id, "category_id": label + 1,
                "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": crowd,
            })  # fmt: skip
    images = [
        {"id": frame.id, "file_name": frame.name, "width": frame.width, "height": frame.height}
        for frame in split.frames
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(split.classes, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(splits: Sequence[DetectionSplit], out: Path, *, copy: bool = False) -> Path:
    """``annotations/<split>.json`` and a ``coco.yaml`` that names them and their images.

    Images stay where they are, or are copied to ``images/<split>``. The folder appears whole
    or not at all. Raises DataError if ``out`` has something in it or cannot be written.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise DataError(f"{out}: already has something in it; name a new folder")
    with whole_folder(out) as making:
        (making / "annotations").mkdir()
        places = {split.split: _write_split(split, making, copy) for split in splits}
        text = yaml.safe_dump(places, sort_keys=False, allow_unicode=True)
        (making / COCO_YAML).write_text(text, encoding="utf-8")
    return out / COCO_YAML


def _write_split(split: DetectionSplit, folder: Path, copy: bool) -> dict[str, str]:
    coco = to_coco(split)
    images = f"images/{split.split}" if copy else str(_common_folder(split.frames))
    for frame, item in zip(split.frames, coco["images"], strict=True):
        if copy:
            item["file_name"] = _inside_name(frame)
            target = folder / images / item["file_name"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(frame.path, target)
        else:
            item["file_name"] = os.path.relpath(frame.path, images)
    file = f"annotations/{split.split}.json"
    write_json(folder / file, coco)
    return {"images": images, "annotations": file}


def _common_folder(frames: Sequence[Frame]) -> Path:
    """The folder that the images' names are relative to, if they agree; else what they share."""
    roots = {
        Path(str(frame.path).removesuffix(frame.name))
        for frame in frames
        if str(frame.path).endswith(f"{os.sep}{frame.name}")
    }
    if len(roots) == 1:
        return roots.pop()
    return Path(os.path.commonpath([frame.path.parent for frame in frames]))


def _inside_name(frame: Frame) -> str:
    """A file name that stays inside of a folder."""
    name = Path(frame.name)
    outside = name.is_absolute() or ".." in name.parts
    return f"{frame.id}_{name.name}" if outside else frame.name


def _regions(frame: Frame, classes: int) -> list[tuple[int, Any, int]]:
    """Label, box and iscrowd of all that an image has."""
    found = [(int(label), box, 0) for label, box in zip(frame.labels, frame.boxes, strict=True)]
    for label, box in zip(frame.ignored_labels, frame.ignored, strict=True):
        every = range(classes) if label == EVERY_CLASS else (int(label),)
        found += [(one, box, 1) for one in every]
    return found
