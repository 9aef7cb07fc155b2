"""Scenes: scanned digits set as ink on a made background, with the exact box of each.

All randomness comes from the generator that is handed in; the same generator gives the same
pixels. Images are RGB, float32 in [0, 255] until the end; boxes are whole pixels (left, top,
right, bottom), right and bottom exclusive.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Pixels = NDArray[np.float32]
Box = tuple[int, int, int, int]

INK = 0.5  # coverage from which a pixel counts as ink: half of it is covered
_CELL = 8  # a scan's pixel becomes a block of this side before it is turned and sized
_GAP = 2  # pixels between the boxes of two digits
_TRIES = 40  # places tried for one digit before it is left out


@dataclass(frozen=True)
class Scan:
    """One scanned digit: its row in the source data, its class and its 8x8 ink in [0, 1]."""

    index: int
    label: int
    ink: Pixels


@dataclass(frozen=True)
class Placed:
    """A digit in a scene. ``coverage`` is its ink within ``box``, in [0, 1]."""

    scan: Scan
    box: Box
    coverage: Pixels


@dataclass(frozen=True)
class Scene:
    """A finished image (H, W, 3) and what is on it."""

    image: NDArray[np.uint8]
    digits: tuple[Placed, ...]


@dataclass(frozen=True)
class Domain:
    """What the images of one domain look like.

    ``count`` and ``height`` (pixels) are inclusive ranges, ``tilt`` is degrees either way,
    ``canvas`` paints a square background of a side, ``ink`` chooses a colour, ``opacity`` is
    the range of the ink's strength, ``grain`` the share of it that the surface takes away,
    ``noise`` the camera's, in grey levels.
    """

    count: tuple[int, int]
    height: tuple[int, int]
    tilt: float
    canvas: Callable[[np.random.Generator, int], Pixels]
    ink: Callable[[np.random.Generator], Pixels]
    opacity: tuple[float, float]
    grain: float
    noise: float


def compose(domain: Domain, scans: Iterator[Scan], side: int, rng: np.random.Generator) -> Scene:
    """One scene of a domain with the next few scans; at least one, none overlapping."""
    canvas = domain.canvas(rng, side)
    colour = domain.ink(rng)
    placed: list[Placed] = []
    for _ in range(int(rng.integers(domain.count[0], domain.count[1] + 1))):
        scan = next(scans)
        coverage = _written(scan, domain, rng)
        box = _free_place(coverage.shape, side, [p.box for p in placed], rng)
        if box is not None:
            placed.append(Placed(scan, box, coverage))
            _apply_ink(canvas, placed[-1], colour, domain, rng)
    canvas += rng.normal(0, domain.noise, canvas.shape).astype(np.float32)
    return Scene(np.clip(canvas, 0, 255).astype(np.uint8), tuple(placed))


def _written(scan: Scan, domain: Domain, rng: np.random.Generator) -> Pixels:
    """The scan enlarged smoothly, turned, sized and cut to its ink."""
    side = (scan.ink.shape[0] + 4) * _CELL
    sheet = Image.fromarray(np.pad(scan.ink, 2)).resize((side, side), Image.Resampling.BICUBIC)
    sheet = sheet.rotate(float(rng.uniform(-domain.tilt, domain.tilt)), Image.Resampling.BICUBIC)
    stroke = _cut_to_ink(_sharpened(np.asarray(sheet)))
    height = int(rng.integers(domain.height[0], domain.height[1] + 1))
    width = max(4, round(height * stroke.shape[1] / stroke.shape[0] * rng.uniform(0.8, 0.95)))
    # A margin keeps the antialiased rim of the stroke through the resampling.
    sized = Image.fromarray(np.pad(stroke, _CELL)).resize(
        (
            round(width * (1 + 2 * _CELL / stroke.shape[1])),
            round(height * (1 + 2 * _CELL / stroke.shape[0])),
        ),
        Image.Resampling.BICUBIC,
    )
    return _cut_to_ink(np.clip(np.asarray(sized), 0, 1))


def _sharpened(ink: NDArray[np.float32]) -> Pixels:
    """A stroke with an edge, from the blurred grey that enlarging leaves."""
    level = np.clip((ink - 0.28) / 0.4, 0, 1)
    edged: Pixels = (level * level * (3 - 2 * level)).astype(np.float32)
    return edged


def _cut_to_ink(coverage: Pixels) -> Pixels:
    rows = np.flatnonzero((coverage >= INK).any(axis=1))
    columns = np.flatnonzero((coverage >= INK).any(axis=0))
    cut: Pixels = coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut


def _free_place(
    shape: tuple[int, ...], side: int, taken: Sequence[Box], rng: np.random.Generator
) -> Box | None:
    """A box of ``shape`` inside the image that keeps its distance from the taken ones."""
    height, width = shape
    for _ in range(_TRIES):
        left = int(rng.integers(1, side - width))
        top = int(rng.integers(1, side - height))
        box = (left, top, left + width, top + height)
        if all(_apart(box, other) for other in taken):
            return box
    return None


def _apart(a: Box, b: Box) -> bool:
    return a[0] >= b[2] + _GAP or b[0] >= a[2] + _GAP or a[1] >= b[3] + _GAP or b[1] >= a[3] + _GAP


def _apply_ink(
    canvas: Pixels, digit: Placed, colour: Pixels, domain: Domain, rng: np.random.Generator
) -> None:
    left, top, right, bottom = digit.box
    strength = rng.uniform(*domain.opacity)
    grain = 1 - domain.grain * rng.random(digit.coverage.shape, dtype=np.float32)
    alpha = (digit.coverage * grain * strength)[..., None].astype(np.float32)
    patch = canvas[top:bottom, left:right]
    patch += alpha * (colour - patch)


def paper_page(rng: np.random.Generator, side: int) -> Pixels:
    """A ruled page under uneven light."""
    tone = np.array([238, 234, 222]) + rng.uniform(-14, 10, 3)
    canvas = tone * _light(rng, side, 0.12)[..., None]
    pitch, start = int(rng.integers(11, 19)), int(rng.integers(0, 11))
    rule = np.array([170, 190, 222]) + rng.uniform(-12, 12, 3)
    canvas[start::pitch] = 0.35 * canvas[start::pitch] + 0.65 * rule
    return canvas.astype(np.float32)


def pen(rng: np.random.Generator) -> Pixels:
    """Blue, black or red-brown ink."""
    inks = np.array([[28, 42, 120], [30, 30, 36], [120, 36, 40]])
    colour: Pixels = (inks[int(rng.integers(len(inks)))] + rng.uniform(-12, 12, 3)).astype(
        np.float32
    )
    return colour


def chalk_board(rng: np.random.Generator, side: int) -> Pixels:
    """A stained board, scribbled on, half wiped."""
    tones = np.array([[46, 82, 66], [58, 62, 92], [92, 62, 54], [66, 70, 70]])
    tone = tones[int(rng.integers(len(tones)))] + rng.uniform(-14, 14, 3)
    hues = np.stack([_blotches(rng, side, 5) for _ in range(3)], axis=-1)
    stains = 16 * _blotches(rng, side, 6) + 14 * _blotches(rng, side, 18)
    canvas = np.clip(tone + 10 * hues + stains[..., None], 0, 255)
    sheet = Image.fromarray(canvas.astype(np.uint8))
    draw = ImageDraw.Draw(sheet)
    for _ in range(int(rng.integers(4, 9))):
        draw.line(_scribble(rng, side), fill=_wiped(rng, tone), width=int(rng.integers(1, 3)))
    board: Pixels = np.asarray(sheet.filter(ImageFilter.GaussianBlur(0.5))).astype(np.float32)
    return board


def chalk(rng: np.random.Generator) -> Pixels:
    """White, yellow, pink or light blue chalk."""
    chalks = np.array([[236, 236, 228], [238, 220, 130], [240, 178, 176], [160, 204, 236]])
    colour: Pixels = (chalks[int(rng.integers(len(chalks)))] + rng.uniform(-10, 10, 3)).astype(
        np.float32
    )
    return colour


def _light(rng: np.random.Generator, side: int, strength: float) -> Pixels:
    """A plane from 1 down to about ``1 - strength`` in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, side), np.linspace(-0.5, 0.5, side))
    plane: Pixels = (1 - strength * (0.5 + 0.7 * (x * np.cos(angle) + y * np.sin(angle)))).astype(
        np.float32
    )
    return plane


