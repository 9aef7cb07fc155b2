"""A small clean tracking data set on disk, and ways to break a copy of it.

Boxes with a texture drift over a textured ground; three classes, two splits. The detection
database beside it has every box with noise, and some false ones.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("player", "referee", "ball")
FRAMES = 12
SIZE = (96, 64)
SEQUENCES = {"train": ("a", "b"), "val": ("c",)}
DATABASE = "det_db.json"

Row = list[float]
"""frame, id, x, y, w, h, mark, class, visibility"""
Lines = dict[str, list[str]]


def clean(root: Path) -> Path:
    """The data set and its database ``det_db.json``, in the order of fields xywhcs."""
    seed = 0
    for split, names in SEQUENCES.items():
        for name in names:
            seed += 1
            sequence(root / split / name, seed)
    (root / "classes.json").write_text(json.dumps({"base": 1, "names": list(CLASSES)}))
    write_detections(root, detections(root))
    return root


def sequence(folder: Path, seed: int, frames: int = FRAMES) -> None:
    """One sequence of four moving boxes, classes 1, 2, 3, 1."""
    chance = np.random.default_rng(seed)
    ground, patches = chance.integers(0, 90, (64, 96, 3)), chance.integers(90, 255, (4, 18, 14, 3))
    start, speed = chance.uniform((0, 0), (50, 20), (4, 2)), chance.uniform(0.3, 2, (4, 2))
    rows: list[Row] = []
    (folder / "img1").mkdir(parents=True)
    for frame in range(1, frames + 1):
        picture = ground.copy()
        for number in range(4):
            x, y = (start[number] + speed[number] * frame).round().tolist()
            picture[int(y) : int(y) + 18, int(x) : int(x) + 14] = patches[number]
            rows.append([frame, number + 1, x, y, 14, 18, 1, (1, 2, 3, 1)[number], 1])
        Image.fromarray(picture.astype(np.uint8)).save(folder / "img1" / f"{frame:06d}.png")
    write_rows(folder, rows)
    write_info(folder, frameRate="25", seqLength=str(frames), imExt=".png")


def write_info(folder: Path, **entries: str) -> None:
    """``seqinfo.ini``; the size is that of the pictures."""
    known = {"name": folder.name, "imDir": "img1", "imWidth": "96", "imHeight": "64", **entries}
    lines = "".join(f"{key}={value}\n" for key, value in known.items())
    (folder / "seqinfo.ini").write_text(f"[Sequence]\n{lines}")


def write_rows(folder: Path, rows: Sequence[Sequence[float]]) -> None:
    """``gt/gt.txt``."""
    (folder / "gt").mkdir(exist_ok=True)
    text = "".join(",".join(f"{value:g}" for value in row) + "\n" for row in rows)
    (folder / "gt" / "gt.txt").write_text(text)


def rows_of(folder: Path) -> list[Row]:
    """The rows of ``gt/gt.txt``."""
    lines = (folder / "gt" / "gt.txt").read_text().splitlines()
    return [[float(cell) for cell in line.split(",")] for line in lines]


def folders(root: Path) -> list[Path]:
    """Every sequence."""
    return [root / split / name for split, names in SEQUENCES.items() for name in names]


def edit_rows(root: Path, change: Callable[[int, Row], Row | None]) -> None:
    """Change the rows of every sequence, given their number in the file; None drops one."""
    for folder in folders(root):
        changed = [change(number, row) for number, row in enumerate(rows_of(folder))]
        write_rows(folder, [row for row in changed if row is not None])


def detections(root: Path, fields: str = "xywhcs") -> Lines:
    """The boxes of ``root`` as a detector finds them, with a false one in every third frame."""
    chance = np.random.default_rng(7)
    found: Lines = {}
    for folder in folders(root):
        for frame, _, *box, _, label, _ in rows_of(folder):
            key = f"{folder.relative_to(root)}/img1/{int(frame):06d}"
            lines = found.setdefault(key, [])
            if frame % 3 == 0 and not lines:
                lines.append(line([70, 40, 20, 20], 0.2, 1, fields))
            noisy = np.array(box) + chance.uniform(-0.8, 0.8, 4)
            lines.append(line(noisy, chance.uniform(0.6, 0.99), int(label), fields))
    return found


def line(
    box: Sequence[float] | NDArray[np.float64], score: float, label: int, fields: str = "xywhcs"
) -> str:
    """One detection in an order of fields."""
    last = {"xywhs": [f"{score:.4f}"], "xywhcs": [f"{label}", f"{score:.4f}"],
            "xywhsc": [f"{score:.4f}", f"{label}"]}  # fmt: skip
    return ",".join([*(f"{value:.2f}" for value in box), *last[fields]])


def write_detections(root: Path, found: object) -> None:
    """``det_db.json``."""
    (root / DATABASE).write_text(json.dumps(found))


def coco_videos(root: Path, out: Path) -> Path:
    """The data set ``root`` as COCO: ``annotations/<split>.json`` and
    ``images/<split>/<sequence>_<number>.png``, categories 0 (a group), 3, 5, 9."""
    for split, names in SEQUENCES.items():
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        (out / "images" / split).mkdir(parents=True)
        for name in names:
            for path in sorted((root / split / name / "img1").iterdir()):
                number = int(path.stem)
                file = f"{name}_{number:04d}.png"
                (out / "images" / split / file).write_bytes(path.read_bytes())
                images.append(
                    {"id": len(images) + 1, "file_name": file, "width": 96, "height": 64}
                )
                for frame, track, *box, _, label, _ in rows_of(root / split / name):
                    if frame == number:
                        category = (3, 5, 9)[int(label) - 1]
                        annotations.append({
                            "id": len(annotations) + 1, "image_id": len(images), "bbox": box,
                            "category_id": category, "iscrowd": 0, "track_id": int(track),
                        })  # fmt: skip
        categories = [{"id": 0, "name": "people", "supercategory": "none"}] + [
            {"id": key, "name": name, "supercategory": "people"}
            for key, name in zip((3, 5, 9), CLASSES, strict=True)
        ]
        (out / "annotations").mkdir(exist_ok=True)
        (out / "annotations" / f"{split}.json").write_text(json.dumps(
            {"images": images, "annotations": annotations, "categories": categories}
        ))  # fmt: skip
    return out
