"""Which classes a tracking evaluation has, and what each row belongs to.

Box formats differ in what they say of classes: nothing, one, or several; ground truth and
tracker may differ too. This settles it once, before anything is matched.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backend.core.errors import DataError
from backend.core.wording import some
from backend.scoring.tracking import motchallenge
from backend.scoring.tracking.motchallenge import UNKNOWN, Tracks

ONLY = 1
"""The class of everything where the ground truth names no classes."""


@dataclass(frozen=True)
class Settled:
    """Sequences whose rows have known classes.

    ``names`` maps the ids of the ground truth's classes (or those the user named), in order;
    ``strays`` are ids that occur in predictions only. ``labelled`` is False where predictions
    name no class though there are several: only the class-agnostic view is fair then.
    """

    sequences: tuple[motchallenge.Sequence, ...]
    names: dict[int, str]
    strays: tuple[int, ...]
    labelled: bool
    warnings: tuple[str, ...]


def settle(
    sequences: Sequence[motchallenge.Sequence], names: Mapping[int, str] | None = None
) -> Settled:
    """Decide the classes of ground truth and predictions; ``names`` lists all that may occur.

    Ground truth without classes has one, whatever the predictions say. Predictions without
    classes belong to the only class, if there is just one. Raises DataError for files in which
    only some rows name a class, and for classes that are not among ``names``.
    """
    truth = _occurring([sequence.truth for sequence in sequences])
    predicted = _occurring([sequence.predictions for sequence in sequences])
    known = dict(names or {label: str(label) for label in sorted(truth)})
    if truth == {UNKNOWN} or (not known and predicted == {UNKNOWN}):
        return _one_class(sequences, names, predicted)
    if names:
        _refuse_unnamed([sequence.truth for sequence in sequences], names)
    warnings = []
    labelled = True
    possible = truth or set(known)
    if predicted == {UNKNOWN} and len(possible) == 1:
        (label,) = predicted = possible
        sequences = [
            replace(sequence, predictions=_all(sequence.predictions, label))
            for sequence in sequences
        ]
    elif predicted == {UNKNOWN}:
        labelled = False
        warnings.append(
            "The predictions name no classes but the ground truth has several: they are scored "
            "without regard to class only."
        )
    elif names:
        _refuse_unnamed([sequence.predictions for sequence in sequences], names)
    strays = tuple(sorted(predicted - set(known) - {UNKNOWN}))
    return Settled(tuple(sequences), known, strays, labelled, tuple(warnings))


def read_names(path: Path) -> dict[int, str]:
    """Class names from a file, by id: JSON (id to name, or a list) or text, one name per line.

    Lists count from 1, or from ``base`` where a JSON object says so beside its ``names``.
    Raises DataError.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        data = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as class names ({error})") from None
    if isinstance(data, dict):
        base = data.pop("base", 1)
        data = next((data[key] for key in ("names", "classes") if key in data), data)
    else:
        base = 1
    try:
        if isinstance(data, dict):
            return checked_names({int(key): name.strip() for key, name in data.items()}, str(path))
        return listed_names([name.strip() for name in data], str(path), base=int(base))
    except (TypeError, ValueError, AttributeError):
        raise DataError(
            f"{path}: expected class names, an object from ids to names or a list"
        ) from None


def listed_names(names: Sequence[str], source: str = "classes", base: int = 1) -> dict[int, str]:
    """Names in the order of their ids, the first of which is ``base``. Raises DataError."""
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return checked_names(dict(enumerate(kept, start=base)), source)


def checked_names(names: Mapping[int, str], source: str = "classes") -> dict[int, str]:
    """Names sorted by id. Raises DataError if there are none, or one is empty or occurs twice."""
    if not names:
        raise DataError(f"{source}: no class names")
    seen: set[str] = set()
    for label, name in names.items():
        if not name or name in seen:
            raise DataError(f"{source}: the name '{name}' of class {label} is empty or not unique")
        seen.add(name)
    return dict(sorted(names.items()))


def _one_class(
    sequences: Sequence[motchallenge.Sequence],
    names: Mapping[int, str] | None,
    predicted: set[int],
) -> Settled:
    if names and len(names) > 1:
        raise DataError(
            f"{sequences[0].truth.source}: the ground truth has no classes, though "
            f"{len(names)} are named; leave the names out or add the eighth column"
        )
    label, name = next(iter(names.items())) if names else (ONLY, str(ONLY))
    warnings = (
        ("The ground truth names no classes: those of the predictions are ignored.",)
        if predicted - {UNKNOWN, label}
        else ()
    )
    same = tuple(
        replace(
            sequence,
            truth=_all(sequence.truth, label),
            predictions=_all(sequence.predictions, label),
        )
        for sequence in sequences
    )
    return Settled(same, {label: name}, (), True, warnings)


def _all(side: Tracks, label: int) -> Tracks:
    return replace(side, classes=np.full_like(side.classes, label))


def _occurring(parts: Sequence[Tracks]) -> set[int]:
    """The class ids that occur. Raises DataError if only some rows have one."""
    found: set[int] = set().union(*(np.unique(part.classes).tolist() for part in parts))
    if UNKNOWN in found and len(found) > 1:
        part = next(part for part in parts if UNKNOWN in part.classes)
        row = int((part.classes == UNKNOWN).argmax())
        raise DataError(f"{part.where(row)}: no class, though other rows or files name theirs")
    return found


def _refuse_unnamed(parts: Sequence[Tracks], names: Mapping[int, str]) -> None:
    allowed = list(names)
    for part in parts:
        unnamed = ~np.isin(part.classes, allowed)
        if unnamed.any():
            row = int(unnamed.argmax())
            raise DataError(
                f"{part.where(row)}: class {part.classes[row]} is not among the {len(names)} "
                f"named ones ({some(map(str, allowed))})"
            )
