"""A detection database joined to a split: each sequence gets its proposals."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import numpy as np

from backend.core.errors import DataError
from backend.datasets.tracking.detection_db import DetectionDatabase, rows_of
from backend.datasets.tracking.records import Proposals, TrackingSplit, TrackSequence


def with_proposals(split: TrackingSplit, database: DetectionDatabase) -> TrackingSplit:
    """The split with its proposals; a frame without a key has none.

    Raises DataError if a sequence has keys under two names that fit equally well.
    """
    folders = _folders(database)
    return replace(
        split,
        sequences=tuple(
            _joined(sequence, _folder_of(sequence, split.root, folders), database)
            for sequence in split.sequences
        ),
    )


def expected_key(sequence: TrackSequence, root: Path, number: int) -> str:
    """The key of a frame as this data set would spell it."""
    return f"{'/'.join(_inside(sequence, root))}:{number}"


def _folders(database: DetectionDatabase) -> Mapping[str, Sequence[tuple[str, ...]]]:
    """The folders that occur in keys, by their last name."""
    found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for folder in dict.fromkeys(key.rpartition(":")[0] for key in database.rows):
        parts = tuple(folder.split("/"))
        found[parts[-1]].append(parts)
    return found


def _inside(sequence: TrackSequence, root: Path) -> tuple[str, ...]:
    return sequence.folder.relative_to(root).parts


def _folder_of(
    sequence: TrackSequence, root: Path, folders: Mapping[str, Sequence[tuple[str, ...]]]
) -> str | None:
    """The folder in keys that ends as the sequence's does below its root; of several, the one
    that agrees with more of its whole path."""
    inside, whole = _inside(sequence, root), sequence.folder.absolute().parts
    fitting = [parts for parts in folders.get(inside[-1], ()) if parts[-len(inside) :] == inside]
    if not fitting:
        return None
    common = [_shared_end(parts, whole) for parts in fitting]
    best = [parts for parts, count in zip(fitting, common, strict=True) if count == max(common)]
    if len(best) > 1:
        raise DataError(
            f"{sequence.folder}: the detection database has it as {'/'.join(best[0])} and as "
            f"{'/'.join(best[1])}; keep one"
        )
    return "/".join(best[0])


def _shared_end(parts: tuple[str, ...], whole: tuple[str, ...]) -> int:
    pairs = zip(reversed(parts), reversed(whole), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _joined(
    sequence: TrackSequence, folder: str | None, database: DetectionDatabase
) -> TrackSequence:
    keys = [f"{folder}:{number}" for number in sequence.numbers.tolist()]
    rows, places = rows_of(database, keys)
    return replace(
        sequence,
        proposals=Proposals(
            frames=sequence.numbers[places],
            boxes=database.boxes[rows],
            scores=database.scores[rows],
            labels=database.labels[rows],
        ),
        keyed=np.array([key in database.rows for key in keys], dtype=bool),
    )
