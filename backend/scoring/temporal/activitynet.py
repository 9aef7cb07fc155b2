"""Files of ActivityNet and THUMOS, read and checked: annotated and predicted segments of videos.

The public evaluators answer a wrong file with a wrong number: a video that is listed twice loses
its first list, a NaN is matched at random, text is read as a number. So each entry is checked.
"""

import math
import reprlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import DataError

Json = Mapping[str, object]
Indices = NDArray[np.int32]
Floats = NDArray[np.float64]
Row = tuple[int, str, float, float]
Results = Mapping[str, Sequence[object]]

SAME = 1e-3
"""Seconds within which two times are one (the tolerance of ActionFormer and OpenTAD)."""


@dataclass(frozen=True)
class Segments:
    """Segments as arrays of equal length.

    ``videos`` and ``labels`` are positions in the units and classes of ``Truth``; ``bounds`` is
    (segments, 2), start and end in seconds.
    """

    videos: Indices
    labels: Indices
    bounds: Floats


@dataclass(frozen=True)
class Truth:
    """The ground truth of one subset; ``units`` are its videos, annotated or not.

    Units and classes are sorted by name, segments by unit, class and time. ``others`` are the
    videos of other subsets; ``durations`` are in seconds, infinite where the file has none.
    """

    units: tuple[str, ...]
    others: frozenset[str]
    durations: Floats
    classes: tuple[str, ...]
    segments: Segments
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """Predicted segments. ``positions`` are their places in the list of their video."""

    segments: Segments
    positions: Indices
    scores: Floats
    warnings: tuple[str, ...]


def results_of(data: object, source: str) -> Results:
    """The list of each video in ActivityNet results. Raises DataError."""
    results = data.get("results") if isinstance(data, Mapping) else None
    if not isinstance(results, Mapping):
        raise DataError(f"{source}: expected an object with 'results', as ActivityNet has it")
    for name, items in results.items():
        if not isinstance(items, list | tuple):
            raise DataError(f"{source}: video '{name}' must have a list of predictions")
    return results


def check_truth(
    data: object,
    predicted: Collection[str],
    subset: str | None,
    ignore_labels: Collection[str],
    source: str,
) -> Truth:
    """The ground truth of one subset as arrays.

    Where ``subset`` is None and several are annotated, it is the one of the ``predicted``
    videos. Segments that do not end after they start and those of ``ignore_labels``
    are left out, and segments of equal label within ``SAME`` count once, all with a warning.
    Raises DataError with one sentence that names ``source``, video and entry.
    """
    videos = _videos(data, source)
    chosen, notes = _choose(videos, predicted, subset, source)
    units = tuple(sorted(name for name in videos if videos[name]["subset"] == chosen))
    dropped: Counter[str] = Counter()
    rows: list[Row] = []
    for unit, name in enumerate(units):
        where = f"{source}: video '{name}'"
        kept = _kept(videos[name].get("annotations"), where, ignore_labels, dropped)
        rows += sorted((unit, *item) for item in kept)
    classes = tuple(sorted({row[1] for row in rows}))
    segments = _segments(rows, classes)
    durations = np.array([_duration(videos[name], name, source) for name in units])
    notes += [f"{_many(number, 'annotation')} {why}." for why, number in sorted(dropped.items())]
    notes += _beyond(segments, durations, "annotation")
    if not rows:
        notes.append("The ground truth has no segments: every metric is undefined.")
    others = frozenset(videos) - frozenset(units)
    return Truth(units, others, durations, classes, segments, tuple(notes))


