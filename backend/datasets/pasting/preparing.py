"""All that a training needs to make images, read and checked before it starts."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.config.synthetic import SyntheticConfig
from backend.core.records import DatasetInput
from backend.datasets.pasting.backgrounds import KEY as BACKGROUNDS
from backend.datasets.pasting.backgrounds import read_backgrounds
from backend.datasets.pasting.bank import KEY as ANNOTATED
from backend.datasets.pasting.bank import Wanted, read_bank
from backend.datasets.pasting.composing import Composer
from backend.datasets.pasting.leaks import Files, look_alikes, refuse_leaks

MUCH = 2**30
"""Bytes of cut-outs from which a person should think of memory."""
COUNTED = 50
"""Images that are made to count their objects."""
SHOWN = 5


@dataclass(frozen=True)
class Judged:
    """The images of a split that a model is judged on: sha256 to name, and where they are."""

    files: Files
    paths: Sequence[Path]


@dataclass(frozen=True)
class Pasting:
    """Copy-paste as it will be done. ``warnings`` are what a person should mend or know,
    ``remarks`` what was found."""

    composer: Composer
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def inputs(self) -> tuple[DatasetInput, ...]:
        """What a run records of both folders."""
        return self.composer.bank.as_input(), self.composer.backgrounds.as_input()

    @property
    def digest(self) -> str:
        """Of everything that is pasted from."""
        both = self.composer.bank.digest + self.composer.backgrounds.digest
        return hashlib.sha256(both.encode()).hexdigest()

    def made(self, real: int) -> int:
        """Made images in an epoch with so many real ones."""
        return self.composer.how.made(real)

    def objects(self, made: int) -> dict[str, int]:
        """About how many objects of each class so many made images have, from a few of them."""
        names = self.composer.bank.names
        rng = np.random.default_rng(0)
        images = [self.composer.make(rng) for _ in range(COUNTED)]
        counts = Counter(names[label] for image in images for label in image.labels.tolist())
        return {name: round(counts[name] * made / COUNTED) for name in names}


def prepare_composer(
    how: SyntheticConfig, names: tuple[str, ...], side: int, flip: float
) -> Composer:
    """Read both folders. ``names`` are the classes of the training, ``side`` its image size,
    ``flip`` its chance of mirroring. Raises DataError."""
    assert how.annotated_dir is not None
    assert how.backgrounds_dir is not None
    bank = read_bank(how.annotated_dir, Wanted(names, side, how.per_class, how.ignore))
    return Composer(bank, read_backgrounds(how.backgrounds_dir, side), how, flip)


def prepare_pasting(
    composer: Composer, judged: Mapping[str, Judged], trained: Files, real: int
) -> Pasting:
    """Check the folders against the images that a model is judged on (by split) and against
    those that it is ``trained`` on and that have objects. Raises DataError for a leak."""
    bank, backgrounds = composer.bank, composer.backgrounds
    refuse_leaks(
        {ANNOTATED: bank.files, BACKGROUNDS: backgrounds.files},
        {split: images.files for split, images in judged.items()},
    )
    places = {
        ANNOTATED: [bank.folder / name for name in bank.files.values()],
        BACKGROUNDS: [item.path for item in backgrounds.items],
    }
    alike = look_alikes(places, {split: images.paths for split, images in judged.items()})
    return Pasting(
        composer=composer,
        warnings=(*_damaged(composer), *_unlabelled(composer, trained), *alike),
        remarks=(_in_an_epoch(composer.how, real), *remarks_of(composer)),
    )


def _damaged(composer: Composer) -> Iterator[str]:
    folders = {ANNOTATED: composer.bank.damaged, BACKGROUNDS: composer.backgrounds.damaged}
    for key, files in folders.items():
        if files:
            shown = "; ".join(files[:SHOWN]) + ("; …" if len(files) > SHOWN else "")
            yield f"{key}: {len(files)} files cannot be read and are left out: {shown}"
    if composer.bank.bytes > MUCH:
        yield (
            f"{ANNOTATED}: the cut-outs take {_size(composer.bank.bytes)} of memory; lower "
            "synthetic.per_class if that is too much"
        )


def _unlabelled(composer: Composer, trained: Files) -> Iterator[str]:
    """Backgrounds with objects that will have no label."""
    known = {**trained, **composer.bank.files}
    both = [name for digest, name in composer.backgrounds.files.items() if digest in known]
    if both:
        yield (
            f"{BACKGROUNDS}: {len(both)} images have labelled objects elsewhere ({both[0]}); as "
            "backgrounds they show objects without labels, which teaches the network to miss them"
        )


def remarks_of(composer: Composer) -> Iterator[str]:
    """What was found in both folders, in sentences."""
    bank, backgrounds = composer.bank, composer.backgrounds
    kinds = Counter(cutout.kind for cutout in bank.cutouts)
    made = ", ".join(f"{count} by mask: {kind}" for kind, count in sorted(kinds.items()))
    yield (
        f"copy-paste: {len(bank.cutouts)} cut-outs ({made}; {_size(bank.bytes)}) from "
        f"{len(bank.files)} images, and {len(backgrounds.items)} backgrounds "
        f"({_size(backgrounds.bytes)})"
    )
    for reason, count in sorted(bank.unused.items()):
        yield f"{ANNOTATED}: {count} objects are not cut out: {reason}"
    present = {bank.names[of_class[0].label] for of_class in bank.by_class}
    absent = [name for name in bank.names if name not in present]
    if absent:
        shown = ", ".join(absent[:SHOWN]) + (", …" if len(absent) > SHOWN else "")
        yield f"{ANNOTATED}: nothing to cut out of {len(absent)} trained classes: {shown}"


def _in_an_epoch(how: SyntheticConfig, real: int) -> str:
    ends = f" (except the last {how.close})" if how.close else ""
    return f"copy-paste: each epoch{ends} has {how.made(real)} made images beside {real} real ones"


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
