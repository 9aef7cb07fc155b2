"""What a DAIR-V2X-I folder lists: ``data_info.json``, and the split file if there is one."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend.core.errors import DataError
from backend.datasets.wording import some
from backend.scoring.json_files import read_json

OUTSIDE = "path outside root"
DUPLICATE = "duplicate id"
NO_ID = "no id"
PLACES = ("", "metadata", "split_datas")
OFFICIAL = "single-infrastructure-split-data.json"
NEAR_DUPLICATES = (
    "no split file: frames are split 80/20 by a hash of their id; neighbouring frames are "
    "near-duplicates, so val is easier than new data"
)
_LABELS = ("label_camera_std_path", "label_camera_path")


@dataclass(frozen=True)
class Row:
    """A frame of data_info. ``image`` and ``label`` are None if ``problem`` says why."""

    key: int
    id: str
    name: str
    image: Path | None
    label: Path | None
    problem: str = ""


@dataclass(frozen=True)
class Index:
    """All frames by number, and the numbers of each split.

    ``repeated`` are rows whose number came before, ``nameless`` rows without a number.
    ``file`` is the split file, None if frames are split by a hash.
    """

    root: Path
    rows: Mapping[int, Row]
    repeated: Mapping[str, int]
    nameless: tuple[str, ...]
    splits: Mapping[str, tuple[int, ...]]
    file: Path | None

    def rows_of(self, split: str) -> list[Row]:
        """The listed frames of a split. Raises DataError for an unknown split."""
        if split not in self.splits:
            hint = "" if self.file else f"; no split file (such as {OFFICIAL}) names more"
            raise DataError(
                f"{self.root}: no split '{split}'; it has {', '.join(self.splits)}{hint}"
            )
        return [self.rows[key] for key in self.splits[split] if key in self.rows]

    def without_frame(self, split: str) -> list[str]:
        """The ids of a split that data_info does not list."""
        return [f"{key:06d}" for key in self.splits[split] if key not in self.rows]

    def left_out(self, split: str) -> dict[str, str]:
        """Rows of a split that cannot be frames, and why."""
        members = set(self.splits[split])
        twice = {row: DUPLICATE for row, key in self.repeated.items() if key in members}
        return {**twice, **dict.fromkeys(self.nameless, NO_ID)}

    def warnings(self, split: str) -> tuple[str, ...]:
        """What is odd about the split file."""
        if self.file is None:
            return (NEAR_DUPLICATES,)
        missing = self.without_frame(split)
        split_up = {key for keys in self.splits.values() for key in keys}
        nowhere = [row.id for key, row in self.rows.items() if key not in split_up]
        found = []
        if missing:
            found.append(f"{len(missing)} ids of {split} have no frame: {some(missing)}")
        if nowhere:
            found.append(f"{len(nowhere)} frames are in no split: {some(nowhere)}")
        return tuple(found)


def find_info(root: Path) -> Path | None:
    """The folder's ``data_info.json``: in itself or under metadata."""
    places = (root / "data_info.json", root / "metadata" / "data_info.json")
    return next((place for place in places if place.is_file()), None)


def read_index(root: Path) -> Index:
    """What the folder lists. Raises DataError for files that cannot be understood and for
    frames in two splits."""
    root = Path(os.path.normpath(root))
    info = find_info(root)
    if info is None:
        raise DataError(f"{root}: no data_info.json, neither here nor in metadata")
    data = read_json(info)
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise DataError(f"{info}: expected a list with one object per frame")
    rows: dict[int, Row] = {}
    repeated: dict[str, int] = {}
    nameless: list[str] = []
    for number, item in enumerate(data):
        row = _row(root, item)
        if row is None:
            nameless.append(f"row {number}")
        elif row.key in rows:
            repeated[f"{row.id} (row {number})"] = row.key
        else:
            rows[row.key] = row
    file = _split_file(root)
    splits = _by_hash(rows) if file is None else _from_file(file)
    return Index(root, rows, repeated, tuple(nameless), splits, file)


def _row(root: Path, item: Mapping[str, object]) -> Row | None:
    """A frame by the number in its file names; None if none of them has one."""
    name = next((stem for stem in _stems(item) if stem.isdecimal() and stem.isascii()), None)
    if name is None:
        return None
    given = item.get("image_path")
    shown = given if isinstance(given, str) and given else f"image/{name}.jpg"
    image, label = _inside(root, shown), _label(root, item, name)
    if image is None or label is None:
        return Row(int(name), name, shown, None, None, OUTSIDE)
    return Row(int(name), name, image.relative_to(root).as_posix(), image, label)


def _stems(item: Mapping[str, object]) -> Iterator[str]:
    for key in ("image_path", *_LABELS, *sorted(item)):
        value = item.get(key)
        if isinstance(value, str):
            yield PurePosixPath(value).stem


def _label(root: Path, item: Mapping[str, object], name: str) -> Path | None:
    """The first label file that exists, or where it should be; None outside of the root."""
    given = [value for key in _LABELS if isinstance(value := item.get(key), str) and value]
    found = [_inside(root, place) for place in (*given, f"label/camera/{name}.json")]
    if None in found:
        return None
    return next((place for place in found if place is not None and place.is_file()), found[0])


def _inside(root: Path, place: str) -> Path | None:
    """The path, unless it leads out of the root; links in the root may point anywhere."""
    path = Path(os.path.normpath(root / place))
    return path if path.is_relative_to(root) else None


def _split_file(root: Path) -> Path | None:
    found = [
        file
        for place in PLACES
        for file in sorted((root / place).glob("*split*.json"))
        if file.is_file()
    ]
    official = [file for file in found if file.name == OFFICIAL]
    chosen = official or found
    if len(chosen) > 1:
        raise DataError(
            f"{root}: {chosen[0].relative_to(root)} and {chosen[1].relative_to(root)} are both "
            "split files; keep one"
        )
    return chosen[0] if chosen else None


def _from_file(file: Path) -> dict[str, tuple[int, ...]]:
    data = read_json(file)
    for part in ("infrastructure_split", "vehicle_split"):  # of the cooperative dataset
        if isinstance(data, dict) and part in data:
            data = data[part]
            break
    if not isinstance(data, dict) or not all(isinstance(ids, list) for ids in data.values()):
        raise DataError(f"{file}: expected train, val and test, each a list of frame ids")
    splits = {
        str(name): tuple(dict.fromkeys(_key(entry, file) for entry in ids))
        for name, ids in data.items()
    }
    _check_disjoint(file, splits)
    return splits


def _check_disjoint(file: Path, splits: Mapping[str, tuple[int, ...]]) -> None:
    names = [name for name in ("train", "val", "test") if name in splits]
    for at, name in enumerate(names):
        for other in names[at + 1 :]:
            both = sorted(set(splits[name]) & set(splits[other]))
            if both:
                raise DataError(
                    f"{file}: {len(both)} ids are in both {name} and {other}: "
                    f"{some([f'{key:06d}' for key in both])}; a frame belongs to one split"
                )


def _key(entry: object, file: Path) -> int:
    stem = PurePosixPath(str(entry)).stem
    if not (stem.isdecimal() and stem.isascii()):
        raise DataError(f"{file}: {entry!r} is not the id of a frame")
    return int(stem)


def _by_hash(rows: Mapping[int, Row]) -> dict[str, tuple[int, ...]]:
    val = {key for key in rows if hashlib.sha256(f"{key:06d}".encode()).digest()[0] % 5 == 0}
    return {
        "train": tuple(key for key in rows if key not in val),
        "val": tuple(key for key in rows if key in val),
    }
