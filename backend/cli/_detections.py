"""assay dataset detections: detection databases from what any detector wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from backend.cli._common import show
from backend.cli._tracking_data import proposals_table, said

if TYPE_CHECKING:
    from backend.datasets.tracking import TrackingData
    from backend.datasets.tracking.detection_frames import Frames
    from backend.datasets.tracking.detection_sources import Detected


@dataclass(frozen=True)
class Asked:
    """Where detections are, their format if it is told, files of images, splits."""

    sources: tuple[Path, ...]
    form: str | None
    annotations: tuple[Path, ...]
    splits: tuple[str, ...]


def build(
    data: Path, out: Path, asked: Asked, how: tuple[tuple[str, ...], float, str], *, as_json: bool
) -> None:
    """Write the database and say how it hits and covers the data. Raises AssayError."""
    from backend.core.errors import ConfigError, DataError
    from backend.datasets.tracking import read_together, split_folders
    from backend.datasets.tracking.detection_building import (
        Building,
        Scores,
        build_database,
        examined,
    )
    from backend.datasets.tracking.detection_frames import Frames

    if out.exists():
        raise ConfigError(f"--out {out}: it is there already; name a new file")
    if how[2] not in get_args(Scores):
        raise ConfigError(f"--scores {how[2]}: expected {', '.join(get_args(Scores))}")
    splits = asked.splits or tuple(split_folders(data))
    if not splits:
        raise DataError(f"{data}: no MOT folder of <split>/<sequence>/gt/gt.txt")
    frames = Frames(read_together(data, splits))
    made = build_database(
        frames, _read(frames, asked), Building(how[0], how[1], cast(Scores, how[2]))
    )
    made.write(out)
    _report(examined(out, made.splits), made.notes, out, as_json=as_json)


def _read(frames: "Frames", asked: Asked) -> "list[Detected]":
    from backend.core.errors import ConfigError
    from backend.datasets.tracking.detection_sources import Format, format_of, read_detections

    if asked.form is not None and asked.form not in get_args(Format):
        raise ConfigError(f"--format {asked.form}: expected {', '.join(get_args(Format))}")
    if asked.annotations and len(asked.annotations) != len(asked.sources):
        raise ConfigError("--annotations: name one for each --from, in the same order")
    images = asked.annotations or (None,) * len(asked.sources)
    return [
        read_detections(path, cast(Format, asked.form or format_of(path)), frames, file)
        for path, file in zip(asked.sources, images, strict=True)
    ]


def _report(read: "TrackingData", notes: tuple[str, ...], out: Path, *, as_json: bool) -> None:
    hits = {
        split.split: sum(int(s.keyed.sum()) for s in split.sequences if s.keyed is not None)
        for split in read.splits
    }
    if as_json:
        import json

        facts = {
            "written": str(out),
            "hits": hits,
            "splits": [one.model_dump(mode="json") for one in read.census],
            "findings": [one.model_dump(mode="json") for one in read.findings],
            "notes": notes,
        }
        show(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    show(proposals_table(read.census), "", *notes)
    for split in read.splits:
        rate = hits[split.split] / max(1, split.frames)
        show(f"{split.split}: {hits[split.split]:,} of {split.frames:,} frames ({rate:.1%}) have "
             "a key")  # fmt: skip
    show(*map(said, read.findings))
    show(f"written: {out}")