def _blotches(rng: np.random.Generator, side: int, cells: int) -> Pixels:
    """Smooth noise of about unit strength with ``cells`` bumps along a side."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    sheet = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    blotches: Pixels = np.asarray(sheet)
    return blotches


def _scribble(rng: np.random.Generator, side: int) -> list[tuple[float, float]]:
    """A wandering line that bends smoothly."""
    turns = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.35, 24))
    steps = 1.6 * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    points = rng.uniform(0, side, 2) + np.cumsum(steps, axis=0)
    return [(float(x), float(y)) for x, y in points]


def _wiped(rng: np.random.Generator, tone: NDArray[np.float64]) -> tuple[int, int, int]:
    """Chalk that is mostly gone."""
    colour = tone + rng.uniform(0.2, 0.55) * (chalk(rng) - tone)
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue


PAPER = Domain(
    count=(2, 5),
    height=(20, 34),
    tilt=12,
    canvas=paper_page,
    ink=pen,
    opacity=(0.75, 1.0),
    grain=0.15,
    noise=4,
)
BOARD = Domain(
    count=(2, 5),
    height=(16, 44),
    tilt=22,
    canvas=chalk_board,
    ink=chalk,
    opacity=(0.55, 0.9),
    grain=0.5,
    noise=7,
)
