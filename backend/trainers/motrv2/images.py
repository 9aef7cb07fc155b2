"""Frames as the network takes them, and one augmentation for all frames of a clip.

A view says which part of an image is seen at which size: all that moves boxes is in it, so boxes
of objects and of the detector go with the picture, whatever was drawn.
"""

import os
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from backend.core.errors import DataError
from backend.datasets.recolouring import recolouring
from backend.datasets.tracking.clips import clipped
from backend.datasets.tracking.records import Bools, Floats, Ints
from backend.trainers.motrv2.spec import ImagesConfig

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue in ImageNet, as shares of white."""
WHITE = 255.0
LAST_BYTES = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
"""What a whole file ends with; a little may follow."""
TAIL = 1024

Size = tuple[int, int]
"""Width and height."""


class View(NamedTuple):
    """A part of an image, in its pixels, shown at ``size``, then mirrored or not.

    ``cut``: something of the image lies outside.
    """

    left: int
    top: int
    width: int
    height: int
    size: Size
    mirrored: bool = False
    cut: bool = False


def check_image(path: Path, size: Size) -> None:
    """See that ``read_image`` will read a file, without decoding it if its ends tell.

    Raises as that does.
    """
    try:
        with Image.open(path) as opened:
            mark = LAST_BYTES.get(opened.format or "")
            sound = opened.size == size and mark is not None and mark in _tail(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        sound = False
    if not sound:
        read_image(path, size)


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(TAIL, path.stat().st_size), os.SEEK_END)
        return file.read()


def read_image(path: Path, size: Size) -> Tensor:
    """The pixels of an image file as they are stored, (3, height, width), uint8 RGB.

    A rotation in EXIF is left out of account: boxes are annotated in stored pixels. Raises
    DataError, naming the file, if it is missing, damaged or not of ``size``.
    """
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{path}: the image is missing; put it back or start again") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from None
    if image.size != size:
        raise DataError(
            f"{path}: is {image.width} x {image.height}, but its sequence {size[0]} x {size[1]}; "
            "mend seqinfo.ini, or give it images of one size"
        )
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def resized(size: Size, short: int, longest: int) -> Size:
    """The size with the short side at ``short``, less if the other would exceed ``longest``."""
    low, high = min(size), max(size)
    short = max(1, min(short, round(longest * low / high)))
    other = max(1, min(longest, int(short * high / low)))
    return (short, other) if size[0] < size[1] else (other, short)


def whole(size: Size, images: ImagesConfig) -> View:
    """All of an image, as it is shown where nothing is left to chance."""
    return View(0, 0, *size, resized(size, images.short, images.long))


def draw_view(size: Size, images: ImagesConfig, chance: Random) -> View:
    """A view of an image of ``size``: mirrored, resized, perhaps cropped before that."""
    mirrored = chance.random() < images.flip
    crop = _crop(size, images, chance) if chance.random() < images.crop_chance else (0, 0, *size)
    short = chance.choice(images.train_short or (images.short,))
    seen = crop[2:]
    return View(*crop, resized(seen, short, images.long), mirrored, cut=seen != size)


def draw_colours(images: ImagesConfig, chance: Random) -> Tensor | None:
    """A matrix (3, 3) that turns hues and multiplies saturation and value; None if nothing
    changes."""
    hue, saturation, value = images.hsv
    if not any(images.hsv):
        return None
    turn = chance.uniform(-hue, hue)
    purer, brighter = (chance.uniform(1 - most, 1 + most) for most in (saturation, value))
    return torch.from_numpy(recolouring(turn, purer, brighter)).float()


def drifting(view: View, shifts: Ints) -> tuple[View, ...]:
    """The view in each frame of a pseudo clip, whose content moves by ``shifts`` (frames, 2).

    ``view`` is one of an image that is smaller by ``room(shifts)``: the part moves within the
    image, so nothing is made up at its border.
    """
    cut = view.cut or room(shifts) != (0, 0)
    return tuple(
        view._replace(left=view.left + x, top=view.top + y, cut=cut)
        for x, y in (shifts.max(axis=0) - shifts).tolist()
    )


def room(shifts: Ints) -> Size:
    """The pixels across and down that shifts reach over."""
    across, down = np.ptp(shifts, axis=0).tolist()
    return across, down


def shown(image: Tensor, view: View, colours: Tensor | None = None) -> Tensor:
    """An image from ``read_image`` as the network takes it: (3, H, W) float32, normalised."""
    part = image[:, view.top : view.top + view.height, view.left : view.left + view.width]
    width, height = view.size
    if part.shape[1:] != (height, width):
        part = interpolate(part[None], (height, width), mode="bilinear", antialias=True)[0]
    if view.mirrored:
        part = part.flip(-1)
    pixels = part.to(torch.float32, memory_format=torch.contiguous_format)
    if colours is not None:
        pixels = (colours @ pixels.flatten(1)).clamp_(0, WHITE).view_as(pixels)
    mean, std = (torch.tensor(values).view(3, 1, 1) * WHITE for values in (MEAN, STD))
    return pixels.sub_(mean).div_(std)


def seen(boxes: Floats, view: View) -> tuple[Tensor, Bools]:
    """Boxes (n, 4) left, top, width, height in pixels of the image as they lie in a view.

    The first value is (k, 4) cxcywh in 0..1 of the view, float32; the second says which k of n
    are left. If the view cuts the image, boxes are cut too; without area, they are gone. If it
    does not, all are left as they are, also those that reach out of the image.
    """
    moved = boxes - np.array([view.left, view.top, 0, 0])
    kept: Bools = np.ones(len(boxes), dtype=bool)
    if view.cut:
        moved, kept = clipped(moved, (view.width, view.height))
        moved = moved[kept]
    if view.mirrored:
        moved[:, 0] = view.width - moved[:, 0] - moved[:, 2]
    centred = np.concatenate([moved[:, :2] + moved[:, 2:] / 2, moved[:, 2:]], axis=1)
    shares = centred / np.array([view.width, view.height] * 2)
    return torch.from_numpy(shares.astype(np.float32)), kept


def _crop(size: Size, images: ImagesConfig, chance: Random) -> tuple[int, int, int, int]:
    """Left, top, width and height of a crop from an image that was first resized, here in pixels
    of the image as it is: the two resizes are done in one."""
    factor = chance.choice(images.crop_short or (images.short,)) / min(size)
    width, height = (_side(length, images.crop, factor, chance) for length in size)
    left, top = chance.randint(0, size[0] - width), chance.randint(0, size[1] - height)
    return left, top, width, height


def _side(length: int, limits: tuple[int, int], factor: float, chance: Random) -> int:
    least, most = (min(max(round(limit / factor), 1), length) for limit in limits)
    return chance.randint(least, most)
