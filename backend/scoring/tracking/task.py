"""Multi-object tracking: HOTA, CLEAR (MOTA) and Identity (IDF1). trackeval is the judge.

There are several views of the same boxes. The class-agnostic one measures tracking, and its
metrics have plain names. A class's view holds that class's boxes only; an object that changes
its class is two objects there. ``cls_`` metrics are means (counts: sums) over the classes that
have ground truth; ``det_`` metrics pool the boxes of all class views.

Ground truth of mark 0 is dropped, and nothing else is: MOTChallenge's own protocol would also
delete what was predicted on its "distractor" classes 2, 7, 8 and 12, and score class 1 alone.
"""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from backend.config.schema import DataPath, Section
from backend.core.errors import DataError
from backend.core.wording import some
from backend.scoring.evidence import Floats, Task
from backend.scoring.tracking.classes import Settled, listed_names, read_names, settle
from backend.scoring.tracking.clear_hota import SPECS, metrics, sums
from backend.scoring.tracking.evidence import TrackingEvidence, restore, sha256
from backend.scoring.tracking.motchallenge import Sequence, Tracks, read_sequences

__all__ = [
    "TASK",
    "Sequence",
    "TrackingEvidence",
    "TrackingOptions",
    "class_names",
    "match",
    "read",
    "restore",
]

_CLASS_NAMES = "classes.json"


def _listed(value: object) -> object:
    """Names between commas, as they come from a command line, unless a file is called so."""
    text = str(value) if isinstance(value, str | Path) else ""
    if "," not in text or Path(text).is_file():
        return value
    return tuple(name.strip() for name in text.split(","))


class TrackingOptions(Section):
    """What the files leave open."""

    classes: Annotated[tuple[str, ...] | DataPath | None, BeforeValidator(_listed)] = Field(
        None,
        description="Class names in the order of ids from 1 (a,b,c), or a file of them; by "
        "default classes.json in or above the ground truth, else the ids that occur there.",
    )
    threshold: float = Field(
        0.5, gt=0, le=1, description="IoU from which MOTA, IDF1 and their parts count a match."
    )


def match(
    sequences: Iterable[Sequence],
    names: Mapping[int, str] | None = None,
    threshold: float = 0.5,
    warnings: Iterable[str] = (),
) -> TrackingEvidence:
    """Match each sequence once, in every view; ``names`` are the classes that may occur, by id.

    Raises DataError with one sentence for no or equally named sequences, frames beyond a
    sequence's length, an id twice in a frame, and classes that contradict each other.
    """
    settled = settle(_checked(tuple(sequences)), names)
    labels = (*settled.names, *settled.strays)
    summed = np.stack(
        [_views(sequence, labels, threshold) for sequence in settled.sequences], axis=1
    )
    return TrackingEvidence(
        units=tuple(sequence.name for sequence in settled.sequences),
        classes=tuple(settled.names.values()),
        strays=tuple(str(label) for label in settled.strays),
        summed=summed,
        labelled=settled.labelled,
        threshold=threshold,
        truth_digest=_digest(settled),
        warnings=(*warnings, *settled.warnings, *_warnings(settled, summed)),
    )


def read(ground_truth: Path, predictions: Path, options: TrackingOptions) -> TrackingEvidence:
    """Score MOTChallenge files (``motchallenge.read_sequences``). Raises DataError."""
    sequences, warnings = read_sequences(ground_truth, predictions)
    return match(sequences, class_names(ground_truth, options), options.threshold, warnings)


def class_names(ground_truth: Path, options: TrackingOptions) -> dict[int, str] | None:
    """Class id to name as the options or a file beside the ground truth say; None if neither does.

    Raises DataError for a file that cannot be read as names.
    """
    if isinstance(options.classes, Path):
        return read_names(options.classes)
    if options.classes is not None:
        return listed_names(options.classes)
    folder = ground_truth.resolve()
    beside = [path / _CLASS_NAMES for path in (folder, folder.parent)]
    return next((read_names(path) for path in beside if path.is_file()), None)


