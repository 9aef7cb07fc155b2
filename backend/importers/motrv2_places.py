"""Where the paths of MOTRv2's arguments are: its folder, its data, the sequences of a list."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from backend.core.errors import DataError
from backend.core.wording import some
from backend.datasets.split_names import own_name
from backend.datasets.tracking import MotOptions, read_mot, split_folders
from backend.datasets.tracking.mot_folder import CLASSES_FILE, SUFFIXES
from backend.importers.reading import read_text
from backend.scoring.tracking.classes import read_names

_CHANGE = re.compile(r"^\s*cd\s+[\"']?([^\s\"';&|]+)", re.MULTILINE)
_DATA = Path("data/Dataset/mot")
"""Where MOTRv2's documentation keeps data, inside its folder."""


@dataclass(frozen=True)
class Places:
    """Folders that relative paths may start from, the likeliest first."""

    bases: tuple[Path, ...]

    @classmethod
    def of(cls, path: Path) -> "Places":
        """MOTRv2 is run in its own folder, which has the file in ``configs``; a script says
        ``cd``."""
        folder = path.absolute().parent
        above = [folder.parent, folder] if folder.name == "configs" else [folder, folder.parent]
        said = [folder / match for match in _CHANGE.findall(read_text(path))[-1:]]
        inside = [base / "MOTRv2" for base in above]
        return cls(tuple(dict.fromkeys([*said, *above, *inside, Path.cwd()])))

    def below(self, mot_path: object) -> "Places":
        """Also from the folder of all data sets."""
        data = [base / _DATA for base in self.bases]
        if mot_path is None:
            return replace(self, bases=(*self.bases, *data))
        told = self.place(str(mot_path))
        return replace(self, bases=(*self.bases, told, *data))

    def place(self, name: str, *more: Path) -> Path:
        """The first place at which it is, ``more`` before others; if it is nowhere, the first."""
        path = Path(name).expanduser()
        tried = [base / path for base in (*more, *self.bases)]
        return _clean(next((one for one in tried if one.exists()), tried[0]))

    def file(self, name: str) -> Path:
        """A file that must be there. Raises DataError."""
        found = self.place(name)
        if not found.is_file():
            raise DataError(f"{name}: no such file in {some(map(str, self.bases))}")
        return found


@dataclass(frozen=True)
class Folder:
    """The data folder, the ``argument`` that told of it, and why others did not count."""

    path: Path
    argument: str
    reasons: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Names:
    """The classes that were ``found``, empty where none could be read."""

    found: tuple[str, ...] = ()
    declared: bool = False
    warning: str = ""


def data_folder(given: Mapping[str, object], places: Places, asked: Path | None) -> Folder:
    """The folder of MOT sequences: as ``asked``, or that of the list of images, or DanceTrack's.

    Raises DataError if nothing tells it.
    """
    reasons = {
        "data_txt_path_train": "all sequences of the split 'train' are used; MOTRv2 ignores the "
        "list too",
        "mot_path": "used to find data and detections",
    }
    listed = given.get("data_txt_path_train")
    where = places.place(str(listed)) if listed else None
    images = _listed(where) if where is not None and where.is_file() else {}
    if asked is not None:
        path = asked.expanduser().absolute()
        return Folder(path, f"--data {asked}", reasons, _doubts(path, images))
    candidates = [(f"--data_txt_path_train {listed}", one) for one in _roots(images, places)]
    if given.get("dataset_file") == "e2e_dance" and "mot_path" in given:
        dance = places.place(str(given["mot_path"])) / "DanceTrack"
        candidates.append((f"--mot_path {given['mot_path']}", dance))
    for argument, path in candidates:
        if split_folders(path):
            return Folder(_clean(path), argument, reasons, _doubts(path, images))
    raise DataError(
        "nothing in the file leads to the folder of sequences (<split>/<sequence>/img1, gt); "
        "name it with --data"
    )


def class_names(folder: Path) -> Names:
    """The classes of a data folder: of classes.json, else the ids that occur."""
    try:
        if (folder / CLASSES_FILE).is_file():
            return Names(tuple(read_names(folder / CLASSES_FILE).values()), declared=True)
        splits = split_folders(folder)
        if not splits:
            return Names()
        return Names(read_mot(folder, next(iter(splits)), MotOptions()).classes)
    except DataError as error:
        return Names(warning=str(error))


def _listed(path: Path) -> dict[tuple[str, ...], set[str]]:
    """Of a list of images ``<root>/<split>/<sequence>/img1/<frame>.jpg``: root and split to the
    sequences. Lines of another kind do not count."""
    found: dict[tuple[str, ...], set[str]] = {}
    for line in read_text(path).splitlines():
        parts = Path(line.strip().replace("\\", "/")).parts
        if len(parts) >= 4 and Path(parts[-1]).suffix.lower() in SUFFIXES:
            found.setdefault(parts[:-3], set()).add(parts[-3])
    return found


def _roots(images: Mapping[tuple[str, ...], set[str]], places: Places) -> list[Path]:
    roots = dict.fromkeys(Path(*folder[:-1]) for folder in images if folder)
    return [base / root for root in roots for base in places.bases]


def _doubts(folder: Path, images: Mapping[tuple[str, ...], set[str]]) -> tuple[str, ...]:
    """Where the list and the folder disagree."""
    splits = split_folders(folder)
    if not splits:
        return (f"{folder} has no MOT sequences here; assay dataset check looks at it",)
    told = []
    for parts, names in images.items():
        split = own_name(parts[-1], splits)
        there = {path.name for path in splits[split].iterdir()} if split in splits else set()
        if missing := sorted(names - there):
            told.append(f"the list names sequences that {folder / parts[-1]} has not: "
                        f"{some(missing)}")  # fmt: skip
    return tuple(told)


def _clean(path: Path) -> Path:
    """Without ``.`` and ``..``, links kept as they are."""
    return Path(os.path.normpath(path))
