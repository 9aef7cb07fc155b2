"""Images made of cut-outs on a background, with the boxes of what is visible."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import find_objects

from backend.config.synthetic import SyntheticConfig
from backend.datasets.pasting.backgrounds import Backgrounds
from backend.datasets.pasting.bank import Bank
from backend.datasets.pasting.cutting import MARGIN, SMALLEST, CutOut

LARGEST = 0.75
"""No cut-out is pasted larger than this share of the image's side."""
HALF = 0.5
"""No object is ever hidden more: it would have to lose its label and still be seen."""
TRIES = 10
VISIBLE = 128


@dataclass(frozen=True)
class Made:
    """An image, uint8 [side, side, RGB], and its objects: classes int64 [n] and boxes float64
    [n, 4] (left, top, right, bottom; pixels). ``owners`` tells whose each pixel is, the number
    of an object counted from 1 in the order of boxes, 0 for the background: int16 [side, side].
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    owners: NDArray[np.int16]


@dataclass(frozen=True)
class Composer:
    """Makes images. ``flip`` is the chance that a cut-out is mirrored: training's own, because
    there are classes that must not be."""

    bank: Bank
    backgrounds: Backgrounds
    how: SyntheticConfig
    flip: float = 0.0

    @property
    def side(self) -> int:
        return self.backgrounds.side

    def make(self, rng: np.random.Generator) -> Made:
        """One image with 1 to ``max_objects`` objects; classes are drawn alike often."""
        canvas = _Canvas(self.backgrounds.crop(rng), min(self.how.max_hidden, HALF))
        for _ in range(int(rng.integers(1, self.how.max_objects + 1))):
            of_class = self.bank.by_class[int(rng.integers(len(self.bank.by_class)))]
            cutout = of_class[int(rng.integers(len(of_class)))]
            canvas.paste(self._turned(cutout, rng), cutout.label, rng)
        return canvas.made()

    def _turned(self, cutout: CutOut, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The cut-out sized, mirrored and turned. A rectangle is not turned: the bounds of a
        turned one are not those of the object in it."""
        image = Image.fromarray(cutout.pixels)
        factor = cutout.grow * float(rng.uniform(*self.how.scale))
        factor = max(factor, SMALLEST / (min(image.size) - 2 * MARGIN))
        factor = min(factor, LARGEST * self.side / max(image.size))
        size = tuple(max(round(length * factor), 1) for length in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.BILINEAR)
        if rng.random() < self.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        degrees = float(rng.uniform(-self.how.degrees, self.how.degrees))
        if cutout.kind != "box" and degrees:
            image = image.rotate(degrees, Image.Resampling.BILINEAR, expand=True)
        return np.asarray(image)


class _Canvas:
    """A background that objects are pasted on. No paste hides more than ``hidden`` of an object,
    counted with all pastes before it."""

    def __init__(self, image: NDArray[np.uint8], hidden: float) -> None:
        self._image = image
        self._hidden = hidden
        self._owners = np.zeros(image.shape[:2], dtype=np.int16)
        self._labels: list[int] = []
        self._areas = [0]  # of the background nothing has to stay
        self._seen = [0]

    def paste(self, pixels: NDArray[np.uint8], label: int, rng: np.random.Generator) -> None:
        """Somewhere in the image, as a whole; nowhere if it would hide too much everywhere."""
        visible = pixels[..., 3] >= VISIBLE
        room = np.subtract(self._owners.shape, visible.shape)
        if not visible.any() or (room < 0).any():
            return
        for top, left in rng.integers(0, room + 1, (TRIES, 2)).tolist():
            place = np.s_[top : top + visible.shape[0], left : left + visible.shape[1]]
            covered = np.bincount(self._owners[place][visible], minlength=len(self._seen))
            if self._keeps_enough(covered):
                self._set(place, pixels, visible, covered)
                self._labels.append(label)
                return

    def made(self) -> Made:
        boxes = [
            (columns.start, rows.start, columns.stop, rows.stop)
            for rows, columns in find_objects(self._owners)
        ]
        return Made(
            image=self._image,
            labels=np.array(self._labels, dtype=np.int64),
            boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
            owners=self._owners,
        )

    def _keeps_enough(self, covered: NDArray[np.intp]) -> bool:
        left = np.subtract(self._seen, covered)[1:]
        return bool((left >= (1 - self._hidden) * np.array(self._areas[1:])).all())

    def _set(
        self, place: tuple[slice, slice], pixels: NDArray[np.uint8], visible: NDArray[np.bool_],
        covered: NDArray[np.intp],
    ) -> None:  # fmt: skip
        under = self._image[place].astype(np.int32)
        alpha = pixels[..., 3:].astype(np.int32)
        over = pixels[..., :3].astype(np.int32)
        self._image[place] = (under * (255 - alpha) + over * alpha + 127) // 255
        self._owners[place][visible] = len(self._seen)
        area = int(visible.sum())
        self._seen = [*np.subtract(self._seen, covered).tolist(), area]
        self._areas.append(area)
