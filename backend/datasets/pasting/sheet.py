"""Made images side by side with their boxes, for people to look at."""

import math

import numpy as np
from PIL import Image, ImageDraw

from backend.datasets.pasting.composing import Composer, Made

GAP = 4
COLOURS = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6")
LEAST = 320
"""Pixels of a drawn image's side at least, so that names can be read."""


def contact_sheet(composer: Composer, count: int, seed: int) -> Image.Image:
    """So many made images in rows; the same seed gives the same sheet."""
    rng = np.random.default_rng(seed)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    drawn = [_drawn(composer.make(rng), composer.bank.names) for _ in range(count)]
    step = drawn[0].width + GAP
    sheet = Image.new("RGB", (columns * step - GAP, rows * step - GAP), "white")
    for at, image in enumerate(drawn):
        sheet.paste(image, (at % columns * step, at // columns * step))
    return sheet


def _drawn(made: Made, names: tuple[str, ...]) -> Image.Image:
    """The image, enlarged if it is small, with a box and a name for each object."""
    zoom = max(math.ceil(LEAST / made.image.shape[0]), 1)
    side = made.image.shape[0] * zoom
    image = Image.fromarray(made.image).resize((side, side), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    for label, box in zip(made.labels.tolist(), made.boxes * zoom, strict=True):
        left, top, right, bottom = box.tolist()
        colour = COLOURS[label % len(COLOURS)]
        pen.rectangle((left, top, right - 1, bottom - 1), outline=colour)
        words = (left, max(top - 12, 0))
        pen.rectangle(pen.textbbox(words, names[label]), fill="black")
        pen.text(words, names[label], fill=colour)
    return image
