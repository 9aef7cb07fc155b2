"""N7, S3: ids that go on from frame to frame, in frames that follow each other."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from backend.core.evidence import DataFinding
from backend.datasets.findings import finding
from backend.datasets.tracking.census import tracks_of
from backend.datasets.tracking.expectations import Expectations
from backend.datasets.tracking.records import Floats, TrackingSplit, TrackSequence
from backend.scoring.tracking.boxes import overlap

SHORT, ONCE = 3, 0.5
"""Frames of a track below which, and share of ids seen once above which, there are no tracks."""
STILL = 0.1
"""Median overlap of an object with itself one frame on."""
ALIKE, CHANGED = 0.9, 0.05
"""Neighbours that differ by this share of what random pairs do, and at least by this much."""
_PAIRS, _APART = 20, 5
_THUMB = (32, 32)


def check_identities(split: TrackingSplit, wanted: Expectations) -> Iterator[DataFinding]:
    """N7: tracks that are too short to learn from."""
    lengths = np.array([track.length for track in tracks_of(split)])
    if wanted.pseudo_clips or not len(lengths):
        return
    median, once = float(np.median(lengths)), float((lengths == 1).mean())
    numbered = _numbered(split)
    if median >= SHORT and once <= ONCE and not numbered and split.identities != "per-box":
        return
    why = ["the ids are the numbers of the rows"] if numbered else []
    if split.identities == "per-box":
        why.append("the data set was converted with one id per box")
    frames = "frame" if median == 1 else "frames"
    why.append(f"half of the tracks have at most {median:g} {frames}, {once:.0%} of the ids 1")
    yield finding(
        "N7", "error", split.split,
        f"ids are per box, not per object, so nothing can be learnt of tracks: {'; '.join(why)} "
        "(convert with linked ids, or train on pseudo clips)",
        median_length=median, once=once, ids=len(lengths),
    )  # fmt: skip


def check_continuity(split: TrackingSplit) -> Iterator[DataFinding]:
    """S3: by boxes, else by pictures."""
    overlaps = np.concatenate([_self_overlaps(sequence) for sequence in split.sequences])
    if len(overlaps) and np.median(overlaps) < STILL:
        median = float(np.median(overlaps))
        yield finding(
            "S3", "warning", split.split,
            "frames do not seem to follow each other: the same object overlaps with itself one "
            f"frame on by {median:.2f} (median IoU of {len(overlaps):,} pairs)",
            overlap=median, pairs=len(overlaps),
        )  # fmt: skip
        return
    near, far = _differences(split)
    if near >= CHANGED and near >= ALIKE * far:
        yield finding(
            "S3", "warning", split.split,
            "frames do not seem to follow each other: neighbours differ as much as any two "
            f"({near:.1%} and {far:.1%} of the range of brightness)",
            neighbours=near, random=far,
        )  # fmt: skip


def _numbered(split: TrackingSplit) -> bool:
    """Are the ids of every sequence of several boxes 0, 1, 2, ... in the order of rows?"""
    parts = [s.truth.ids for s in split.sequences if len(s.truth.ids) > 1]
    steps = [bool((np.diff(np.sort(ids)) == 1).all()) for ids in parts]
    return bool(steps) and all(steps)


def _self_overlaps(sequence: TrackSequence) -> Floats:
    """IoU of each target with that of the same id in the next frame."""
    truth = sequence.truth
    rows = np.flatnonzero(truth.targets)
    rows = rows[np.lexsort((truth.frames[rows], truth.ids[rows]))]
    first, second = rows[:-1], rows[1:]
    same = (truth.ids[first] == truth.ids[second]) & (
        truth.frames[first] + 1 == truth.frames[second]
    )
    return overlap(truth.boxes[first[same]], truth.boxes[second[same]])


def _differences(split: TrackingSplit) -> tuple[float, float]:
    """Mean difference of neighbours and of images far apart, 0 to 1; zeros if there are none."""
    chance = np.random.default_rng(0)
    near, far = [], []
    long = [s for s in split.sequences if len(s.numbers) >= 2 * _APART and None not in s.images]
    for _ in range(_PAIRS if long else 0):
        sequence = long[int(chance.integers(len(long)))]
        count = len(sequence.numbers)
        place = int(chance.integers(count - 1))
        other = (place + int(chance.integers(_APART, count - _APART + 1))) % count
        here, beside, there = (_thumb(sequence, at) for at in (place, place + 1, other))
        near.append(np.abs(here - beside).mean())
        far.append(np.abs(here - there).mean())
    return (float(np.mean(near)), float(np.mean(far))) if near else (0.0, 0.0)


def _thumb(sequence: TrackSequence, place: int) -> Floats:
    """A small grey picture, 0 to 1; black for a file that cannot be read (N9 is about files)."""
    path = sequence.images[place]
    try:
        with Image.open(path or "") as image:
            image.draft("L", _THUMB)
            return np.asarray(image.convert("L").resize(_THUMB), dtype=np.float64) / 255
    except (OSError, ValueError, SyntaxError):
        return np.zeros(_THUMB)
