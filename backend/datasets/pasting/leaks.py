"""Does what is pasted show what a model is judged on?"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from backend.core.errors import DataError
from backend.hardware.memory import diagnose

THREADS = 4
LOOKED_AT = 2000
"""Images of each split that are compared by their look; by content all are."""
GRID = 16
NEAR = 0.99
"""Correlation from which two images are taken to show the same."""
PLAIN = 3.0
"""Grey levels; an image that deviates less from its mean cannot be told from another."""
SHOWN = 3

Files = Mapping[bytes, str]
"""sha256 of a file to its name."""


def refuse_leaks(pasted: Mapping[str, Files], held_out: Mapping[str, Files]) -> None:
    """Raise DataError if a file of a folder (config key to its files) is, byte for byte, one that
    a model is judged on (split to its files)."""
    for key, files in pasted.items():
        for split, judged in held_out.items():
            both = sorted(files[digest] for digest in files.keys() & judged.keys())
            if both:
                raise DataError(
                    f"{key}: {len(both)} images are also in the '{split}' split ({_few(both)}), "
                    "so a model would be judged on what it was trained with; take them out of the "
                    "folder"
                )


def look_alikes(
    pasted: Mapping[str, Sequence[Path]], held_out: Mapping[str, Sequence[Path]]
) -> list[str]:
    """Sentences on images that look like held-out ones: saved anew, resized, brightened."""
    told = []
    ours = {key: _looks(paths) for key, paths in pasted.items()}
    for split, paths in held_out.items():
        _, judged = _looks(paths[:LOOKED_AT])
        for key, (names, looks) in ours.items():
            alike = [names[at] for at in np.nonzero((looks @ judged.T >= NEAR).any(axis=1))[0]]
            if alike:
                told.append(
                    f"{key}: {len(alike)} images look like images of the '{split}' split "
                    f"({_few(alike)}); if they show the same scenes, results on it look better "
                    "than they are"
                )
    return told


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _looks(paths: Iterable[Path]) -> tuple[list[str], NDArray[np.float32]]:
    """The names of all images that show something, and the look of each in a row."""
    paths = list(paths)
    with ThreadPoolExecutor(THREADS) as pool:
        found = [(p.name, look) for p, look in zip(paths, pool.map(_look, paths), strict=True)]
    kept = [(name, look) for name, look in found if look is not None]
    looks = np.array([look for _, look in kept], dtype=np.float32)
    return [name for name, _ in kept], looks.reshape(-1, GRID * GRID)


def _look(path: Path) -> NDArray[np.float32] | None:
    """The brightness on a coarse grid, less its mean and of length 1, so that the product of two
    looks is their correlation."""
    try:
        with Image.open(path) as image:
            image.draft("L", (8 * GRID, 8 * GRID))
            grey = ImageOps.exif_transpose(image).convert("L")
    except Exception as error:  # decoders raise what they like at damaged files
        if diagnose(error):
            raise
        return None
    coarse = np.asarray(grey.resize((GRID, GRID), Image.Resampling.BOX), dtype=np.float32)
    look = coarse.ravel() - coarse.mean()
    return look / np.linalg.norm(look) if look.std() >= PLAIN else None