def check_predictions(results: Results, truth: Truth, source: str) -> Predictions:
    """Predictions as arrays; those of unknown videos and classes are left out with a warning.

    A video's name may have or lack the prefix ``v_``. Segments that do not end after they start
    stay: they are wrong answers, not damaged ones. Raises DataError with one sentence that
    names ``source``, video and entry.
    """
    lists, strangers = _by_unit(results, truth, source)
    known, unknown = frozenset(truth.classes), Counter[str]()
    rows: list[Row] = []
    positions: list[int] = []
    scores: list[float] = []
    for unit, (name, items) in lists.items():
        entries = _entries(items, f"{source}: video '{name}'", scored=True)
        for position, (label, start, end, score) in enumerate(entries):
            if label not in known:
                unknown[label] += 1
                continue
            rows.append((unit, label, start, end))
            positions.append(position)
            scores.append(score)
    segments = _segments(rows, truth.classes)
    notes = _about_strangers(truth, strangers) + _about_classes(unknown)
    return Predictions(
        segments=segments,
        positions=np.array(positions, dtype=np.int32),
        scores=np.array(scores, dtype=np.float64),
        warnings=tuple(notes + _about_predictions(truth, segments, len(lists))),
    )


def _videos(data: object, source: str) -> dict[str, Json]:
    database = data.get("database") if isinstance(data, Mapping) else None
    if not isinstance(database, Mapping):
        raise DataError(f"{source}: expected an object with 'database', as ActivityNet has it")
    if not database:
        raise DataError(f"{source}: it lists no videos, so there is nothing to score")
    for name, video in database.items():
        if not isinstance(video, Mapping) or not isinstance(video.get("subset"), str):
            raise DataError(
                f"{source}: video '{name}' must be an object with subset, duration and annotations"
            )
    return dict(database)


def _by_unit(
    results: Results, truth: Truth, source: str
) -> tuple[dict[int, tuple[str, Sequence[object]]], Counter[str]]:
    """For each predicted unit its name and list, and the number of entries of other videos."""
    unit_at = {name: unit for unit, name in enumerate(truth.units)}
    found: dict[int, tuple[str, Sequence[object]]] = {}
    strangers: Counter[str] = Counter()
    for name, items in results.items():
        unit = unit_at.get(_known_as(name, unit_at))
        if unit is None:
            strangers[name] = len(items)
        elif unit in found:
            raise DataError(f"{source}: '{found[unit][0]}' and '{name}' are one video; merge them")
        else:
            found[unit] = (name, items)
    return found, strangers


def _choose(
    videos: Mapping[str, Json], predicted: Collection[str], wanted: str | None, source: str
) -> tuple[str, list[str]]:
    """The subset to score, and a note if the predictions decided it."""
    present = sorted({str(video["subset"]) for video in videos.values()})
    if wanted is not None:
        if wanted not in present:
            raise DataError(f"{source}: no subset '{wanted}'; it has {', '.join(present)}")
        return wanted, []
    annotated = sorted({str(v["subset"]) for v in videos.values() if v.get("annotations")})
    choices = annotated or present
    if len(choices) == 1:
        return choices[0], []
    seen = {videos[name]["subset"] for name in (_known_as(p, videos) for p in predicted) if name}
    covered = [choice for choice in choices if choice in seen]
    if len(covered) != 1:
        raise DataError(
            f"{source}: the predictions cover {' and '.join(covered) or 'none'} of the subsets "
            f"{', '.join(choices)}; say which subset to score"
        )
    return covered[0], [f"Scored on the subset '{covered[0]}', the one that was predicted."]


def _known_as(name: str, videos: Collection[str]) -> str:
    """How ``videos`` writes this name: as it is, or with or without ``v_``; else empty."""
    names = (name, name.removeprefix("v_"), f"v_{name}")
    return next((known for known in names if known in videos), "")


def _kept(
    items: object, where: str, ignored: Collection[str], dropped: Counter[str]
) -> list[tuple[str, float, float]]:
    """The annotations of a video that count, in their order; ``dropped`` counts the others."""
    if not isinstance(items, list | tuple):
        raise DataError(f"{where} must have a list of annotations")
    kept: list[tuple[str, float, float]] = []
    cells: dict[tuple[str, float], list[tuple[float, float]]] = {}  # by class and 2 ms of start
    for label, start, end, _ in _entries(items, where, scored=False):
        cell = start // (2 * SAME)
        near = (pair for c in (cell - 1, cell, cell + 1) for pair in cells.get((label, c), ()))
        if label in ignored:
            dropped[f"labelled '{label}' left out"] += 1
        elif end <= start:
            dropped["left out for not ending after the start"] += 1
        elif any(abs(start - one) <= SAME and abs(end - two) <= SAME for one, two in near):
            dropped["left out as duplicate"] += 1
        else:
            kept.append((label, start, end))
            cells.setdefault((label, cell), []).append((start, end))
    return kept


