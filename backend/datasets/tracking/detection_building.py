"""Detection databases made from what any detector wrote, in our own spelling."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from backend.core.errors import DataError
from backend.core.wording import some
from backend.core.workdir import write_atomic
from backend.datasets.tracking.census import census
from backend.datasets.tracking.check_database import check_coordinates, check_hits, check_scores
from backend.datasets.tracking.check_proposals import check_recall
from backend.datasets.tracking.detection_db import (
    META,
    DatabaseOptions,
    parse_database,
    read_database,
)
from backend.datasets.tracking.detection_frames import Frame, Frames
from backend.datasets.tracking.detection_keys import KeyRule
from backend.datasets.tracking.detection_sources import Detected
from backend.datasets.tracking.mot_folder import labels_of
from backend.datasets.tracking.proposals import with_proposals
from backend.datasets.tracking.records import UNKNOWN, Bools, Floats, Ints, TrackingSplit
from backend.datasets.tracking.validation import TrackingData

Scores = Literal["given", "sigmoid", "range"]
_PADDING = 8
_SCORE, _CLASS = 4, 5
_FOREIGN = -2
"""The label of a class that the data have not."""


@dataclass(frozen=True)
class Building:
    """How detections become a database.

    ``classes`` are the detector's, in its order, each as ``name`` or ``name=ours``; of a source
    that names its classes, those to keep. Detections below ``min_score`` are left out. ``scores``
    beyond 0 to 1 are refused as ``given``; ``sigmoid`` and ``range`` (lowest to highest) map them.
    """

    classes: tuple[str, ...] = ()
    min_score: float = 0.0
    scores: Scores = "given"


@dataclass(frozen=True)
class Built:
    """A database as JSON has it, the splits that it is of, and what a person should know."""

    content: Mapping[str, object]
    splits: tuple[TrackingSplit, ...]
    notes: tuple[str, ...]

    def write(self, out: Path) -> None:
        """The file. Raises DataError if it cannot be written."""
        try:
            write_atomic(out, json.dumps(self.content, ensure_ascii=False, allow_nan=False))
        except OSError as error:
            raise DataError(f"{out}: cannot be written ({error.strerror})") from None


def build_database(
    frames: Frames, sources: Sequence[Detected], how: Building | None = None
) -> Built:
    """All detections of some sources, by frame; each frame that one of them looked at has a key.

    Raises DataError for a frame in two sources, classes that fit none of the data's, and what a
    database may not hold.
    """
    how = how or Building()
    _refuse_twice(sources)
    split = max(frames.splits, key=lambda one: len(one.classes))
    rows = {
        frame: table
        for source in sources
        for frame, table in _labelled(source, split, how.classes).items()
    }
    table = np.concatenate([np.empty((0, 6)), *rows.values()])
    table[:, _SCORE] = _scaled(table[:, _SCORE], how.scores)
    kept, notes = _kept(table, how, _strangers(sources, split, how.classes))
    known = bool((table[kept, _CLASS] != UNKNOWN).all())
    owners = np.repeat(np.arange(len(rows)), [len(one) for one in rows.values()])
    lines: list[list[str]] = [[] for _ in rows]
    for owner, row in zip(owners[kept].tolist(), table[kept].tolist(), strict=True):
        lines[owner].append(_line(row, known))
    content: dict[str, object] = {META: _meta(sources, split, how, known)}
    content |= {_key(frames, frame): one for frame, one in zip(rows, lines, strict=True)}
    parse_database(content, _options(frames, split), some(one.source for one in sources))
    covered, more = _covered(frames, set(rows))
    if not covered:
        where = some(one.split for one in frames.splits)
        raise DataError(f"{some(one.source for one in sources)}: no detections of {where}")
    if not kept.any():
        notes.append("Not one detection is left: a model that needs proposals will track nothing.")
    if not known:
        notes.append("The detections tell no classes: model.proposal_class: ignore suits them.")
    return Built(content, covered, (*notes, *more))


def examined(path: Path, splits: Sequence[TrackingSplit]) -> TrackingData:
    """A database as it is on disk against splits: how it hits and covers them.

    Raises DataError as ``read_database`` does.
    """
    frames = Frames(splits)
    widest = max(splits, key=lambda one: len(one.classes))
    database = read_database(path, _options(frames, widest))
    joined = tuple(with_proposals(split, database) for split in splits)
    found = list(check_scores(database))
    for split in joined:
        found += check_hits(split, database)
        found += check_coordinates(split)
        found += check_recall(split)
    told = tuple(sorted(found, key=lambda one: one.code))
    return TrackingData(joined, told, tuple(census(one, database.fields) for one in joined))


def _refuse_twice(sources: Sequence[Detected]) -> None:
    seen: dict[Frame, str] = {}
    for source in sources:
        for frame in source.frames:
            other = seen.setdefault(frame, source.source)
            if other != source.source:
                raise DataError(
                    f"frame {frame[1]} of {frame[0]} is in {other} and in {source.source}; keep "
                    "one, or choose a split for each"
                )


def _labelled(source: Detected, split: TrackingSplit, asked: Sequence[str]) -> dict[Frame, Floats]:
    """The rows with labels of the data's classes; ``_FOREIGN`` for other classes."""
    joined = np.concatenate([np.empty((0, 6)), *source.frames.values()])[:, _CLASS]
    classes = joined.astype(np.int64)
    labels = _labels(source, classes, split, asked)
    cuts = np.cumsum([len(rows) for rows in source.frames.values()])[:-1]
    parts = np.split(labels.astype(float), cuts) if source.frames else []
    return {
        frame: np.column_stack([rows[:, :_CLASS], part])
        for (frame, rows), part in zip(source.frames.items(), parts, strict=True)
    }


