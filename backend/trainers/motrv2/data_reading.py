"""The splits a config asks for, with their detection database, validated before the first step."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from backend.core.digest import sha256
from backend.core.errors import ConfigError, DataError
from backend.core.records import DatasetInput
from backend.datasets.tracking import Expectations, MotOptions
from backend.datasets.tracking.records import TrackingSplit, TrackSequence
from backend.datasets.tracking.validation import (
    DATABASE,
    Detections,
    TrackingData,
    read_tracking,
)
from backend.trainers.motrv2.images import check_image
from backend.trainers.motrv2.spec import Motrv2Config

THREADS = 8


def read_data(
    config: Motrv2Config,
    splits: Sequence[str],
    root: Path | None = None,
    classes: Sequence[str] = (),
) -> TrackingData:
    """Splits of ``root`` (the config's data by default), held against the config, not refused yet.

    ``classes`` are the names expected of them, by default those of the config, which say nothing
    of the source domain: neither do its label filters. Raises DataError for what cannot be read,
    ConfigError if the detector's boxes are wanted and there are none.
    """
    root = root or config.data
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    own = not same_folder(root, config.source)
    names = tuple(classes) or (config.classes if own else ())
    options = MotOptions(classes=names, drop=config.drop if own else {})
    return read_tracking(root, splits, detections_of(config, root), options, wanted(config, names))


def wanted(config: Motrv2Config, classes: tuple[str, ...] = ()) -> Expectations:
    """What a config expects of its data."""
    return Expectations(
        classes=classes or None,
        embeds_classes=config.model.proposal_class == "embed",
        clip_length=max(config.clips.lengths),
        pseudo_clips=config.clips.pseudo,
        confirmed=frozenset(config.confirmed),
    )


def detections_of(config: Motrv2Config, root: Path) -> Detections | None:
    """The detection database for the data in ``root``; None if none is to be used.

    For the config's own data ``det_db.path`` comes first, else what lies in ``root``. Raises
    ConfigError if there is neither.
    """
    asked = config.det_db
    if not asked.use:
        return None
    own = same_folder(root, config.data)
    told = None if asked.path is None else Detections(asked.path, asked.fields)
    beside = Detections.beside(root, asked.fields) if own else Detections.beside(root)
    if found := (told or beside if own else beside or told):
        return found
    raise ConfigError(
        f"{root}: has no {DATABASE}, and det_db.path names none, but tracks begin at a detector's "
        "boxes; make one from its results (assay dataset detections), or set det_db.use: false"
    )


def as_input(split: TrackingSplit) -> DatasetInput:
    """The split as a run records it. ``digest``: over classes, images, labels and proposals; it
    does not depend on where the data lie. Raises DataError for an image that cannot be read,
    or has another size than the others of its sequence."""
    digest = hashlib.sha256(repr((split.classes, split.class_ids)).encode())
    with ThreadPoolExecutor(THREADS) as pool:
        for sequence in split.sequences:
            _add(digest, sequence, pool)
    return DatasetInput(
        name=split.root.resolve().name,
        path=str(split.root),
        split=split.split,
        digest=digest.hexdigest(),
        images=sum(path is not None for s in split.sequences for path in s.images),
        instances=sum(int(s.truth.targets.sum()) for s in split.sequences),
    )


def same_folder(one: Path, other: Path | None) -> bool:
    """Is the other one given, and the same place on disk?"""
    return other is not None and one.resolve() == other.resolve()


def _add(digest: "hashlib._Hash", sequence: TrackSequence, pool: ThreadPoolExecutor) -> None:
    size = (sequence.width, sequence.height)
    images = pool.map(partial(_digest, size=size), sequence.images)
    digest.update(f"\n{sequence.name}\0{sequence.numbers.tolist()}\0{','.join(images)}".encode())
    for rows in (sequence.truth, sequence.proposals):
        for name, values in vars(rows).items():
            digest.update(f"\0{name}{values.shape}".encode() + values.tobytes())


def _digest(image: Path | None, size: tuple[int | None, int | None]) -> str:
    width, height = size
    if image is None or width is None or height is None:
        return "none"
    check_image(image, (width, height))
    try:
        return sha256(image)
    except OSError as error:
        raise DataError(f"{image}: cannot be read ({error.strerror or error})") from None