def _checked(sequences: tuple[Sequence, ...]) -> tuple[Sequence, ...]:
    names = [sequence.name for sequence in sequences]
    if not names:
        raise DataError("tracking: no sequences, so there is nothing to score")
    if len(set(names)) < len(names):
        raise DataError(f"tracking: two sequences have the same name, of {some(names)}")
    for sequence in sequences:
        for side in (sequence.truth, sequence.predictions):
            _check_length(side, sequence)
            _check_unique(side)
    return sequences


def _check_length(side: Tracks, sequence: Sequence) -> None:
    if sequence.length is not None and side.frames.max(initial=0) > sequence.length:
        row = int((side.frames > sequence.length).argmax())
        raise DataError(
            f"{side.where(row)}: frame {side.frames[row]}, but sequence '{sequence.name}' has "
            f"{sequence.length} frames"
        )


def _check_unique(side: Tracks) -> None:
    order = np.lexsort((side.ids, side.frames))
    frames, ids = side.frames[order], side.ids[order]
    twice = (frames[1:] == frames[:-1]) & (ids[1:] == ids[:-1])
    if twice.any():
        first, second = order[int(twice.argmax()) :][:2].tolist()
        raise DataError(
            f"{side.where(second)}: id {side.ids[second]} a second time in frame "
            f"{side.frames[second]} (see also {side.where(first).rsplit(', ', 1)[1]}); one "
            "object has one box, and objects of different classes have different ids"
        )


def _views(sequence: Sequence, labels: tuple[int, ...], threshold: float) -> Floats:
    """The sums of the class-agnostic view and of each class, (views, WIDTH)."""
    truth, predictions = sequence.truth, sequence.predictions
    whole = sums(truth, predictions, threshold)
    views = [whole]
    for label in labels:
        mine, found = truth.classes == label, predictions.classes == label
        same = mine.all() and found.all()
        views.append(whole if same else sums(truth.only(mine), predictions.only(found), threshold))
    return np.stack(views)


def _digest(settled: Settled) -> str:
    """Sha256 over sequences, classes and true boxes, whatever the order of rows."""
    parts = [repr(settled.names)]
    for sequence in settled.sequences:
        truth = sequence.truth
        order = np.lexsort((truth.ids, truth.frames))
        rows = (truth.frames[order], truth.ids[order], truth.classes[order], truth.boxes[order])
        content = hashlib.sha256(b"".join(column.tobytes() for column in rows))
        parts += [sequence.name, content.hexdigest()]
    return sha256(*parts)


def _warnings(settled: Settled, summed: Floats) -> list[str]:
    whole, classes = metrics(summed[0]), metrics(summed[1:].sum(axis=1))
    names = np.array([sequence.name for sequence in settled.sequences])
    warnings = [
        *_empty(names, whole["gt_dets"], "The ground truth has no boxes: rates are undefined",
                "No ground truth, so that whatever is found counts as wrong, in"),
        *_empty(names, whole["pred_dets"], "There are no predictions at all",
                "No predictions in"),
    ]  # fmt: skip
    flat = sum(
        int((side.boxes[:, 2:] == 0).any(axis=1).sum())
        for sequence in settled.sequences
        for side in (sequence.truth, sequence.predictions)
    )
    if flat:
        warnings.append(f"{flat} boxes have no area, so nothing can match them.")
    labels = (*settled.names.values(), *map(str, settled.strays))
    wrong = [
        f"{label} ({boxes:.0f})"
        for label, true, boxes in zip(labels, classes["gt_dets"], classes["FP"], strict=True)
        if true == 0 and boxes > 0
    ]
    if wrong:
        warnings.append(
            "Classes without ground truth count in no cls_ metric; their false positives: "
            f"{some(wrong)}."
        )
    return warnings


def _empty(names: NDArray[np.str_], boxes: Floats, everywhere: str, somewhere: str) -> list[str]:
    lacking = names[boxes == 0].tolist()
    if len(lacking) == len(names):
        return [f"{everywhere}."]
    return [f"{somewhere}: {some(lacking)}."] if lacking else []


TASK = Task(
    name="tracking",
    unit="sequence",
    primary="HOTA",
    unit_metric="HOTA",
    evaluator=f"assay.tracking 1, trackeval {version('trackeval')}",
    metrics=SPECS,
    options=TrackingOptions,
    read=read,
    restore=restore,
)
