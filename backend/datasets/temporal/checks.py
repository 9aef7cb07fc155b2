"""The findings V1 to V9 of one split of temporal data, each one sentence with a count."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from backend.core.evidence import DataFinding
from backend.core.wording import some
from backend.datasets.findings import Level, finding
from backend.datasets.temporal.records import Ints, TemporalSplit, TemporalVideo
from backend.datasets.temporal.windows import (
    Sampling,
    longest_kept,
    on_grid,
    positions_of,
    trainable,
)

SHORTER, FASTER, FEW = 0.02, 0.01, 10
"""Shares of announced frames and rate that a file may be off by; actions a class should have."""
_LEFT_OUT: Mapping[str, str] = {
    "ambiguous": "are of a label that is no class (Ambiguous) and are left out",
    "empty": "do not end after they start and are left out",
    "duplicate": "repeat another within 1 ms and count once",
    "unknown": "are of classes that are not wanted and are left out",
}


@dataclass(frozen=True)
class Expectations:
    """The parts of a config that data are held against.

    ``sampling`` None: windows are not looked at. ``trained`` are the splits that are trained on.
    ``need_files`` False: where there is no video file at all, only the annotations are looked at.
    ``allow_missing``: videos without a usable file are left out instead of refused.
    """

    sampling: Sampling | None = None
    trained: frozenset[str] = frozenset({"train", "training"})
    need_files: bool = True
    allow_missing: bool = False


def check_split(split: TemporalSplit, wanted: Expectations) -> Iterator[DataFinding]:
    """Every finding of one split."""
    yield from _files(split, wanted)
    yield from _against_announced(split)
    yield from _rates(split)
    yield from _annotations(split)
    yield from _classes(split, wanted)
    if wanted.sampling is not None:
        yield from _lengths(split, wanted.sampling)
        yield from _windows(split, wanted.sampling, trained=split.split in wanted.trained)


def _files(split: TemporalSplit, wanted: Expectations) -> Iterator[DataFinding]:
    """V1, V2: videos without a file, and files that cannot be used."""
    total = len(split.videos)
    missing = [video.name for video in split.videos if video.path is None]
    level: Level = "warning" if wanted.allow_missing else "error"
    leave_out = "" if wanted.allow_missing else "; videos.allow_missing leaves them out"
    if len(missing) == total:
        then = ("; set videos.folder to where they are" if wanted.need_files
                else ": only the annotations were checked")  # fmt: skip
        yield finding(
            "V1", "error" if wanted.need_files else "warning", split.split,
            f"none of {total:,} videos has a file in {split.searched}{then}",
            videos=total,
        )  # fmt: skip
    elif missing:
        yield finding(
            "V1", level, split.split,
            f"{len(missing):,} of {total:,} videos have no file in {split.searched} "
            f"({some(missing)}){leave_out}",
            videos=len(missing),
        )  # fmt: skip
    broken = {video.name: video.problem for video in split.videos if video.problem}
    if broken:
        named = some(f"{name}: {why}" for name, why in broken.items())
        yield finding(
            "V2", level, split.split,
            f"{len(broken):,} video files cannot be used ({named}){leave_out}",
            videos=len(broken),
        )  # fmt: skip


def _against_announced(split: TemporalSplit) -> Iterator[DataFinding]:
    """V3, V4: files that are cut off, shorter than annotated, or of another frame rate."""
    cut = {video.name: f"{file.frames:,} of {file.promised:,}" for video in split.usable
           if (file := video.file) and file.frames < (1 - SHORTER) * file.promised}  # fmt: skip
    if cut:
        yield finding(
            "V3", "error", split.split,
            f"{len(cut):,} video files are cut off, they hold fewer frames than their header "
            f"says: {_listed(cut)}; fetch them again",
            videos=len(cut),
        )  # fmt: skip
    short = {video.name: said for video in split.usable
             if video.name not in cut and (said := _shorter(video))}  # fmt: skip
    if short:
        yield finding(
            "V3", "warning", split.split,
            f"{len(short):,} videos are shorter than the annotations say: {_listed(short)}",
            videos=len(short),
        )  # fmt: skip
    other = {video.name: f"{file.fps:.3f} for {fps:.3f}" for video in split.usable
             if (file := video.file) and (fps := video.announced.fps)
             and abs(file.fps / fps - 1) > FASTER}  # fmt: skip
    if other:
        yield finding(
            "V4", "warning", split.split,
            f"{len(other):,} videos have another frame rate than the annotations say, and the "
            f"file's counts: {_listed(other)}",
            videos=len(other),
        )  # fmt: skip


def _shorter(video: TemporalVideo) -> str:
    said = video.announced.duration
    if video.file is None or said is None or video.file.duration >= (1 - SHORTER) * said:
        return ""
    return f"{video.file.duration:.1f} s of {said:.1f} s"


def _rates(split: TemporalSplit) -> Iterator[DataFinding]:
    """V5: variable frame rates."""
    names = [video.name for video in split.usable if video.file and video.file.variable]
    if names:
        yield finding(
            "V5", "warning", split.split,
            f"{len(names):,} videos have a variable frame rate, so that positions are not evenly "
            f"far apart; actions lie by the frames' own times ({some(names)})",
            videos=len(names),
        )  # fmt: skip


def _annotations(split: TemporalSplit) -> Iterator[DataFinding]:
    """V6, V7: actions outside of their video, and annotations that are left out; of a label that
    is no class, as it was asked for."""
    outside, clipped = (split.odd.get(what, {}) for what in ("outside", "clipped"))
    if outside:
        yield finding(
            "V6", "warning", split.split,
            f"{sum(outside.values()):,} of {split.annotated:,} annotations lie wholly outside of "
            f"their video and are left out: {_listed(outside)}",
            annotations=sum(outside.values()),
        )  # fmt: skip
    if clipped:
        yield finding(
            "V6", "warning", split.split,
            f"{sum(clipped.values()):,} of {split.annotated:,} annotations reach beyond their "
            f"video and are clipped: {_listed(clipped)}",
            annotations=sum(clipped.values()),
        )  # fmt: skip
    for what, why in _LEFT_OUT.items():
        found = split.odd.get(what, {})
        if found:
            yield finding(
                "V7", "note" if what == "ambiguous" else "warning", split.split,
                f"{sum(found.values()):,} of {split.annotated:,} annotations {why}: "
                f"{_listed(found)}",
                annotations=sum(found.values()),
            )  # fmt: skip


def _classes(split: TemporalSplit, wanted: Expectations) -> Iterator[DataFinding]:
    """V8: a split without actions, and classes of which there is nothing or little to learn."""
    counts = _counts(split)
    trained = split.split in wanted.trained
    if not split.actions:
        yield finding(
            "V8", "error" if trained else "warning", split.split,
            f"none of {len(split.videos):,} videos has an action", videos=len(split.videos),
        )  # fmt: skip
        return
    without = [name for name, count in zip(split.classes, counts, strict=True) if not count]
    if without:
        yield finding(
            "V8", "warning", split.split,
            f"{len(without)} of {len(split.classes)} classes have no action ({some(without)})",
            classes=len(without),
        )  # fmt: skip
    rare = {name: int(count) for name, count in zip(split.classes, counts, strict=True)
            if 0 < count < FEW}  # fmt: skip
    if rare and trained:
        yield finding(
            "V8", "warning", split.split,
            f"{len(rare)} classes have fewer than {FEW} actions to learn from: {_listed(rare)}",
            classes=len(rare),
        )  # fmt: skip


def _lengths(split: TemporalSplit, how: Sampling) -> Iterator[DataFinding]:
    """V9: actions that are too long for a window, or too short for a position."""
    grids = [on_grid(video, how.stride) for video in split.videos if video.fps]
    lengths = np.diff(np.concatenate([np.empty((0, 2)), *grids]))[:, 0]
    long, tiny = int((lengths > longest_kept(how)).sum()), int((lengths < 1).sum())
    if long:
        yield finding(
            "V9", "warning", split.split,
            f"{long:,} of {len(lengths):,} actions are too long for a window of {_shape(how)} to "
            f"keep {how.trunc_thresh:.0%} of them",
            actions=long, longest=float(lengths.max()),
        )  # fmt: skip
    if tiny:
        yield finding(
            "V9", "warning", split.split,
            f"{tiny:,} of {len(lengths):,} actions are shorter than one position at stride "
            f"{how.stride}, so they may have no point of their own",
            actions=tiny,
        )  # fmt: skip


def _windows(split: TemporalSplit, how: Sampling, *, trained: bool) -> Iterator[DataFinding]:
    """V9: videos without a window to train on, and videos that are mostly padding."""
    total = len(split.usable)
    unshown = [video.name for video in split.usable if trained and not trainable(video, how)]
    if unshown:
        yield finding(
            "V9", "warning", split.split,
            f"{len(unshown):,} of {total:,} videos have no window of {_shape(how)} with an "
            f"action, so they are not trained on ({some(unshown)})",
            videos=len(unshown),
        )  # fmt: skip
    padded = sum(positions_of(video, how.stride) < how.length for video in split.usable)
    if padded > total / 2:
        yield finding(
            "V9", "warning", split.split,
            f"{padded:,} of {total:,} videos are shorter than a window of {_shape(how)} and are "
            "padded; a smaller stride or window would waste less",
            videos=padded,
        )  # fmt: skip


def _shape(how: Sampling) -> str:
    return f"{how.length} positions at stride {how.stride}"


def _counts(split: TemporalSplit) -> Ints:
    labels = [video.labels for video in split.videos]
    return np.bincount(np.concatenate(labels), minlength=len(split.classes))


def _listed(found: Mapping[str, object]) -> str:
    """Names, each with what there is of it."""
    return some(f"{name} ({what})" for name, what in found.items())
