"""Handwritten digits in scenes: the demo's three detection datasets, made of real pixels.

The ink is that of the 1,797 scans that scikit-learn ships as ``load_digits``, the test part of
"Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning
Repository, 1998, doi:10.24432/C50P49, CC BY 4.0): 8x8 pixels in 17 grey levels, written by 13
people. Each scan is enlarged smoothly, turned, sized and set as ink on a made background.

==============  ======================  =======================================================
``source``      ruled paper, dark pen   enough images to pre-train a small detector on
``target-same`` ruled paper, dark pen   the same domain, but only a few images to train on
``target-new``  stained board, chalk    a new domain: light on dark, clutter, tilt, more scales
==============  ======================  =======================================================

All three have the same ten classes, so a model can be scored on any of them and forgetting can
be measured. A scan is used in one split of one dataset only: what is on a holdout image was
seen by no training, in whichever domain.

Each dataset is a folder with ``data.yaml``, ``images/<split>/*.jpg``, ``labels/<split>/*.txt``
(YOLO) and ``annotations/<split>.json`` (COCO).
"""

import importlib
import itertools
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.core.errors import ConfigError, DataError
from backend.synthetic import _yolo_files
from backend.synthetic._scenes import BOARD, PAPER, Domain, Scan, Scene, compose

VERSION = 1  # rises when the same seed gives other files
SIDE = 96  # pixels
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = ("train", "val", "holdout")
DOMAINS: Mapping[str, Domain] = {"source": PAPER, "target-same": PAPER, "target-new": BOARD}
IMAGES: Mapping[str, tuple[int, int, int]] = {  # train, val, holdout
    "source": (240, 80, 80),
    "target-same": (12, 48, 120),
    "target-new": (32, 48, 120),
}
_SHARES: Mapping[str, tuple[int, int, int]] = {  # of each class's scans, in percent
    "source": (32, 8, 10),
    "target-same": (6, 8, 10),
    "target-new": (8, 8, 10),
}
_MANIFEST = "manifest.json"
_CREDIT = (
    "Pixels of the digits: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, "
    "UCI Machine Learning Repository, doi:10.24432/C50P49, CC BY 4.0, by way of scikit-learn's "
    "load_digits; enlarged, turned, coloured and set on made backgrounds by Assay."
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DigitsData:
    """Where the three datasets are: the paths of their ``data.yaml`` files."""

    root: Path
    source: Path
    target_same: Path
    target_new: Path


def write_digits(
    root: Path,
    *,
    seed: int = 0,
    images: Mapping[str, tuple[int, int, int]] = IMAGES,
    progress: Progress | None = None,
) -> DigitsData:
    """The three datasets below ``root``, written unless they are there already.

    ``images`` gives the number of images of each dataset's train, val and holdout split;
    ``progress`` is called with images done and images in all. The folder appears whole or not
    at all. The same seed and counts give the same files.

    Raises:
        ConfigError: scikit-learn is not installed.
        DataError: ``root`` holds something else or is incomplete, or cannot be written.
    """
    manifest = _manifest(seed, images)
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        _require_same(root, manifest)
        return _located(root)
    scans = _load_scans()
    making = root.parent / f".{root.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        making.mkdir(parents=True)
        _write(making, scans, seed, images, progress or _silent)
        (making / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        making.replace(root)
    except OSError as error:
        if not (root / _MANIFEST).is_file():
            raise DataError(
                f"{root}: the demo data could not be written ({error.strerror or error}); "
                "make room or choose another folder"
            ) from error
        _require_same(root, manifest)  # another process was faster
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return _located(root)


def partition(scans: Sequence[Scan], seed: int) -> dict[tuple[str, str], list[Scan]]:
    """Each scan's only place: a dataset and a split. Every class is shared out alike."""
    rng = np.random.default_rng([seed, VERSION])
    places = [(name, split) for name in _SHARES for split in SPLITS]
    bounds = np.cumsum([share for shares in _SHARES.values() for share in shares])
    pools: dict[tuple[str, str], list[Scan]] = {place: [] for place in places}
    for label in sorted({scan.label for scan in scans}):
        mine = [scan for scan in scans if scan.label == label]
        order = rng.permutation(len(mine))
        ends = (bounds * len(mine)) // 100
        for place, chosen in zip(places, np.split(order, ends[:-1]), strict=True):
            pools[place] += [mine[index] for index in chosen]
    return pools


def _write(
    root: Path,
    scans: Sequence[Scan],
    seed: int,
    images: Mapping[str, tuple[int, int, int]],
    progress: Progress,
) -> None:
    pools = partition(scans, seed)
    total, done = sum(sum(images[name]) for name in DOMAINS), itertools.count(1)

    def scenes(name: str, split: str, count: int) -> Iterator[Scene]:
        place = (tuple(DOMAINS).index(name), SPLITS.index(split))
        rng = np.random.default_rng([seed, VERSION, *place])
        deck = _dealt(pools[name, split], rng)
        for _ in range(count):
            yield compose(DOMAINS[name], deck, SIDE, rng)
            progress(next(done), total)

    for name in DOMAINS:
        folder = root / name
        folder.mkdir()
        _yolo_files.write_data_yaml(folder, NAMES, SPLITS)
        for split, count in zip(SPLITS, images[name], strict=True):
            _yolo_files.write_split(folder, split, scenes(name, split, count), NAMES)


def _dealt(scans: Sequence[Scan], rng: np.random.Generator) -> Iterator[Scan]:
    """Scans without end, class by class in random order, so that few images hold every class."""
    decks: dict[int, list[Scan]] = {scan.label: [] for scan in scans}
    while True:
        for label in rng.permutation(sorted(decks)).tolist():
            if not decks[label]:
                mine = [scan for scan in scans if scan.label == label]
                decks[label] = [mine[index] for index in rng.permutation(len(mine))]
            yield decks[label].pop()


def _silent(done: int, total: int) -> None:
    """No progress wanted."""


def _load_scans() -> list[Scan]:
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise ConfigError(
            "the demo data needs scikit-learn, which is not installed; "
            "install the extra: pip install 'assay[demo]'"
        ) from error
    bunch = datasets.load_digits()
    inks = (bunch.images / 16).astype(np.float32)
    return [Scan(i, int(label), inks[i]) for i, label in enumerate(bunch.target)]


def _manifest(seed: int, images: Mapping[str, tuple[int, int, int]]) -> dict[str, object]:
    counts = {name: dict(zip(SPLITS, images[name], strict=True)) for name in DOMAINS}
    made = {"generator": "backend.synthetic.digits", "version": VERSION, "seed": seed}
    return {**made, "images": counts, "credit": _CREDIT}


def _require_same(root: Path, manifest: Mapping[str, object]) -> None:
    try:
        found = json.loads((root / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{root}: exists but holds no digits dataset; choose another folder"
        ) from error
    if found != manifest:
        raise DataError(
            f"{root}: holds digits of another version, seed or size; "
            "delete the folder or choose another"
        )
    for name in DOMAINS:
        for split in SPLITS:
            _require_complete(root / name, split)


def _require_complete(folder: Path, split: str) -> None:
    """Every image that the COCO file lists has its two files."""
    try:
        coco = json.loads((folder / "annotations" / f"{split}.json").read_text(encoding="utf-8"))
        stems = {Path(image["file_name"]).stem for image in coco["images"]}
        whole = (folder / "data.yaml").is_file()
        for kind in ("images", "labels"):
            whole = whole and stems <= {path.stem for path in (folder / kind / split).iterdir()}
    except (OSError, ValueError):
        whole = False
    if not whole:
        raise DataError(f"{folder}: files of split '{split}' are missing; delete {folder.parent}")


def _located(root: Path) -> DigitsData:
    source, same, new = (root / name / "data.yaml" for name in DOMAINS)
    return DigitsData(root, source, same, new)
