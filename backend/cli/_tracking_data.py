"""Tracking data on the command line: what assay dataset check and convert do with MOT folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from backend.cli._common import number, show, table

if TYPE_CHECKING:
    from backend.core.evidence import DataFinding, TrackCensus
    from backend.datasets.tracking import Conversion, Detections, MotOptions, TrackingData

FAULTY = 1


def is_mot(data: Path) -> bool:
    """Is it a folder of sequences as MOTChallenge has them?"""
    from backend.datasets.tracking import split_folders

    return bool(split_folders(data))


def check_mot(
    data: Path,
    splits: Sequence[str],
    detections: "Detections | None",
    options: "MotOptions",
    *,
    as_json: bool,
) -> "TrackingData":
    """Print a MOT folder in numbers, and what validation found."""
    from backend.datasets.tracking import read_tracking, split_folders

    read = read_tracking(data, splits or list(split_folders(data)), detections, options)
    if as_json:
        import json

        facts = {
            "splits": [one.model_dump(mode="json") for one in read.census],
            "findings": [one.model_dump(mode="json") for one in read.findings],
            "notes": [note for split in read.splits for note in split.notes],
        }
        show(json.dumps(facts, indent=2, ensure_ascii=False))
        return read
    show(f"{data}: MOT", *_tables(read.census))
    show(*(note for split in read.splits for note in split.notes))
    show(*map(said, read.findings))
    return read


def said(found: "DataFinding") -> str:
    """A finding in a line."""
    where = f" {found.split}:" if found.split else ""
    return f"{found.level} {found.code}:{where} {found.sentence}"


def end_if_faulty(read: "TrackingData") -> None:
    """End the command with another code than 0 if there are errors."""
    if read.errors:
        raise typer.Exit(FAULTY)


def convert_to_mot(data: Path, splits: Sequence[str], out: Path, how: "Conversion") -> None:
    """Convert COCO annotations and say what a person should know."""
    from backend.core.errors import DataError
    from backend.datasets.reading import coco_splits
    from backend.datasets.tracking import coco_to_mot

    places = coco_splits(data)
    missing = [split for split in splits if split not in places]
    if missing:
        raise DataError(f"{data}: no split '{missing[0]}'; it has {', '.join(places)}")
    made = coco_to_mot({name: places[name] for name in splits or places}, out, how)
    show(*made.notes, f"written: {made.folder}")


def _tables(splits: Sequence["TrackCensus"]) -> list[object]:
    columns = ("split", "sequences", "frames", "images", "boxes", "tracks", "median length",
               "frames without boxes", "ids")  # fmt: skip
    rows = [
        (one.split, str(one.sequences), str(one.frames), str(one.images), str(one.boxes),
         str(one.ids), number(one.track_length, 1), str(one.empty_frames), one.identities)
        for one in splits
    ]  # fmt: skip
    classes = [
        (name, *(str(one.counts.get(name, 0)) for one in splits))
        for name in dict.fromkeys(name for one in splits for name in one.counts)
    ]
    shown: list[object] = [
        table("splits", columns, rows), "",
        table("boxes per class", ("class", *(one.split for one in splits)), classes), "",
    ]  # fmt: skip
    if any(one.fields for one in splits):
        shown += [proposals_table(splits), ""]
    return shown


def proposals_table(splits: Sequence["TrackCensus"]) -> object:
    """How many proposals there are, and how many boxes they cover."""
    columns = ("split", "fields", "proposals", "per frame", "frames without", "recall", "sampled")
    rows = [
        (one.split, one.fields, str(one.proposals), number(one.proposals_per_frame, 1),
         str(one.without_proposals), number(one.recall, 3), str(one.sampled))
        for one in splits
    ]  # fmt: skip
    return table("proposals", columns, rows)
