"""Small detection datasets on disk, sound unless a test spoils them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("car", "truck", "bus", "person", "bicycle", "motorcycle")
Corners = tuple[object, object, object, object]
Object = tuple[str, Corners]

SOUND: Sequence[Object] = (("Car", (10, 10, 40, 30)),)


def image(path: Path, size: tuple[int, int] = (96, 64), seed: int = 0, **options: object) -> Path:
    """A noisy picture, JPEG or PNG by its name; each seed another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


def dair(
    root: Path,
    frames: Mapping[str, Sequence[Object]],
    splits: Mapping[str, Sequence[object]] | None = None,
) -> Path:
    """A DAIR-V2X-I folder with the objects of each frame."""
    rows = []
    for number, (key, objects) in enumerate(frames.items()):
        image(root / f"image/{key}.jpg", seed=number)
        label(root, key, objects)
        rows.append({"image_path": f"image/{key}.jpg",
                     "label_camera_std_path": f"label/camera/{key}.json"})  # fmt: skip
    write(root / "data_info.json", rows)
    if splits is not None:
        write(root / "single-infrastructure-split-data.json", splits)
    return root


def label(root: Path, key: str, objects: Sequence[Object]) -> None:
    """The label file of a frame; numbers are texts, as in the real dataset."""
    data = [
        {"type": kind, "2d_box": {name: str(value) for name, value in zip(
            ("xmin", "ymin", "xmax", "ymax"), corners, strict=True)}}
        for kind, corners in objects
    ]  # fmt: skip
    write(root / f"label/camera/{key}.json", data)


def coco(folder: Path, split: str, annotations: Sequence[Mapping[str, object]]) -> Path:
    """``annotations/<split>.json`` over two images of 96 x 64 in ``images/<split>``, whose ids
    are 7 and 30; its categories are 3 car and 9 dog."""
    images = []
    for key in (7, 30):
        image(folder / f"images/{split}/{key:04d}.jpg", seed=key)
        images.append({"id": key, "file_name": f"{key:04d}.jpg", "width": 96, "height": 64})
    made = [{"id": number, "iscrowd": 0, **item} for number, item in enumerate(annotations, 1)]
    content = {
        "images": images,
        "annotations": made,
        "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "car"}],
    }
    return write(folder / f"annotations/{split}.json", content)


def write(path: Path, data: object) -> Path:
    """JSON in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path
