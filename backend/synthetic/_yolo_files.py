"""A split of scenes on disk: JPEG images, YOLO label files and one COCO file, side by side."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml
from PIL import Image

from backend.synthetic._scenes import Placed, Scene

QUALITY = 92


def write_data_yaml(folder: Path, names: Sequence[str], splits: Iterable[str]) -> None:
    """``data.yaml`` with paths relative to itself, so that the folder can be moved."""
    data = {split: f"images/{split}" for split in splits}
    text = yaml.safe_dump({**data, "names": dict(enumerate(names))}, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def write_split(folder: Path, split: str, scenes: Iterable[Scene], names: Sequence[str]) -> None:
    """``images/<split>``, ``labels/<split>`` and ``annotations/<split>.json`` in ``folder``.

    COCO category ids are the YOLO class ids; image and annotation ids start at 1. Each
    annotation also names the ``scan`` that it was made from.
    """
    images, labels = folder / "images" / split, folder / "labels" / split
    annotations = folder / "annotations"
    for made in (images, labels, annotations):
        made.mkdir(parents=True, exist_ok=True)
    coco_images: list[dict[str, object]] = []
    coco_boxes: list[dict[str, object]] = []
    for number, scene in enumerate(scenes, start=1):
        height, width = scene.image.shape[:2]
        name = f"{number:04d}.jpg"
        Image.fromarray(scene.image).save(images / name, quality=QUALITY)
        lines = [_yolo_line(digit, width, height) for digit in scene.digits]
        (labels / name).with_suffix(".txt").write_text("".join(lines), encoding="utf-8")
        coco_images.append({"id": number, "file_name": name, "width": width, "height": height})
        for digit in scene.digits:
            coco_boxes.append(_coco_box(digit, number, len(coco_boxes) + 1))
    coco = {
        "images": coco_images,
        "annotations": coco_boxes,
        "categories": [{"id": index, "name": name} for index, name in enumerate(names)],
    }
    (annotations / f"{split}.json").write_text(json.dumps(coco), encoding="utf-8")


def _yolo_line(digit: Placed, width: int, height: int) -> str:
    left, top, right, bottom = digit.box
    x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
    w, h = (right - left) / width, (bottom - top) / height
    return f"{digit.scan.label} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n"


def _coco_box(digit: Placed, image: int, number: int) -> dict[str, object]:
    left, top, right, bottom = digit.box
    return {
        "id": number,
        "image_id": image,
        "category_id": digit.scan.label,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
        "scan": digit.scan.index,
    }
