"""N1, N2, S1: a detection database that belongs to the frames and holds usable numbers."""

from collections.abc import Iterator

import numpy as np

from backend.core.evidence import DataFinding
from backend.datasets.findings import finding
from backend.datasets.tracking.detection_db import (
    BEYOND,
    DetectionDatabase,
    beyond,
    corners_sentence,
)
from backend.datasets.tracking.detection_fields import DatabaseError
from backend.datasets.tracking.proposals import expected_key
from backend.datasets.tracking.records import TrackingSplit

HIT = 0.95
_CODES = {"DUPLICATE_FRAME_KEY": "N1", "CLASS_OUT_OF_RANGE": "N5"}
_SHOWN = 3


def check_unreadable(error: DatabaseError) -> DataFinding:
    """A database that was refused."""
    code = _CODES.get(error.kind, "N2")
    return finding(code, "error", "", str(error).removesuffix("."))


def check_hits(split: TrackingSplit, database: DetectionDatabase) -> Iterator[DataFinding]:
    """N1: how many frames have a key."""
    hits = sum(int(s.keyed.sum()) for s in split.sequences if s.keyed is not None)
    rate = hits / max(1, split.frames)
    numbers = {"hits": hits, "frames": split.frames, "rate": rate}
    if not hits:
        yield finding("N1", "error", split.split, _no_hit(split, database), **numbers)
    elif rate < HIT:
        sentence = (
            f"only {hits:,} of {split.frames:,} frames ({rate:.1%}) have a key in the detection "
            "database; the others count as frames without detections"
        )
        yield finding("N1", "warning", split.split, sentence, **numbers)


def check_coordinates(split: TrackingSplit) -> Iterator[DataFinding]:
    """N2: boxes that end right of their image."""
    parts = [
        beyond(sequence.proposals.boxes, sequence.width) * len(sequence.proposals.boxes)
        for sequence in split.sequences
        if sequence.width is not None
    ]
    known = sum(len(s.proposals.boxes) for s in split.sequences if s.width is not None)
    share = sum(parts) / max(1, known)
    if share > BEYOND:
        yield finding("N2", "error", split.split, corners_sentence(share), share=share)


def check_scores(database: DetectionDatabase) -> Iterator[DataFinding]:
    """S1: scores that are all the same."""
    if database.constant_score:
        score = float(np.median(database.scores))
        sentence = (
            f"all {len(database.scores):,} detections have the score {score:g}, so scores tell "
            "the model nothing"
        )
        yield finding("S1", "warning", "", sentence, score=score, count=len(database.scores))


def _no_hit(split: TrackingSplit, database: DetectionDatabase) -> str:
    first = [(s, int(s.numbers[0])) for s in split.sequences if len(s.numbers)][:_SHOWN]
    wanted = [expected_key(sequence, split.root, number) for sequence, number in first]
    has = [f"{spelt} (read as {key})" for key, spelt in list(database.spelt.items())[:_SHOWN]]
    return (
        f"no frame of this split has a key in the detection database: it was looked for as "
        f"{', '.join(wanted)}, the database has {', '.join(has) or 'no keys'}"
    )
