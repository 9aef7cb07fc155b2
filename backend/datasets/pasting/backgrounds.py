"""The images that objects are pasted on."""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from backend.core.errors import DataError
from backend.core.records import DatasetInput
from backend.datasets.pasting.annotated import images_below
from backend.hardware.memory import diagnose

THREADS = 4
KEPT = 256 * 2**20
"""Bytes of decoded backgrounds that are kept; the rest are decoded each time."""
LONGEST = 2
"""A background keeps at most so many squares of its shorter side."""
KEY = "synthetic.backgrounds_dir"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Background:
    """A readable image; ``kept`` are its pixels if there was room for them."""

    path: Path
    name: str
    digest: bytes
    kept: Pixels | None


@dataclass(frozen=True)
class Backgrounds:
    """In order of name. ``side`` is that of the square that is cut from one; ``damaged`` are
    files that cannot be read."""

    folder: Path
    side: int
    items: tuple[Background, ...]
    damaged: tuple[str, ...] = ()

    @property
    def files(self) -> Mapping[bytes, str]:
        """sha256 of each file to its name."""
        return {item.digest: item.name for item in self.items}

    @property
    def digest(self) -> str:
        """Of all files; it does not depend on where the folder lies."""
        return hashlib.sha256(b"".join(item.digest for item in self.items)).hexdigest()

    @property
    def bytes(self) -> int:
        return sum(item.kept.nbytes for item in self.items if item.kept is not None)

    def as_input(self) -> DatasetInput:
        """What a run records of it."""
        return DatasetInput(
            name=self.folder.name,
            path=str(self.folder),
            split="backgrounds",
            digest=self.digest,
            images=len(self.items),
            instances=0,
        )

    def crop(self, rng: np.random.Generator) -> Pixels:
        """A new square of a random image, uint8 [side, side, RGB]."""
        item = self.items[int(rng.integers(len(self.items)))]
        pixels = item.kept
        if pixels is None:
            pixels = _decoded(item.path.read_bytes(), self.side)
        top = int(rng.integers(pixels.shape[0] - self.side + 1))
        left = int(rng.integers(pixels.shape[1] - self.side + 1))
        return pixels[top : top + self.side, left : left + self.side].copy()


def read_backgrounds(folder: Path, side: int) -> Backgrounds:
    """Decode every image once. Raises DataError for a missing folder or nothing readable."""
    images = images_below(folder, KEY)
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(partial(_read, side=side), *zip(*images, strict=True))
        items, damaged = _fitting(found)
    if not items:
        raise DataError(f"{KEY}: no image in {folder} can be read; the first: {damaged[0]}")
    return Backgrounds(folder, side, tuple(items), tuple(damaged))


def _fitting(found: Iterable[Background | str]) -> tuple[list[Background], list[str]]:
    """The readable ones and what is damaged. The first ones keep their pixels, as long as there
    is room; those of the others are let go at once."""
    room, items, damaged = KEPT, list[Background](), list[str]()
    for one in found:
        if isinstance(one, str):
            damaged.append(one)
            continue
        room -= 0 if one.kept is None else one.kept.nbytes
        items.append(one if room >= 0 else replace(one, kept=None))
    return items, damaged


def _read(path: Path, name: str, side: int) -> Background | str:
    try:
        content = path.read_bytes()
        pixels = _decoded(content, side)
    except Exception as error:  # decoders raise what they like at damaged files
        if diagnose(error):
            raise
        return f"{name} ({error or type(error).__name__})"
    return Background(path, name, hashlib.sha256(content).digest(), pixels)


def _decoded(content: bytes, side: int) -> Pixels:
    """RGB whose shorter side has ``side`` pixels; of a very long image the middle."""
    with Image.open(BytesIO(content)) as image:
        image.draft("RGB", (side, side))
        made = ImageOps.exif_transpose(image).convert("RGB")
    factor = side / min(made.size)
    size = tuple(min(max(round(length * factor), side), LONGEST * side) for length in made.size)
    return np.asarray(ImageOps.fit(made, (size[0], size[1]), Image.Resampling.BILINEAR))
