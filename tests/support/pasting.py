"""Folders to paste from: bright shapes to cut out, and dark noise to paste on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tests.support.shapes import NAMES, SIZE

CORNERS = {
    "square": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "triangle": ((0, 1), (1, 1), (0.5, 0)),
    "disc": tuple(
        (0.5 + np.cos(a) / 2, 0.5 + np.sin(a) / 2) for a in np.arange(0, 2 * np.pi, 0.2)
    ),
}
COLOURS = {"square": (250, 60, 60), "disc": (60, 250, 60), "triangle": (60, 60, 250)}
KINDS = ("polygon", "alpha", "box")


def write_backgrounds(folder: Path, count: int = 3, size: tuple[int, int] = (80, 64)) -> Path:
    """Dark noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    for number in range(count):
        pixels = rng.integers(0, 40, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def write_annotated(
    folder: Path, kind: str = "polygon", count: int = 6, names: Sequence[str] = NAMES
) -> Path:
    """Images with one large shape each, labelled by polygon, by alpha or by a box alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    rng = np.random.default_rng(6)
    for number in range(count):
        label = number % len(names)
        side, left, top = (int(v) for v in rng.integers((20, 4, 4), (32, 24, 24)))
        shape = CORNERS[NAMES[label % len(NAMES)]]
        corners = [(left + x * side, top + y * side) for x, y in shape]
        image = _drawn(corners, COLOURS[NAMES[label % len(NAMES)]], kind)
        image.save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(_line(label, corners, kind), encoding="utf-8")
    return folder


def _drawn(
    corners: list[tuple[float, float]], colour: tuple[int, int, int], kind: str
) -> Image.Image:
    image = Image.new("RGBA", (SIZE, SIZE), (90, 90, 90, 0 if kind == "alpha" else 255))
    drawn = [(x - 0.5, y - 0.5) for x, y in corners]  # PIL paints the pixel at a coordinate
    ImageDraw.Draw(image).polygon(drawn, fill=(*colour, 255))
    return image if kind == "alpha" else image.convert("RGB")


def _line(label: int, corners: list[tuple[float, float]], kind: str) -> str:
    shares = [(x / SIZE, y / SIZE) for x, y in corners]
    if kind == "polygon":
        return f"{label} " + " ".join(f"{x:.6f} {y:.6f}" for x, y in shares) + "\n"
    low, high = np.min(shares, axis=0), np.max(shares, axis=0)
    return "{} {:.6f} {:.6f} {:.6f} {:.6f}\n".format(label, *(low + high) / 2, *(high - low))
