"""YOLO ``data.yaml``: class names and where the images of each split lie."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from backend.core.errors import DataError

SUFFIXES = {
    *(".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif"),
    *(".tiff", ".webp"),
}
NOT_SPLITS = {
    *("path", "names", "nc", "download", "channels", "yaml_file", "description", "license"),
    *("masks_dir", "kpt_shape", "flip_idx", "kpt_names"),
}
ALIASES = {"valid": "val", "validation": "val"}


@dataclass(frozen=True)
class DataFile:
    """A parsed data.yaml. ``splits`` maps a name to folders, list files or images."""

    path: Path
    root: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]
    downloads: bool

    def images(self, split: str) -> list[tuple[Path, str]]:
        """The images of a split with their names in the dataset, in order of name.

        Raises DataError for an unknown split, a missing folder or list, or no images.
        """
        if split not in self.splits:
            raise DataError(
                f"{self.path}: no split '{split}'; it has {', '.join(self.splits) or 'none'}"
            )
        found: dict[str, Path] = {}
        for source in self.splits[split]:
            for image in self._expand(source, split):
                found.setdefault(self._name(image), image)
        if not found:
            places = ", ".join(self.splits[split])
            raise DataError(f"{self.path}: no images for '{split}' in {places}")
        return [(image, name) for name, image in sorted(found.items())]

    def _expand(self, source: str, split: str) -> Iterator[Path]:
        place = self._find(source)
        if place.is_dir():
            for folder, _, files in os.walk(place, followlinks=True):
                paths = (Path(folder, file) for file in files if not file.startswith("."))
                yield from (p for p in paths if p.suffix.lower() in SUFFIXES)
        elif place.suffix.lower() == ".txt" and place.is_file():
            yield from self._listed(place)
        elif place.suffix.lower() in SUFFIXES and place.is_file():
            yield place
        else:
            hint = " ('download' is never run: fetch the data yourself)" if self.downloads else ""
            raise DataError(
                f"{self.path}: '{split}' points to {place}, which does not exist{hint}"
            )

    def _find(self, source: str) -> Path:
        place = self.root / source
        if not place.exists() and source.startswith("../"):
            inside = self.root / source[3:]  # exports of Roboflow write one level too many
            if inside.exists():
                return inside
        return place

    def _listed(self, file: Path) -> Iterator[Path]:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: cannot be read as a list of images ({error})") from None
        for line in lines:
            entry = line.strip()
            if not entry:
                continue
            beside, inside = file.parent / entry, self.root / entry
            yield beside if beside.exists() or not inside.exists() else inside

    def _name(self, image: Path) -> str:
        absolute = Path(os.path.abspath(image))  # noqa: PTH100 (resolve would follow links)
        try:
            return absolute.relative_to(os.path.abspath(self.root)).as_posix()  # noqa: PTH100
        except ValueError:
            return absolute.as_posix()


def read_datafile(path: Path) -> DataFile:
    """Parse a data.yaml. Raises DataError with one sentence."""
    path = path.expanduser().absolute()
    data = _parse(path)
    folder = data.get("path") or "."
    if not isinstance(folder, str):
        raise DataError(f"{path}: 'path' must be a folder, got {folder!r}")
    splits = {
        ALIASES.get(key, key): places
        for key, value in data.items()
        if key not in NOT_SPLITS and (places := _places(value)) is not None
    }
    return DataFile(
        path=path,
        root=path.parent / os.path.expanduser(folder),  # noqa: PTH111 (Path's may raise)
        names=_names(data, path),
        splits=splits,
        downloads="download" in data,
    )


def label_path(image: Path) -> Path:
    """Where the labels of an image are: its last folder ``images`` becomes ``labels``."""
    head, found, tail = str(image.with_suffix(".txt")).rpartition(f"{os.sep}images{os.sep}")
    return Path(f"{head}{os.sep}labels{os.sep}{tail}") if found else image.with_suffix(".txt")


def _parse(path: Path) -> dict[str, object]:
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name the data.yaml in it")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected a YOLO data.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise DataError(f"{path}{where}: not valid YAML") from None
    if not isinstance(data, dict):
        raise DataError(f"{path}: expected a YOLO data.yaml with names and splits")
    return {str(key): value for key, value in data.items()}


def _places(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None


def _names(data: dict[str, object], path: Path) -> tuple[str, ...]:
    names, count = data.get("names"), data.get("nc")
    if names is None and isinstance(count, int) and count > 0:
        return tuple(f"class_{number}" for number in range(count))
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DataError(f"{path}: the keys of 'names' must be 0 to {len(names) - 1}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: 'names' is missing; expected a list of class names")
    made = tuple(str(name).strip() for name in names)
    if count is not None and count != len(made):
        raise DataError(f"{path}: 'nc' is {count}, but 'names' has {len(made)} entries")
    twice = sorted({name for name in made if made.count(name) > 1})
    if twice:
        raise DataError(f"{path}: class '{twice[0]}' is listed twice in 'names'")
    return made
