"""The files of an evaluation: predictions, ground truth, and where its images lie.

``assay score tracking <ground_truth> <predictions>`` gives the evaluation's own numbers.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.core.errors import StoreError
from backend.core.workdir import write_atomic, write_json
from backend.datasets.tracking.mot_folder import CLASSES_FILE
from backend.datasets.tracking.records import TrackingSplit, TrackSequence
from backend.scoring.tracking.seqinfo import FILE
from backend.trainers.motrv2.collecting import Rows, truth_rows
from backend.trainers.motrv2.inference import Followed

PREDICTIONS, GROUND_TRUTH = "predictions", "ground_truth"
SEQUENCES_FILE = "sequences.json"
SEEN_FILE, CONFUSION_FILE = "tracks_seen.json", "confusion.json"


def write_predictions(folder: Path, followed: Sequence[Followed]) -> None:
    """``<sequence>.txt`` with ``frame,id,x,y,w,h,score,class,-1,-1``, also where nothing was
    tracked; classes count from 1. Raises StoreError."""
    _make(folder)
    for stale in folder.glob("*.txt"):
        stale.unlink()
    for one in followed:
        write_atomic(folder / f"{one.sequence.name}.txt", "".join(_predicted(one.shown)))


def write_truth(folder: Path, split: TrackingSplit, followed: Sequence[Followed]) -> None:
    """``classes.json``, ``sequences.json`` and, of each sequence, the boxes that count.

    Raises StoreError.
    """
    _make(folder)
    for stale in folder.glob("*/gt/gt.txt"):  # of an earlier evaluation: it would be scored too
        shutil.rmtree(stale.parents[1])
    write_json(folder / CLASSES_FILE, {"base": 1, "names": list(split.classes)})
    for one in followed:
        _write_sequence(folder / one.sequence.name, one)
    described = {
        "root": str(split.root.absolute()),
        "split": split.split,
        "classes": list(split.classes),
        "sequences": {one.sequence.name: _described(one, split.root) for one in followed},
    }
    write_atomic(folder / SEQUENCES_FILE, json.dumps(described, indent=1) + "\n")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made ({error.strerror})") from error


def _predicted(rows: Rows) -> Iterator[str]:
    columns = (rows.frames, rows.ids, rows.boxes, rows.scores, rows.labels + 1)
    for frame, one, box, score, label in zip(*(c.tolist() for c in columns), strict=True):
        place = ",".join(f"{value:.2f}" for value in box)
        yield f"{frame},{one},{place},{score:.6f},{label},-1,-1\n"


def _annotated(rows: Rows) -> Iterator[str]:
    """Numbers as exact as they were read."""
    columns = (rows.frames, rows.ids, rows.boxes, rows.labels + 1)
    for frame, one, box, label in zip(*(c.tolist() for c in columns), strict=True):
        yield f"{frame},{one},{','.join(map(repr, box))},1,{label},1\n"


def _write_sequence(folder: Path, one: Followed) -> None:
    sequence = one.sequence
    _make(folder / "gt")
    write_atomic(folder / "gt" / "gt.txt", "".join(_annotated(truth_rows(sequence))))
    entries = {
        "name": sequence.name,
        "frameRate": sequence.fps or "",
        "seqLength": max(1, int(sequence.numbers.max(initial=1))),
        "imWidth": one.size[0],
        "imHeight": one.size[1],
    }
    told = (f"{key}={value}\n" for key, value in entries.items() if value)
    write_atomic(folder / FILE, f"[Sequence]\n{''.join(told)}")


def _described(one: Followed, root: Path) -> dict[str, object]:
    sequence = one.sequence
    return {
        "fps": sequence.fps,
        "width": one.size[0],
        "height": one.size[1],
        "frames": _images(sequence, root.absolute()),
    }


def _images(sequence: TrackSequence, root: Path) -> dict[str, str]:
    """Frame number to the path of its image, relative to the data's folder."""
    return {
        str(number): os.path.relpath(path.absolute(), root)
        for number, path in zip(sequence.numbers.tolist(), sequence.images, strict=True)
        if path is not None
    }
