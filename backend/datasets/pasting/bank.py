"""The bank of cut-out objects, read once before a training."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from backend.core.errors import DataError
from backend.core.records import DatasetInput
from backend.datasets.pasting.annotated import (
    Annotated,
    class_names,
    images_below,
    read_annotated,
)
from backend.datasets.pasting.cutting import CutOut, cut, sized
from backend.hardware.memory import diagnose
from backend.scoring.detection.class_names import matched

THREADS = 4
SHOWN = 5
KEY = "synthetic.annotated_dir"


@dataclass(frozen=True)
class Bank:
    """Cut-outs in order of image. ``files``: sha256 of each image that was used, to its name;
    ``digest`` is over names, images and labels and does not depend on where the folder lies;
    ``damaged``: files that cannot be read; ``unused``: why how many objects were left out."""

    folder: Path
    names: tuple[str, ...]
    cutouts: tuple[CutOut, ...]
    files: Mapping[bytes, str]
    digest: str
    damaged: tuple[str, ...] = ()
    unused: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def by_class(self) -> tuple[tuple[CutOut, ...], ...]:
        """The cut-outs of each class that has any."""
        labels = sorted({cutout.label for cutout in self.cutouts})
        return tuple(tuple(c for c in self.cutouts if c.label == label) for label in labels)

    @property
    def bytes(self) -> int:
        return sum(cutout.pixels.nbytes for cutout in self.cutouts)

    def as_input(self) -> DatasetInput:
        """What a run records of it."""
        return DatasetInput(
            name=self.folder.name,
            path=str(self.folder),
            split="annotated",
            digest=self.digest,
            images=len(self.files),
            instances=len(self.cutouts),
        )


@dataclass(frozen=True)
class Wanted:
    """What is cut out: of classes ``names`` (training's own), at most ``per_class``, from images
    no larger than ``side``. ``ignore`` are classes of the folder that are left out."""

    names: tuple[str, ...]
    side: int
    per_class: int
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Cut:
    """One image's cut-outs, the reasons of those that cannot be used, and the file's digest."""

    cutouts: tuple[CutOut, ...]
    unused: tuple[str, ...]
    digest: bytes


def read_bank(folder: Path, wanted: Wanted) -> Bank:
    """Cut out what is wanted. Of a class with more objects than ``per_class`` those are taken
    that are spread evenly over the images.

    Raises DataError for a missing folder or names, a class that training does not know, or if
    nothing is left to paste.
    """
    images = images_below(folder, KEY)
    names = class_names(folder)
    damaged, read = _read_labels(images, len(names))
    labels = _labels(folder, names, read, wanted)
    chosen = _chosen(read, labels, wanted.per_class)
    with ThreadPoolExecutor(THREADS) as pool:
        work = partial(_cut_image, labels=labels, side=wanted.side)
        results = list(pool.map(work, read, chosen))
    damaged += [result for result in results if isinstance(result, str)]
    pairs = [(a, r) for a, r in zip(read, results, strict=True) if isinstance(r, _Cut)]
    made = [(about, result) for about, result in pairs if result.cutouts or result.unused]
    bank = Bank(
        folder=folder,
        names=wanted.names,
        cutouts=tuple(cutout for _, result in made for cutout in result.cutouts),
        files={result.digest: about.name for about, result in made},
        digest=_digest(names, made),
        damaged=tuple(damaged),
        unused=Counter(reason for _, result in made for reason in result.unused),
    )
    if not bank.cutouts:
        raise DataError(f"{KEY}: {folder} has nothing to cut out: {_why_empty(bank, len(images))}")
    return bank


def _read_labels(
    images: Sequence[tuple[Path, str]], classes: int
) -> tuple[list[str], list[Annotated]]:
    damaged, read = [], []
    for image, name in images:
        try:
            read.append(read_annotated(image, name, classes))
        except DataError as error:
            damaged.append(str(error))
    return damaged, read


def _labels(
    folder: Path, names: Sequence[str], read: Sequence[Annotated], wanted: Wanted
) -> dict[int, int]:
    """Class in the folder to class in training, by name. Raises DataError for unknown ones."""
    places, ignored = matched(names, wanted.names), set(matched(wanted.ignore, names))
    met = {outline.label for about in read for outline in about.outlines} - ignored
    unknown = sorted(names[label] for label in met if places[label] is None)
    if unknown:
        shown = ", ".join(unknown[:SHOWN]) + (", …" if len(unknown) > SHOWN else "")
        raise DataError(
            f"{KEY}: {folder} has classes that are not trained: {shown}; rename them there, or "
            f"list them in synthetic.ignore (trained are {', '.join(wanted.names)})"
        )
    return {
        number: place
        for number, place in enumerate(places)
        if place is not None and number not in ignored
    }


def _chosen(
    read: Sequence[Annotated], labels: Mapping[int, int], most: int
) -> list[tuple[int, ...]]:
    """The places of the outlines to cut out of each image."""
    places: dict[int, list[tuple[int, int]]] = {}
    for at, about in enumerate(read):
        for place, outline in enumerate(about.outlines):
            if outline.label in labels:
                places.setdefault(outline.label, []).append((at, place))
    kept: list[list[int]] = [[] for _ in read]
    for found in places.values():
        count = min(most, len(found))
        for at, place in (found[step * len(found) // count] for step in range(count)):
            kept[at].append(place)
    return [tuple(sorted(places)) for places in kept]


def _cut_image(
    about: Annotated, chosen: Sequence[int], labels: Mapping[int, int], side: int
) -> _Cut | str:
    """What was cut out, or the name of a file that cannot be read, with the reason."""
    if not chosen:
        return _Cut((), (), b"")
    try:
        content = about.image.read_bytes()
        with Image.open(BytesIO(content)) as image:
            source = sized(ImageOps.exif_transpose(image), side)
    except Exception as error:  # decoders raise what they like at damaged files
        if diagnose(error):
            raise
        return f"{about.name} ({error or type(error).__name__})"
    results = [
        cut(source, about.outlines[at], about.outlines, labels[about.outlines[at].label])
        for at in chosen
    ]
    return _Cut(
        tuple(result for result in results if isinstance(result, CutOut)),
        tuple(result for result in results if isinstance(result, str)),
        hashlib.sha256(content).digest(),
    )


def _digest(names: Sequence[str], made: Sequence[tuple[Annotated, _Cut]]) -> str:
    digest = hashlib.sha256(json.dumps(list(names)).encode())
    for about, result in made:
        digest.update(result.digest + hashlib.sha256(about.content).digest())
    return digest.hexdigest()


def _why_empty(bank: Bank, images: int) -> str:
    reasons = [f"{count} objects are left out ({why})" for why, count in bank.unused.items()]
    if bank.damaged:
        reasons.append(f"{len(bank.damaged)} files are damaged; the first: {bank.damaged[0]}")
    return "; ".join(reasons) or f"none of its {images} images has a label of a trained class"
