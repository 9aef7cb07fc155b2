"""A private folder of links to a dataset, which Ultralytics may write to.

It is trained on instead of the user's folders: Ultralytics unpickles ``.cache`` files that lie
beside labels, rewrites images that it finds damaged, and loads ``.npy`` files beside images.
None of those exist here, and nothing that it writes here reaches the user.
"""

import shutil
from pathlib import Path
from typing import Any

from backend.trainers.yolo.dataset import Example, Split


def build_view(folder: Path, train: Split, val: Split) -> dict[str, Any]:
    """Link both splits into ``folder``; return the data dictionary of an Ultralytics trainer.

    Images are numbered, so they are trained on in the same order wherever the dataset lies.
    """
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "path": str(folder),
        "train": str(_link(folder, "train", train)),
        "val": str(_link(folder, "val", val)),
        "names": dict(enumerate(train.names)),
        "nc": len(train.names),
        "channels": 3,
    }


def _link(folder: Path, role: str, split: Split) -> Path:
    images, labels = folder / "images" / role, folder / "labels" / role
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    lines = []
    for number, example in enumerate(split.examples):
        image = images / f"{number:08d}{example.image.suffix.lower()}"
        _link_or_copy(example.image, image)
        _copy_label(example, labels / f"{number:08d}.txt")
        lines.append(f"{image}\n")
    listing = folder / f"{role}.txt"
    listing.write_text("".join(lines), encoding="utf-8")
    return listing


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:  # Windows without the right to make links
        shutil.copyfile(source, target)


def _copy_label(example: Example, target: Path) -> None:
    if example.labels.rewrite:
        target.write_text(example.labels.text(), encoding="utf-8")
    elif example.label_file.is_file():
        shutil.copyfile(example.label_file, target)
