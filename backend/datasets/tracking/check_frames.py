"""N9, S4: frames that have their image, and splits that have something to show."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from backend.core.digest import sha256
from backend.core.evidence import DataFinding
from backend.core.wording import some
from backend.datasets.findings import finding
from backend.datasets.tracking.census import proposed_frames, target_frames
from backend.datasets.tracking.expectations import Expectations
from backend.datasets.tracking.records import Ints, TrackingSplit, TrackSequence

EMPTY = 0.5
"""Share of frames without boxes, or without detections, above which it is said."""
OUTLYING = 0.05
"""Share of images before the first or after the last annotated frame."""


def check_files(split: TrackingSplit) -> Iterator[DataFinding]:
    """N9: a shifted numbering, annotated frames without image, images beyond the annotations."""
    shifts = {s.name: f"{shift:+d}" for s in split.sequences if (shift := _shift(s))}
    if shifts:
        yield finding(
            "N9", "error", split.split,
            "annotations are numbered otherwise than images, from the first to the last alike: "
            f"{_listed(shifts)}",
            sequences=len(shifts),
        )  # fmt: skip
    others = [s for s in split.sequences if s.name not in shifts]
    missing = {s.name: count for s in others if (count := _missing(s))}
    if missing:
        yield finding(
            "N9", "error", split.split,
            f"{sum(missing.values()):,} annotated frames have no image: {_listed(missing)}",
            frames=sum(missing.values()), sequences=len(missing),
        )  # fmt: skip
    outside = {s.name: n for s in others if (n := _outside(s)) > OUTLYING * len(_imaged(s))}
    if outside:
        yield finding(
            "N9", "warning", split.split,
            f"{sum(outside.values()):,} images lie before the first or after the last annotated "
            f"frame: {_listed(outside)}",
            frames=sum(outside.values()), sequences=len(outside),
        )  # fmt: skip


def _listed(counts: Mapping[str, object]) -> str:
    """Sequences, each with what there is of it."""
    return some(f"{name} ({count})" for name, count in counts.items())


def check_rows(split: TrackingSplit, wanted: Expectations) -> Iterator[DataFinding]:
    """N9: an id twice in a frame, sequences shorter than a clip, a size that nothing tells."""
    twice = {s.name: count for s in split.sequences if (count := _twice(s))}
    if twice:
        yield finding(
            "N9", "error", split.split,
            f"{sum(twice.values()):,} times an id is twice in one frame: {_listed(twice)}",
            duplicates=sum(twice.values()), sequences=len(twice),
        )  # fmt: skip
    short = [s.name for s in split.sequences if len(s.numbers) < wanted.clip_length]
    if short:
        yield finding(
            "N9", "warning", split.split,
            f"{len(short)} sequences are shorter than a clip of {wanted.clip_length} frames: the "
            f"last is repeated ({some(short)})",
            sequences=len(short), clip_length=wanted.clip_length,
        )  # fmt: skip
    unsized = [s.name for s in split.sequences if s.width is None or s.height is None]
    if unsized:
        yield finding(
            "N9", "error", split.split,
            f"nothing tells the size of the images of {some(unsized)}: no image, and no imWidth "
            "and imHeight in seqinfo.ini",
            sequences=len(unsized),
        )  # fmt: skip


def check_emptiness(split: TrackingSplit, *, proposals: bool) -> Iterator[DataFinding]:
    """S4: frames without boxes; with a database that fits, frames without detections."""
    frames = split.frames
    filled = {"boxes": sum(len(target_frames(sequence)) for sequence in split.sequences)}
    if proposals and proposed_frames(split):
        filled["detections"] = proposed_frames(split)
    for what, count in filled.items():
        share = 1 - count / max(1, frames)
        if share > EMPTY:
            yield finding(
                "S4", "warning", split.split,
                f"{share:.0%} of {frames:,} frames have no {what}", share=share, frames=frames,
            )  # fmt: skip


def check_overlap(splits: Sequence[TrackingSplit]) -> Iterator[DataFinding]:
    """S4: images that lie in two splits."""
    for pair, names in shared_images(splits).items():
        yield finding(
            "S4", "warning", pair,
            f"{len(names):,} images lie in both splits ({some(names)}): scores would flatter",
            images=len(names),
        )  # fmt: skip


def shared_images(splits: Sequence[TrackingSplit]) -> Mapping[str, tuple[str, ...]]:
    """Images that are, byte for byte, in two splits: ``train+val`` to names in the second.

    Only files whose size occurs in both are read.
    """
    sizes = [_by_size(split) for split in splits]
    found: dict[str, tuple[str, ...]] = {}
    for at, split in enumerate(splits):
        for other, theirs in zip(splits[at + 1 :], sizes[at + 1 :], strict=True):
            both = sizes[at].keys() & theirs.keys()
            digests = {sha256(path) for size in both for path in sizes[at][size]}
            names = [p for size in both for p in theirs[size] if sha256(p) in digests]
            if names:
                found[f"{split.split}+{other.split}"] = tuple(
                    sorted(str(path.relative_to(other.root)) for path in names)
                )
    return found


def _by_size(split: TrackingSplit) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    for sequence in split.sequences:
        for path in sequence.images:
            if path is not None:
                found.setdefault(path.stat().st_size, []).append(path)
    return found


def _twice(sequence: TrackSequence) -> int:
    """How often a frame has an id more than once."""
    truth = sequence.truth
    pairs = np.stack([truth.frames, truth.ids], axis=1)[truth.marks]
    return len(pairs) - len(np.unique(pairs, axis=0))


def _imaged(sequence: TrackSequence) -> Ints:
    """The frame numbers that have an image."""
    return sequence.numbers[[path is not None for path in sequence.images]]


def _missing(sequence: TrackSequence) -> int:
    """Annotated frames without image."""
    return len(np.setdiff1d(sequence.truth.frames, _imaged(sequence)))


def _outside(sequence: TrackSequence) -> int:
    """Images before the first or after the last annotated frame."""
    truth, images = sequence.truth.frames, _imaged(sequence)
    return int(((images < truth[0]) | (images > truth[-1])).sum()) if len(truth) else 0


def _shift(sequence: TrackSequence) -> int:
    """By how much the annotations' numbers are above the images', first and last alike."""
    truth, images = sequence.truth.frames, _imaged(sequence)
    if not len(truth) or not len(images):
        return 0
    first, last = int(truth[0] - images[0]), int(truth[-1] - images[-1])
    return first if first == last else 0
