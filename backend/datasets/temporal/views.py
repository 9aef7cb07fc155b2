"""How a clip's frames are scaled, cropped, turned and coloured: one draw for all of them.

Geometry runs in FFmpeg's filters while frames are decoded, colour as one affine map of RGB. The
image augmentation is the part of RandAugment (the reference's) that such a map and filters can
do: rotation, shear, sharpness, brightness, contrast, saturation; no equalise, posterise, solarise.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import ConfigError

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float32]

_LUMA = np.array([[0.299, 0.587, 0.114]])
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
_CROPS = 10
_ANGLE, _SHEAR, _SHARPNESS, _ENHANCE = math.radians(27), 0.27, 0.9, 0.81
"""RandAugment's ranges at magnitude 9 of 10."""
_OPERATIONS = ("angle", "shear_x", "shear_y", "sharpness", "brightness", "contrast", "saturation")


@dataclass(frozen=True)
class Augmentation:
    """What a training view draws from.

    ``short``: pixels of the short side before the crop, which takes a share of the picture in
    ``area`` at an aspect ratio in ``aspect``. ``flip`` is a chance; ``operations`` says how many
    of RandAugment's are drawn. ``brightness``, ``contrast`` and ``saturation`` are the largest
    distance of a factor from 1, ``hue`` the largest share of a turn; each is drawn in half of the
    clips.
    """

    short: int = 182
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    operations: int = 2
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.1

    def __post_init__(self) -> None:
        """Raises ConfigError for what cannot be drawn."""
        for name in ("area", "aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high or (name == "area" and high > 1):
                raise ConfigError(f"{name} {low:g} to {high:g}: expected rising numbers above 0")
        if not 0 <= self.operations <= len(_OPERATIONS):
            raise ConfigError(f"operations {self.operations}: expected 0 to {len(_OPERATIONS)}")


@dataclass(frozen=True)
class View:
    """From a decoded frame to (``side``, ``side``) pixels.

    The frame is scaled to ``scaled`` (width, height), cropped by ``crop`` (x, y, width, height),
    scaled to the side, flipped, turned by ``angle`` (radians), sheared, sharpened (below 0:
    blurred), and coloured by ``colour`` (3, 4) as ``colour[:, :3] @ rgb + colour[:, 3]``.
    """

    side: int
    scaled: tuple[int, int]
    crop: tuple[int, int, int, int]
    flip: bool = False
    angle: float = 0.0
    shear: tuple[float, float] = (0.0, 0.0)
    sharpness: float = 0.0
    colour: Matrix | None = field(default=None, compare=False)

    def filters(self) -> list[tuple[str, str]]:
        """FFmpeg's filters and their arguments, to RGB."""
        x, y, width, height = self.crop
        made = [
            ("scale", f"{self.scaled[0]}:{self.scaled[1]}:flags=bilinear"),
            ("format", "rgb24"),
            ("crop", f"{width}:{height}:{x}:{y}"),
        ]
        if (width, height) != (self.side, self.side):
            made.append(("scale", f"{self.side}:{self.side}:flags=bilinear"))
        if self.flip:
            made.append(("hflip", ""))
        if self.angle:
            made.append(("rotate", f"{self.angle:.5f}"))
        if any(self.shear):
            made.append(("shear", "shx={:.5f}:shy={:.5f}".format(*self.shear)))
        if self.sharpness:
            made.append(("unsharp", f"5:5:{self.sharpness:.4f}:5:5:0"))
        return [*made, ("format", "rgb24")]

    def coloured(self, frame: Pixels) -> Pixels:
        """A frame (H, W, 3) in other colours."""
        if self.colour is None:
            return frame
        mapped = frame.reshape(-1, 3) @ self.colour[:, :3].T
        mapped += self.colour[:, 3] + 0.5
        np.clip(mapped, 0, 255, out=mapped)
        return mapped.astype(np.uint8).reshape(frame.shape)


def centre_view(size: tuple[int, int], side: int) -> View:
    """Of a frame of this width and height, the square in the middle: validation and test."""
    width, height = scaled = _scaled(size, side)
    return View(side, scaled, ((width - side) // 2, (height - side) // 2, side, side))


def draw_view(
    size: tuple[int, int], side: int, how: Augmentation, chance: np.random.Generator
) -> View:
    """A training view of frames of this width and height."""
    scaled = _scaled(size, how.short)
    crop = _crop(scaled, how, chance)
    flip = bool(chance.random() < how.flip)
    done = dict.fromkeys(_OPERATIONS, 0.0)
    for name in chance.choice(_OPERATIONS, how.operations, replace=False).tolist():
        most = {"angle": _ANGLE, "shear_x": _SHEAR, "shear_y": _SHEAR, "sharpness": _SHARPNESS}
        done[name] = float(chance.uniform(-1, 1)) * most.get(name, _ENHANCE)
    return View(
        side, scaled, crop, flip, done["angle"], (done["shear_x"], done["shear_y"]),
        done["sharpness"], _colour(done, how, chance),
    )  # fmt: skip


def _scaled(size: tuple[int, int], short: int) -> tuple[int, int]:
    factor = short / min(size)
    return max(short, round(size[0] * factor)), max(short, round(size[1] * factor))


def _crop(
    scaled: tuple[int, int], how: Augmentation, chance: np.random.Generator
) -> tuple[int, int, int, int]:
    """Share and aspect by chance, tried ten times as is usual; else the square in the middle."""
    width, height = scaled
    for _ in range(_CROPS):
        pixels = width * height * chance.uniform(*how.area)
        ratio = math.exp(chance.uniform(*np.log(how.aspect)))
        wide, high = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < wide <= width and 0 < high <= height:
            x = int(chance.integers(width - wide, endpoint=True))
            y = int(chance.integers(height - high, endpoint=True))
            return x, y, wide, high
    short = min(scaled)
    return (width - short) // 2, (height - short) // 2, short, short


def _colour(
    done: dict[str, float], how: Augmentation, chance: np.random.Generator
) -> Matrix | None:
    """Brightness, contrast about middle grey, saturation and hue as one map."""
    factors = {name: 1 + done[name] for name in ("brightness", "contrast", "saturation")}
    for name in factors:
        most = getattr(how, name)
        if most and chance.random() < 0.5:
            factors[name] *= float(chance.uniform(max(0, 1 - most), 1 + most))
    turn = float(chance.uniform(-how.hue, how.hue)) if how.hue and chance.random() < 0.5 else 0.0
    if set(factors.values()) == {1.0} and not turn:
        return None
    saturation, contrast = factors["saturation"], factors["contrast"]
    grey = np.repeat(_LUMA, 3, axis=0)
    linear = saturation * np.eye(3) + (1 - saturation) * grey
    if turn:
        c, s = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
        linear = np.linalg.inv(_TO_YIQ) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ (
            _TO_YIQ @ linear
        )  # fmt: skip
    offset = np.full((3, 1), 127.5 * (1 - contrast))
    mapped = np.concatenate([contrast * linear * factors["brightness"], offset], axis=1)
    return mapped.astype(np.float32)