def _entries(
    items: Sequence[object], where: str, scored: bool
) -> Iterator[tuple[str, float, float, float]]:
    """Label, start, end and score (0 if not ``scored``) of each entry."""
    for number, item in enumerate(items, start=1):
        try:
            if not isinstance(item, dict):
                raise ValueError("expected an object with label and segment")
            score = _number(item.get("score"), "score") if scored else 0.0
            yield _label(item.get("label")), *_bounds(item.get("segment")), score
        except ValueError as error:
            raise DataError(f"{where}, entry {number}: {error}") from None


def _label(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"label is {reprlib.repr(value)}; expected the name of a class")
    return value


def _bounds(value: object) -> tuple[float, float]:
    if not isinstance(value, list | tuple | np.ndarray) or len(value) != 2:
        raise ValueError(f"segment is {reprlib.repr(value)}; expected [start, end] in seconds")
    return _number(value[0], "start"), _number(value[1], "end")


def _number(value: object, what: str) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{what} is {reprlib.repr(value)}; expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number}; expected a finite number")
    return number


def _duration(video: Json, name: str, source: str) -> float:
    value = video.get("duration")
    if value is None:
        return math.inf
    try:
        seconds = _number(value, "duration")
    except ValueError as error:
        raise DataError(f"{source}: video '{name}': {error}") from None
    if seconds < 0:
        raise DataError(f"{source}: video '{name}': duration is {value!r}, which is negative")
    return seconds


def _segments(rows: Sequence[Row], classes: Sequence[str]) -> Segments:
    class_at = {name: label for label, name in enumerate(classes)}
    return Segments(
        videos=np.array([row[0] for row in rows], dtype=np.int32),
        labels=np.array([class_at[row[1]] for row in rows], dtype=np.int32),
        bounds=np.array([row[2:] for row in rows], dtype=np.float64).reshape(-1, 2),
    )


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _named(names: Collection[str]) -> str:
    """Up to five names, and how many more there are."""
    shown = [f"'{name}'" for name in sorted(names)[:5]]
    more = [f"{len(names) - 5} more"] if len(names) > 5 else []
    return ", ".join(shown + more)


def _beyond(segments: Segments, durations: Floats, what: str) -> list[str]:
    late = segments.bounds[:, 1] > durations[segments.videos] + SAME
    number = int(np.count_nonzero(late | (segments.bounds[:, 0] < -SAME)))
    many = _many(number, what)
    return [f"{many} outside of the video's duration, scored as written."] if number else []


def _about_strangers(truth: Truth, strangers: Counter[str]) -> list[str]:
    elsewhere = {name for name in strangers if _known_as(name, truth.others)}
    groups = {
        "that the ground truth does not list": strangers.keys() - elsewhere,
        "of other subsets": elsewhere,
    }
    return [
        f"{_many(sum(strangers[name] for name in names), 'prediction')} left out for videos "
        f"{why}: {_named(names)}."
        for why, names in groups.items()
        if names
    ]


def _about_classes(unknown: Counter[str]) -> list[str]:
    many = _many(unknown.total(), "prediction")
    without = f"{many} left out of classes without ground truth: {_named(unknown)}."
    return [without] if unknown else []


def _about_predictions(truth: Truth, segments: Segments, videos: int) -> list[str]:
    notes = []
    if not len(segments.videos):
        notes.append("There are no predictions to score.")
    elif videos < len(truth.units):
        missing = len(truth.units) - videos
        notes.append(f"{missing} of {len(truth.units)} videos are not in the predictions.")
    never = int(np.count_nonzero(segments.bounds[:, 1] <= segments.bounds[:, 0]))
    if never:
        many = _many(never, "prediction")
        notes.append(f"{many} not ending after the start, counted as false positive.")
    return notes + _beyond(segments, truth.durations, "prediction")
