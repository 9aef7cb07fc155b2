"""N5, N6, N8: class ids, their names and number, and what label filters took away."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from backend.core.evidence import DataFinding
from backend.core.wording import some
from backend.datasets.findings import Level, finding
from backend.datasets.tracking.expectations import Expectations
from backend.datasets.tracking.records import UNKNOWN, TrackingSplit

MARK = "mark 0"
"""The filter that every MOT file has: rows to be ignored."""


def check_ids(split: TrackingSplit) -> Iterator[DataFinding]:
    """N5: class ids that are not declared."""
    strange = _counted(split, known=False)
    if not strange:
        return
    low, count = min(strange), sum(strange.values())
    present = {*strange, *_counted(split, known=True)}
    zero = low == 0 and (max(present) < len(split.classes) or not split.declared)
    hint = "; ids seem to count from 0, say so as base in classes.json" if zero else ""
    listed = some(
        f"{label if label != UNKNOWN else 'none'} ({n:,})" for label, n in strange.items()
    )
    declared = some(map(str, split.class_ids))
    yield finding(
        "N5", "error", split.split,
        f"{count:,} boxes have a class that is not among the {len(split.classes)} declared ones "
        f"({declared}): {listed}{hint}",
        boxes=count, lowest=low, highest=max(strange),
    )  # fmt: skip


def check_names(
    split: TrackingSplit, database: Sequence[str], wanted: Expectations
) -> Iterator[DataFinding]:
    """N5: names or their order differ between data, database and config. Numbers, which stand
    for classes that nobody named, say nothing."""
    named = {
        "the data": split.classes if split.declared else (),
        "the detection database": tuple(database),
        "the config": wanted.classes or (),
    }
    known = [(who, names) for who, names in named.items() if not all(map(str.isdecimal, names))]
    for who, names in known[1:]:
        first, expected = known[0]
        if names != expected:
            why = "in another order" if sorted(names) == sorted(expected) else "other ones"
            yield finding(
                "N5", "error", split.split,
                f"{who} has the classes {some(names)}, {first} {some(expected)}: {why}",
                classes=len(names), expected=len(expected),
            )  # fmt: skip


def check_number(split: TrackingSplit, wanted: Expectations) -> Iterator[DataFinding]:
    """N6: how many classes are asked for, declared and annotated."""
    present = {split.class_ids.index(label) for label in _counted(split, known=True)}
    declared = len(split.classes)
    classes = wanted.wanted
    numbers = {"declared": declared, "annotated": len(present)}
    if classes is not None and classes != declared:
        yield finding(
            "N6", "error", split.split,
            f"the model has {classes} classes, the data have {declared}; "
            f"{len(present)} of them occur",
            wanted=classes, **numbers,
        )  # fmt: skip
    if len(present) == 1 < declared:
        (only,) = present
        yield finding(
            "N6", "error", split.split,
            f"every box is of class {split.classes[only]}, though {declared} are declared",
            **numbers,
        )  # fmt: skip
    elif not present:
        yield finding(
            "N6", "error", split.split, "no class has a box: nothing to learn or to score",
            absent=declared, **numbers,
        )  # fmt: skip
    elif len(present) < declared and split.declared:
        absent = [name for label, name in enumerate(split.classes) if label not in present]
        yield finding(
            "N6", "warning", split.split,
            f"classes without a box: {some(absent)}", absent=len(absent), **numbers,
        )  # fmt: skip


def check_filters(split: TrackingSplit, wanted: Expectations) -> Iterator[DataFinding]:
    """N8: boxes that a label filter dropped."""
    remaining = _counted(split, known=True)
    for name, counts in {**split.dropped, MARK: _ignored(split)}.items():
        taken = {label: count for label, count in counts.items() if count}
        if not taken:
            continue
        gone = [label for label in taken if not remaining.get(label)]
        entire = f"; nothing is left of {some(map(str, gone))}" if gone else ""
        level: Level = "error" if gone and name not in wanted.confirmed else "warning"
        listed = some(f"class {label} ({count:,})" for label, count in taken.items())
        if gone or name != MARK:  # rows to be ignored are no news
            yield finding(
                "N8", level, split.split,
                f"the label filter '{name}' drops {sum(taken.values()):,} boxes: {listed}{entire}",
                boxes=sum(taken.values()), classes=len(taken), entirely=len(gone),
            )  # fmt: skip


def _counted(split: TrackingSplit, *, known: bool) -> dict[int, int]:
    """Class id to boxes that are not to be ignored, with a label or without one."""
    found: Counter[int] = Counter()
    for sequence in split.sequences:
        truth = sequence.truth
        rows = truth.marks & ((truth.labels >= 0) == known)
        ids = truth.class_ids[rows]
        if known:
            ids = np.array(split.class_ids)[truth.labels[rows]]
        found.update(ids.tolist())
    return dict(sorted(found.items()))


def _ignored(split: TrackingSplit) -> Mapping[int, int]:
    found: Counter[int] = Counter()
    for sequence in split.sequences:
        truth = sequence.truth
        found.update(truth.class_ids[~truth.marks & (truth.labels >= 0)].tolist())
    return found