def _labels(source: Detected, classes: Ints, split: TrackingSplit, asked: Sequence[str]) -> Ints:
    names, ours = _names(source, asked), [name.casefold() for name in split.classes]
    if names:
        places = {
            key: ours.index(name.casefold()) for key, name in names.items()
            if name.casefold() in ours
        }  # fmt: skip
        if not places:
            raise DataError(
                f"{source.source}: its classes are {some(names.values())}, the data's "
                f"{some(split.classes)}; name those to keep with --classes, such as "
                f"{next(iter(names.values()))}={split.classes[0]}"
            )
        known = {key: places.get(key, _FOREIGN) for key in np.unique(classes).tolist()}
        return np.array([known[key] for key in classes.tolist()], np.int64)
    if len(ours) == 1 and (classes == UNKNOWN).all():
        return np.zeros_like(classes)
    ids = range(len(ours)) if source.base == 0 else split.class_ids
    labels = labels_of(classes, ids)
    strange = sorted(set(classes[(labels == UNKNOWN) & (classes != UNKNOWN)].tolist()))
    if strange:
        raise DataError(
            f"{source.source}: class {strange[0]} is none of the data's {len(ours)}; name the "
            "detector's classes in its order with --classes"
        )
    return labels


def _names(source: Detected, asked: Sequence[str]) -> dict[int, str]:
    """Our name of each class of the source that is kept; empty if nothing names them."""
    pairs = [one.partition("=") for one in asked]
    renamed = {theirs.strip().casefold(): (ours or theirs).strip() for theirs, _, ours in pairs}
    if not source.names:
        return dict(enumerate(renamed.values(), start=source.base))
    if not asked:
        return dict(source.names)
    has = {name.casefold() for name in source.names.values()}
    if missing := [name for name in renamed if name not in has]:
        raise DataError(
            f"{source.source}: it has no class '{missing[0]}', but {some(source.names.values())}"
        )
    return {
        key: renamed[name.casefold()]
        for key, name in source.names.items()
        if name.casefold() in renamed
    }


