"""What a detection dataset is, counted before training for the diagnostics.

From what was read already; of the images themselves at most ``LOOKS`` of each split are decoded,
as small as their format allows.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from backend.core.evidence import (
    DataSurvey,
    InputCensus,
    InputQuality,
    LabelCensus,
    SampledLabels,
)
from backend.datasets.boxes import OUTSIDE
from backend.datasets.detection import DetectionSplit

LOOKS = 100
SHOWN = 5
THREADS = 4
SMALL = (160, 160)
"""Pixels that a JPEG is decoded to, at least."""
EMPTY = 0.95


@dataclass(frozen=True)
class Picture:
    """An image that is trained or validated on. ``digest`` is of its file; ``labels`` are its
    objects' classes by number."""

    path: Path
    name: str
    digest: bytes
    labels: Sequence[int]


@dataclass(frozen=True)
class Pictures:
    """A split, whatever it was read by. ``left_out``: image to why it cannot be used.
    ``outside``: of all ``boxes``, those that reach over the border. ``unknown``: objects of
    classes that nothing is known of."""

    split: str
    searched: str
    classes: tuple[str, ...]
    pictures: Sequence[Picture]
    left_out: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    outside: int | None = None
    boxes: int = 0


def survey_detection(splits: Sequence[DetectionSplit], head: int) -> DataSurvey:
    """Of splits as ``read_split`` gives them. ``head``: how many classes the network has."""
    return survey_pictures([_pictures(split) for split in splits], head)


def survey_pictures(splits: Sequence[Pictures], head: int) -> DataSurvey:
    """Files, labels, images that lie in two splits, and a look at some images."""
    shared = _shared(splits)
    return DataSurvey(
        inputs=tuple(_census(split) for split in splits),
        quality=tuple(_quality(split) for split in splits),
        labels=tuple(_labels(split, head) for split in splits),
        sampled=tuple(_sampled(split) for split in splits if split.split == "train"),
        shared={pair: names[:SHOWN] for pair, names in shared.items()},
        shared_counts={pair: len(names) for pair, names in shared.items()},
    )


def _pictures(split: DetectionSplit) -> Pictures:
    findings = split.findings
    outside = len(findings.clipped) + len(findings.bad_boxes.get(OUTSIDE, ()))
    return Pictures(
        split=split.split,
        searched=str(split.data),
        classes=split.classes,
        pictures=[
            Picture(frame.path, frame.name, frame.digest, frame.labels.tolist())
            for frame in split.frames
        ],
        left_out=findings.left_out,
        unknown=findings.unknown,
        outside=outside,
        boxes=findings.boxes,
    )


def _census(split: Pictures) -> InputCensus:
    missing = [f"{name} ({why})" for name, why in split.left_out.items()]
    return InputCensus(
        split=split.split,
        what="images",
        expected=len(split.pictures) + len(missing),
        found=len(split.pictures),
        searched=split.searched,
        missing=tuple(missing[:SHOWN]),
        policy="left out",
    )


def _labels(split: Pictures, head: int) -> LabelCensus:
    numbers = [label for picture in split.pictures for label in picture.labels]
    return LabelCensus(
        split=split.split,
        units=len(split.pictures),
        labels=len(numbers) + sum(split.unknown.values()),
        counts=_counts(split, numbers),
        unknown=dict(split.unknown),
        empty=sum(split.unknown.values()),
        head=head,
        highest=max(numbers, default=None),
    )


def _sampled(split: Pictures) -> SampledLabels:
    """Each image is taken once in an epoch."""
    numbers = [label for picture in split.pictures for label in picture.labels]
    return SampledLabels(
        split=split.split,
        positions=len(split.pictures),
        positive=sum(bool(picture.labels) for picture in split.pictures),
        counts=_counts(split, numbers),
    )


def _counts(split: Pictures, numbers: Sequence[int]) -> dict[str, int]:
    found = (
        np.bincount(numbers, minlength=len(split.classes)) if numbers else [0] * len(split.classes)
    )
    return {name: int(count) for name, count in zip(split.classes, found, strict=False)}


def _shared(splits: Sequence[Pictures]) -> dict[str, tuple[str, ...]]:
    """Images that lie, byte for byte, in two splits."""
    found: dict[str, tuple[str, ...]] = {}
    for at, split in enumerate(splits):
        digests = {picture.digest for picture in split.pictures}
        for other in splits[at + 1 :]:
            both = sorted(p.name for p in other.pictures if p.digest in digests)
            if both:
                found[f"{split.split}+{other.split}"] = tuple(both)
    return found


def _quality(split: Pictures) -> InputQuality:
    """A constant image counts as one of zeros: less its mean nothing is left of it."""
    count = len(split.pictures)
    looked = [split.pictures[at * count // min(count, LOOKS)] for at in range(min(count, LOOKS))]
    with ThreadPoolExecutor(THREADS) as pool:
        empty = list(pool.map(_is_empty, (picture.path for picture in looked)))
    names = [picture.name for picture, is_empty in zip(looked, empty, strict=True) if is_empty]
    share = split.outside / split.boxes if split.outside is not None and split.boxes else None
    return InputQuality(
        split=split.split,
        units=len(looked),
        zero_units=len(names),
        outside=share,
        examples={"zero_units": tuple(names[:SHOWN])} if names else {},
    )


def _is_empty(path: Path) -> bool:
    """Is (almost) every pixel black, or every pixel the same? An image that cannot be decoded
    is not empty: whoever trains on it will say so."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", SMALL)
            deep = image.mode.startswith("I")  # 16 bits: as RGB, Pillow makes it white
            pixels = np.atleast_3d(np.asarray(image if deep else image.convert("RGB")))
    except (OSError, ValueError, SyntaxError):
        return False
    black = float((pixels == 0).all(axis=-1).mean())
    return black >= EMPTY or bool((pixels == pixels[0, 0]).all())
