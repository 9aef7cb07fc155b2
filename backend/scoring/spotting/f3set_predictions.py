"""What one clip of a file of predictions holds: events, scores per frame, raw windows."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.errors import DataError
from backend.scoring.json_files import is_number
from backend.scoring.spotting.decoding import Decoder, Floats, Group, Window, decode
from backend.scoring.spotting.entries import EntryReader, Place
from backend.scoring.spotting.matching import Events

Entries = Mapping[str, Mapping[str, Any]]


def frames_divisor(reader: EntryReader, said: Entries, truth: Entries, stride: int) -> int:
    """By what the frames of a list of clips must be divided: ``stride`` if raw, 1 if strided.

    Raises DataError if some clips' fps and num_frames say the one and some the other.
    """
    divisors = {
        divisor
        for name, entry in said.items()
        for key in ("fps", "num_frames")
        if (divisor := _divisor(entry.get(key), truth[name].get(key), stride))
    }
    if len(divisors) > 1:
        raise DataError(
            f"{reader.path}: by fps and num_frames some clips have raw frames and some strided "
            "ones; say which with --frames raw or --frames strided"
        )
    if not divisors and stride > 1:
        for name, entry in said.items():
            if entry.get("events"):
                reader.note("clips do not tell raw from strided frames, which were read as raw "
                            "(--frames strided otherwise)", name)  # fmt: skip
    return divisors.pop() if divisors else stride


def _divisor(said: object, true: object, stride: int) -> int | None:
    """fps and num_frames shrink with the stride; num_frames loses its remainder too."""
    if not is_number(said) or not is_number(true) or not true:
        return None
    if math.isclose(said, true, rel_tol=1e-3):
        return stride
    if math.isclose(said, true / stride, rel_tol=1e-3) or said == true // stride:
        return 1
    return None


def read_predictions(
    reader: EntryReader, place: Place, entry: Mapping[str, Any], decoder: Decoder
) -> tuple[Events, Floats | None]:
    """Events and scores per frame (None: there are none) of a clip. Raises DataError."""
    where = f"{reader.path}: clip {place.clip}"
    scores: Floats | None = None
    if entry.get("windows") is not None:
        events, scores = _decoded(reader, place, entry["windows"], decoder)
    elif "events" not in entry:
        raise DataError(f"{where}: has neither 'events' nor 'windows'")
    if "events" in entry:
        events = reader.events(place, entry["events"])
    if entry.get("scores") is not None:
        scores = _numbers(entry["scores"], f"{where}: 'scores'", 1)
        if len(scores) != place.frames:
            raise DataError(
                f"{where}: has {len(scores)} scores, but {place.frames} strided frames"
            )
    return events, scores


def _decoded(
    reader: EntryReader, place: Place, windows: object, decoder: Decoder
) -> tuple[Events, Floats]:
    where = f"{reader.path}: clip {place.clip}"
    if not isinstance(windows, list) or not windows:
        raise DataError(f"{where}: 'windows' must be a list of at least one window")
    read = [
        _window(window, reader.elements, f"{where}, window {number}")
        for number, window in enumerate(windows, start=1)
    ]
    covered = np.zeros(place.frames, dtype=np.bool_)
    for window in read:
        covered[max(0, window.start) : max(0, window.start + len(window.scores))] = True
    if not covered.all():
        reader.note("clips have frames in no window, which count as background", place.clip)
    return decode(read, place.frames, decoder)


def _window(window: object, elements: Sequence[str], where: str) -> Window:
    if not isinstance(window, Mapping):
        raise DataError(f"{where}: expected an object with start, p_event and p_elements")
    start = window.get("start")
    if not isinstance(start, int) or isinstance(start, bool):
        raise DataError(f"{where}: 'start' must be a strided frame, a whole number, not {start!r}")
    rows = window.get("p_event")
    pairs = isinstance(rows, list) and bool(rows) and isinstance(rows[0], list)
    event = _numbers(rows, f"{where}: 'p_event'", 2 if pairs else 1)
    bits = _numbers(window.get("p_elements"), f"{where}: 'p_elements'", 2)
    for name, part in (("p_event", event), ("p_elements", bits)):
        if part.min(initial=0) < 0 or part.max(initial=0) > 1:
            raise DataError(f"{where}: '{name}' must hold probabilities, from 0 to 1")
    scores = event if pairs else np.column_stack([1 - event, event])
    if scores.shape[1] != 2 or bits.shape != (len(scores), len(elements)):
        raise DataError(
            f"{where}: expected p_elements of {len(scores)} frames x {len(elements)} elements, "
            f"not {' x '.join(map(str, bits.shape))}, and p_event as p or [p_background, p]"
        )
    return Window(start, scores, bits)


def _numbers(values: object, what: str, dimensions: int) -> Floats:
    """A list of numbers, or of equally long lists of them."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros((0,) * 3)
    if not isinstance(values, list) or numbers.ndim != dimensions or not numbers.size:
        shape = "a list of numbers" if dimensions == 1 else "a list of equally long lists"
        raise DataError(f"{what} must be {shape}")
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        raise DataError(f"{what} is not a finite number at strided frame {wrong[0][0]}")
    return numbers


def groups_of(path: Path, groups: object, elements: Sequence[str]) -> tuple[Group, ...]:
    """Groups of exclusive elements from ``[{"one_of": [...], "unless": ...}]``."""
    if not isinstance(groups, list):
        raise DataError(f"{path}: groups must be a list of objects with 'one_of'")
    return tuple(_group(f"{path}: group {n}", g, elements) for n, g in enumerate(groups, start=1))


def _group(where: str, group: object, elements: Sequence[str]) -> Group:
    members = group.get("one_of") if isinstance(group, Mapping) else None
    if not isinstance(group, Mapping) or not isinstance(members, list) or not members:
        raise DataError(f"{where}: expected an object with 'one_of', a list of elements")
    unless = group.get("unless")
    names = [*members, *([] if unless is None else [unless])]
    unknown = [name for name in names if name not in elements]
    if unknown:
        raise DataError(f"{where}: {unknown[0]!r} is no known element")
    places = tuple(elements.index(name) for name in members)
    return Group(places, None if unless is None else elements.index(unless))