def _scaled(scores: Floats, how: Scores) -> Floats:
    if how == "sigmoid":
        logistic: Floats = np.exp(-np.logaddexp(0, -scores))
        return logistic
    if how == "range" and len(scores):
        low, reach = float(scores.min()), float(np.ptp(scores))
        return (scores - low) / reach if reach else np.ones_like(scores)
    if len(scores) and (scores.min() < 0 or scores.max() > 1):
        raise DataError(
            f"scores reach from {scores.min():g} to {scores.max():g}, and a database has them in "
            "0 to 1; map them with --scores sigmoid or --scores range"
        )
    return scores


def _kept(table: Floats, how: Building, strangers: str) -> tuple[Bools, list[str]]:
    """Which rows stay, and sentences about the others."""
    flat = (table[:, 2:4] <= 0).any(axis=1)
    foreign = table[:, _CLASS] == _FOREIGN
    low = table[:, _SCORE] < how.min_score
    told = (
        (flat, "without width or height"),
        (foreign & ~flat, f"of classes that the data have not{strangers}"),
        (low & ~flat & ~foreign, f"with a score below {how.min_score:g}"),
    )
    notes = [f"Left out: {int(bad.sum()):,} detections {why}." for bad, why in told if bad.any()]
    kept: Bools = ~(flat | foreign | low)
    return kept, notes


def _strangers(sources: Sequence[Detected], split: TrackingSplit, asked: Sequence[str]) -> str:
    """The kept classes of detectors that the data do not name, and how to rename one."""
    ours = {name.casefold() for name in split.classes}
    names = [name for source in sources for name in _names(source, asked).values()]
    strange = [name for name in dict.fromkeys(names) if name.casefold() not in ours]
    return (
        f" ({some(strange)}; --classes {strange[0]}={split.classes[0]} would rename one)"
        if strange
        else ""
    )


def _line(row: Sequence[float], known: bool) -> str:
    *box, score, label = row
    place = ",".join(f"{value:.10g}" for value in box)
    return f"{place},{int(label) + 1},{score:.6g}" if known else f"{place},{score:.6g}"


def _meta(
    sources: Sequence[Detected], split: TrackingSplit, how: Building, known: bool
) -> dict[str, object]:
    meta: dict[str, object] = {"fields": "xywhcs" if known else "xywhs"}
    if known and split.declared:
        meta["classes"] = list(split.classes)
    return meta | {
        "class_base": 1,
        "detector": [source.source for source in sources],
        "min_score": how.min_score,
        "scores": how.scores,
    }


def _key(frames: Frames, frame: Frame) -> str:
    name, number = frame
    return f"{name}/{frames.sequences[name].images_in}/{number:0{_PADDING}}"


def _options(frames: Frames, split: TrackingSplit) -> DatabaseOptions:
    images = frozenset(sequence.images_in for sequence in frames.sequences.values())
    sizes = {(one.width, one.height) for one in frames.sequences.values()}
    width, height = next(iter(sizes)) if len(sizes) == 1 else (None, None)
    size = (width, height) if width is not None and height is not None else None
    return DatabaseOptions("auto", len(split.classes), size, KeyRule(frames.root, images))


def _covered(frames: Frames, seen: set[Frame]) -> tuple[tuple[TrackingSplit, ...], list[str]]:
    """The splits that a source looked at, and what of them it did not."""
    covered, notes = [], []
    for split in frames.splits:
        names = [one.folder.relative_to(frames.root).as_posix() for one in split.sequences]
        wanted = {
            (name, number)
            for name, sequence in zip(names, split.sequences, strict=True)
            for number in sequence.numbers.tolist()
        }
        missing = len(wanted - seen)
        if missing == len(wanted):
            notes.append(f"{split.split}: no detections were given, so it is not in the database.")
            continue
        covered.append(split)
        if missing:
            notes.append(f"{split.split}: {missing:,} of {len(wanted):,} frames were not looked "
                         "at, and have no key.")  # fmt: skip
    return tuple(covered), notes
