"""The frame of a file of F3Set annotations: its clips by name, its elements, its numbers."""

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.core.errors import DataError

_LARGEST = 2**31 - 1  # frames of a clip


def clip_entries(path: Path, clips: object) -> dict[str, Mapping[str, Any]]:
    """A list of clips by name. Raises DataError for one without a name, or two of one name."""
    if not isinstance(clips, list):
        raise DataError(f"{path}: expected a list of clips, each with video and events")
    entries: dict[str, Mapping[str, Any]] = {}
    for number, clip in enumerate(clips, start=1):
        name = clip.get("video") if isinstance(clip, Mapping) else None
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}: clip {number} needs 'video', its name")
        if name in entries:
            raise DataError(f"{path}: two clips are called {name}; every clip needs its own name")
        entries[name] = clip
    return entries


def element_names(
    path: Path, about: Mapping[str, object], given: Sequence[str] | Path | None = None
) -> tuple[str, ...]:
    """As given, else from the ground truth itself, else from elements.txt beside it.

    Raises DataError if there are none, or two of one name.
    """
    names: object = given if given is not None else about.get("elements")
    source = path
    if names is None or isinstance(names, Path):
        source = names or path.with_name("elements.txt")
        try:
            lines = source.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            raise DataError(
                f"{source}: cannot be read, but it names the elements, one in a line; write it "
                "(or give another to assay score: --elements FILE)"
            ) from None
        names = [line.strip() for line in lines if line.strip()]
    if not isinstance(names, list | tuple) or not names:
        raise DataError(f"{source}: expected a list of elements")
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise DataError(f"{source}: elements must be texts, and each must stand there once")
    return tuple(names)


def whole_number(value: object, what: str) -> int:
    """A positive whole number. Raises DataError, which says ``what`` should be one."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
        shown = reprlib.repr(value)
        raise DataError(f"{what} must be a whole number from 1 to {_LARGEST:,}, not {shown}")
    return value
