"""What is wrong with tracking data before the first step: findings N1 to N9 and S1 to S4."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from backend.core.evidence import DataFinding, TrackCensus
from backend.datasets.findings import errors_of, refuse
from backend.datasets.tracking import check_classes, check_frames, check_proposals
from backend.datasets.tracking.census import census
from backend.datasets.tracking.check_database import (
    check_coordinates,
    check_hits,
    check_scores,
    check_unreadable,
)
from backend.datasets.tracking.check_identities import check_continuity, check_identities
from backend.datasets.tracking.detection_db import (
    DatabaseOptions,
    DetectionDatabase,
    read_database,
)
from backend.datasets.tracking.detection_fields import AUTO, DatabaseError
from backend.datasets.tracking.detection_keys import KeyRule
from backend.datasets.tracking.expectations import Expectations
from backend.datasets.tracking.mot_folder import IMAGE_FOLDER, MotOptions, read_together
from backend.datasets.tracking.proposals import with_proposals
from backend.datasets.tracking.records import TrackingSplit

DATABASE = "det_db.json"
"""The detection database of a data folder that brings its own."""


@dataclass(frozen=True)
class TrackingData:
    """Splits with their proposals, what was found, and each split in numbers."""

    splits: tuple[TrackingSplit, ...]
    findings: tuple[DataFinding, ...]
    census: tuple[TrackCensus, ...]

    @property
    def errors(self) -> tuple[DataFinding, ...]:
        """The findings that training must not begin with."""
        return errors_of(self.findings)

    def refuse(self) -> None:
        """Raise DataError with the first error, if there is one."""
        refuse(self.splits[0].root, self.findings, "assay dataset check")


@dataclass(frozen=True)
class Detections:
    """A detection database on disk, and its order of fields or ``auto``."""

    path: Path
    fields: str = AUTO

    @classmethod
    def beside(cls, root: Path, fields: str = AUTO) -> Self | None:
        """That of a data folder which brings its own."""
        path = root / DATABASE
        return cls(path, fields) if path.is_file() else None


def read_tracking(
    root: Path,
    splits: Sequence[str],
    detections: Detections | None = None,
    options: MotOptions | None = None,
    wanted: Expectations | None = None,
) -> TrackingData:
    """The splits of a MOT folder with their proposals, validated.

    Raises DataError for what cannot be read at all; a database that is refused is a finding.
    """
    wanted = wanted or Expectations()
    read = read_together(root, splits, options)
    if detections is None:
        return _data(read, None, validate(read, wanted))
    try:
        database = read_database(detections.path, _options(root, read, detections, wanted))
    except DatabaseError as error:
        found = (check_unreadable(error), *validate(read, wanted))
        return _data(read, None, tuple(sorted(found, key=_code)))
    joined = [with_proposals(split, database) for split in read]
    return _data(joined, database, validate(joined, wanted, database))


def validate(
    splits: Sequence[TrackingSplit],
    wanted: Expectations,
    database: DetectionDatabase | None = None,
) -> tuple[DataFinding, ...]:
    """Every finding, in the order of its code; splits as ``with_proposals`` gives them."""
    found = [one for split in splits for one in _of_split(split, wanted, database)]
    found += check_frames.check_overlap(splits)
    if database is not None:
        found += check_scores(database)
    return tuple(sorted(found, key=_code))


def _code(found: DataFinding) -> str:
    return found.code


def _of_split(
    split: TrackingSplit, wanted: Expectations, database: DetectionDatabase | None
) -> Iterator[DataFinding]:
    yield from check_classes.check_ids(split)
    yield from check_classes.check_names(split, database.names if database else (), wanted)
    yield from check_classes.check_number(split, wanted)
    yield from check_classes.check_filters(split, wanted)
    yield from check_identities(split, wanted)
    yield from check_continuity(split)
    yield from check_frames.check_files(split)
    yield from check_frames.check_rows(split, wanted)
    yield from check_frames.check_emptiness(split, proposals=database is not None)
    if database is not None:
        yield from check_hits(split, database)
        yield from check_coordinates(split)
        yield from check_proposals.check_recall(split)
        yield from check_proposals.check_class_ids(split, database, wanted)


def _options(
    root: Path, splits: Sequence[TrackingSplit], detections: Detections, wanted: Expectations
) -> DatabaseOptions:
    """Keys below this root; classes as the data declare them, or as they are wanted."""
    first = splits[0]
    images = {sequence.images_in for split in splits for sequence in split.sequences}
    return DatabaseOptions(
        fields=detections.fields,
        classes=len(first.classes) if first.declared else wanted.wanted,
        keys=KeyRule(root, frozenset({IMAGE_FOLDER, *images})),
    )


def _data(
    splits: Sequence[TrackingSplit],
    database: DetectionDatabase | None,
    findings: tuple[DataFinding, ...],
) -> TrackingData:
    fields = database.fields if database else ""
    return TrackingData(tuple(splits), findings, tuple(census(one, fields) for one in splits))
