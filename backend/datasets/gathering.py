"""Listed frames become a split: images examined, boxes checked, classes mapped, all counted."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backend.core.errors import DataError
from backend.datasets.boxes import OUTSIDE, SHARES, TINY, Corners, check_box
from backend.datasets.class_rules import ClassRules
from backend.datasets.detection import DetectionSplit, Findings, Frame
from backend.datasets.images import Examined, UnusableError, examine
from backend.datasets.wording import notes_of, reasons, remarks_of, some

THREADS = 4
WRONG_SIZE = "size differs from the annotations'"


class Limits(NamedTuple):
    """The largest share of unusable frames, and of boxes over the border, that is put up with."""

    unusable: float = 0.05
    clipped: float = 0.2


STRICT = Limits()


class Mark(NamedTuple):
    """An object as the dataset tells it: its class there and its box.

    ``shares``: the corners are in shares of the image. ``crowd``: a region to ignore.
    """

    name: str
    corners: Corners
    shares: bool = False
    crowd: bool = False


class Told(NamedTuple):
    """The objects of a frame; ``flat`` are boxes without area that were left out before."""

    marks: Sequence[Mark]
    flat: int = 0


@dataclass(frozen=True)
class Listed:
    """A frame that a dataset names. ``read`` gives its objects or raises UnusableError.

    ``size`` is what the dataset says of width and height, ``shown`` how reports name it.
    """

    id: int
    name: str
    image: Path
    read: Callable[[], Told]
    size: tuple[int, int] | None = None
    shown: str = ""


@dataclass(frozen=True)
class Listing:
    """The frames of a split, what was left out before looking at them, and warnings."""

    data: Path
    split: str
    frames: Sequence[Listed]
    left_out: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass
class _Sifted:
    """The objects of one frame, and what happened to the others."""

    boxes: list[tuple[int, Corners]] = field(default_factory=list)
    ignored: list[tuple[int, Corners]] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    clipped: int = 0
    looked_at: int = 0


class _Read(NamedTuple):
    shown: str
    frame: Frame
    sifted: _Sifted


def gather(
    listing: Listing, classes: tuple[str, ...], rules: ClassRules, limits: Limits = STRICT
) -> DetectionSplit:
    """The usable part of a listing.

    Raises DataError if more frames or boxes are unusable than ``limits`` allow, if nothing is
    left, or if no object is of one of the classes.
    """
    listed = sorted(listing.frames, key=lambda frame: frame.name)
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(lambda one: _read(one, rules), listed))
    found = [result for result in results if isinstance(result, _Read)]
    failed = {
        one.shown or one.name: result
        for one, result in zip(listed, results, strict=True)
        if isinstance(result, str)
    }
    findings = _findings(found, {**listing.left_out, **failed})
    _check_limits(listing, len(found), findings, limits)
    frames = tuple(one.frame for one in found)
    split = DetectionSplit(
        data=listing.data,
        split=listing.split,
        classes=classes,
        frames=frames,
        digest=_digest(classes, frames),
        findings=findings,
    )
    if not any(split.objects.values()):
        raise DataError(
            f"{listing.data}: no object of {', '.join(classes)} is labelled in '{listing.split}' "
            f"({len(frames)} images)"
        )
    notes = (*listing.warnings, *notes_of(split))
    return replace(split, notes=notes, remarks=tuple(remarks_of(split)))


def _read(listed: Listed, rules: ClassRules) -> _Read | str:
    try:
        seen = examine(listed.image)
        if listed.size is not None and listed.size != (seen.width, seen.height):
            raise UnusableError(WRONG_SIZE)
        told = listed.read()
    except UnusableError as error:
        return str(error)
    sifted = _sift(told, rules, seen)
    frame = Frame(
        id=listed.id,
        path=listed.image,
        name=listed.name,
        width=seen.width,
        height=seen.height,
        boxes=np.array([box for _, box in sifted.boxes], dtype=np.float64).reshape(-1, 4),
        labels=np.array([label for label, _ in sifted.boxes], dtype=np.int64),
        ignored=np.array([box for _, box in sifted.ignored], dtype=np.float64).reshape(-1, 4),
        ignored_labels=np.array([label for label, _ in sifted.ignored], dtype=np.int64),
        digest=seen.digest,
    )
    return _Read(listed.shown or listed.name, frame, sifted)


def _sift(told: Told, rules: ClassRules, seen: Examined) -> _Sifted:
    sifted = _Sifted(looked_at=told.flat)
    sifted.bad.update({TINY: told.flat} if told.flat else {})
    for mark in told.marks:
        try:
            rule = rules.of(mark.name)
        except KeyError:
            sifted.unknown[mark.name] += 1
            continue
        if rule is None:
            sifted.dropped[mark.name] += 1
            continue
        sifted.looked_at += 1
        checked = check_box(_in_pixels(mark, seen), seen.width, seen.height)
        if checked.corners is None:
            sifted.bad[checked.problem] += 1
            continue
        sifted.clipped += checked.clipped
        if mark.crowd or rule.ignored:
            sifted.ignored.append((rule.label, checked.corners))
        else:
            sifted.kept[mark.name] += 1
            sifted.boxes.append((rule.label, checked.corners))
    return sifted


def _in_pixels(mark: Mark, seen: Examined) -> Corners:
    if not mark.shares:
        return mark.corners
    left, top, right, bottom = mark.corners
    width, height = seen.width, seen.height
    return left * width, top * height, right * width, bottom * height


def _findings(found: Sequence[_Read], left_out: Mapping[str, str]) -> Findings:
    kept: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    bad: dict[str, list[str]] = defaultdict(list)
    clipped: list[str] = []
    for shown, _, sifted in found:
        kept += sifted.kept
        dropped += sifted.dropped
        unknown += sifted.unknown
        clipped += [shown] * sifted.clipped
        for reason, count in sifted.bad.items():
            bad[reason] += [shown] * count
    return Findings(
        left_out=dict(left_out),
        kept=dict(kept),
        dropped=dict(dropped),
        unknown=dict(unknown),
        bad_boxes={reason: tuple(names) for reason, names in bad.items()},
        clipped=tuple(clipped),
        boxes=sum(sifted.looked_at for *_, sifted in found),
    )


def _check_limits(listing: Listing, usable: int, findings: Findings, limits: Limits) -> None:
    where = f"{listing.data}, split '{listing.split}'"
    bad = len(findings.left_out)
    if not usable and not bad:
        raise DataError(": ".join((where, "it is empty", *listing.warnings)))
    if not usable or bad > limits.unusable * (usable + bad):
        raise DataError(
            f"{where}: {bad} of {usable + bad} frames cannot be used, more than "
            f"{limits.unusable:.0%}: {'; '.join(reasons(findings.left_out))}"
        )
    over = [*findings.clipped, *findings.bad_boxes.get(OUTSIDE, ())]
    if len(over) > limits.clipped * findings.boxes:
        raise DataError(
            f"{where}: {len(over)} of {findings.boxes} boxes reach over the border of their "
            f"image, more than {limits.clipped:.0%}: were the images resized after they were "
            f"labelled? ({some(over)})"
        )
    shares = findings.bad_boxes.get(SHARES, ())
    if 2 * len(shares) > findings.boxes:
        raise DataError(
            f"{where}: {len(shares)} of {findings.boxes} boxes lie within the first pixel; boxes "
            f"of this format are in pixels, these look like shares of the image ({some(shares)})"
        )


def _label_digest(frame: Frame) -> bytes:
    """Sha256 over the labels, to a thousandth of a pixel: formats differ by rounding."""
    digest = hashlib.sha256()
    for boxes, labels in ((frame.boxes, frame.labels), (frame.ignored, frame.ignored_labels)):
        digest.update(len(labels).to_bytes(8, "little"))
        digest.update((boxes.round(3) + 0.0).astype("<f8").tobytes())
        digest.update(labels.astype("<i8").tobytes())
    return digest.digest()


def _digest(classes: Sequence[str], frames: Sequence[Frame]) -> str:
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for frame in frames:
        digest.update(frame.digest + _label_digest(frame))
    return digest.hexdigest()
