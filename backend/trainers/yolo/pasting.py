"""Copy-paste for a YOLO training: its folders, checked against the dataset. No torch."""

import hashlib
from collections.abc import Sequence

from backend.core.errors import DataError
from backend.datasets.pasting import Judged, Pasting, prepare_composer, prepare_pasting
from backend.scoring.detection.yolo_datafile import DataFile
from backend.trainers.yolo.dataset import Split
from backend.trainers.yolo.spec import YoloConfig


def pasting_of(
    config: YoloConfig, data: DataFile, train: Split, scored: Sequence[Split]
) -> Pasting | None:
    """What is pasted; None if nothing is. ``scored`` are the splits of validation and of
    forgetting; other splits than train that the data.yaml names are read here.

    Raises DataError for what is wrong with the folders, or if they hold held-out images.
    """
    if not config.synthetic.active or config.synthetic.close >= config.epochs:
        return None
    composer = prepare_composer(config.synthetic, train.names, config.imgsz, config.augment.fliplr)
    judged = {_title(split, train): _judged(split) for split in scored}
    for name in data.splits.keys() - {"train", "val"}:
        judged[name] = _unread(data, name)
    trained = {e.digest: e.name for e in train.examples if e.labels.rows}
    return prepare_pasting(composer, judged, trained, len(train.examples))


def why_off(config: YoloConfig) -> list[str]:
    """Why nothing is pasted though it may be; it is to be heard of in each such run."""
    how = config.synthetic
    if not how.enabled or how.annotated_dir is not None:
        return []
    return [
        "copy-paste is off: synthetic.annotated_dir and synthetic.backgrounds_dir name no folders"
    ]


def _title(split: Split, train: Split) -> str:
    return split.split if split.data == train.data else f"{split.split} of {split.data.parent}"


def _judged(split: Split) -> Judged:
    files = {example.digest: example.name for example in split.examples}
    return Judged(files, [example.image for example in split.examples])


def _unread(data: DataFile, split: str) -> Judged:
    """A split that this training does not read; one that is not there leaks nothing."""
    try:
        images = data.images(split)
    except DataError:
        return Judged({}, [])
    files = {}
    for image, name in images:
        if image.is_file():
            files[hashlib.sha256(image.read_bytes()).digest()] = name
    return Judged(files, [image for image, _ in images])
