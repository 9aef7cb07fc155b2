"""Drawn shapes as a YOLO dataset: small images that a tiny network learns in seconds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageDraw

NAMES = ("square", "disc", "triangle")
SIZE = 64

TINY = {
    "nc": len(NAMES),
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "C2f", [8, True]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "C2f", [16, True]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "C2f", [16, True]],
        [-1, 1, "SPPF", [16, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 1, "C2f", [16]],
        [-1, 1, "Conv", [16, 3, 2]],
        [[-1, 7], 1, "Concat", [1]],
        [-1, 1, "C2f", [16]],
        [[10, 13], 1, "Detect", ["nc"]],
    ],
}
"""The architecture of configs/models/yolo-tiny.yaml, narrower."""


def write_architecture(path: Path) -> Path:
    """TINY as a model yaml."""
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


def write_dataset(
    folder: Path, splits: dict[str, int], names: Sequence[str] = NAMES, seed: int = 0
) -> Path:
    """Images, labels and data.yaml; returns the latter. ``splits`` maps a name to its size."""
    for number, (split, count) in enumerate(splits.items()):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        rng = np.random.default_rng((seed, number))
        for index in range(count):
            pixels, rows = draw(rng, len(names))
            Image.fromarray(pixels).save(images / f"{index:03d}.png")
            lines = [f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, x, y, w, h in rows]
            (labels / f"{index:03d}.txt").write_text("".join(lines), encoding="utf-8")
    data = {split: f"images/{split}" for split in splits}
    text = yaml.safe_dump({**data, "names": list(names)}, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    return folder / "data.yaml"


def draw(
    rng: np.random.Generator, classes: int
) -> tuple[NDArray[np.uint8], list[tuple[int, float, float, float, float]]]:
    """One image with one bright shape in each of two quarters, and its label rows."""
    image = Image.new("RGB", (SIZE, SIZE), tuple(int(v) for v in rng.integers(0, 60, 3)))
    pen = ImageDraw.Draw(image)
    rows = []
    for quarter in rng.choice(4, size=2, replace=False):
        label = int(rng.integers(classes))
        size = int(rng.integers(16, 28))
        left = int(quarter % 2) * 32 + int(rng.integers(0, 32 - size))
        top = int(quarter // 2) * 32 + int(rng.integers(0, 32 - size))
        box = (left, top, left + size - 1, top + size - 1)
        _shape(pen, label % 3, box, tuple(int(v) for v in rng.integers(150, 256, 3)))
        centre = ((left + size / 2) / SIZE, (top + size / 2) / SIZE)
        rows.append((label, *centre, size / SIZE, size / SIZE))
    return np.asarray(image).copy(), rows


def _shape(
    pen: ImageDraw.ImageDraw, label: int, box: tuple[int, int, int, int], colour: tuple[int, ...]
) -> None:
    left, top, right, bottom = box
    if label == 0:
        pen.rectangle(box, fill=colour)
    elif label == 1:
        pen.ellipse(box, fill=colour)
    else:
        pen.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=colour)
