"""Keys of detection databases: which sequence and frame a path in any spelling is of."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from backend.datasets.tracking.mot_folder import IMAGE_FOLDER, SUFFIXES

_SUFFIXES = (".txt", *sorted(SUFFIXES))


@dataclass(frozen=True)
class KeyRule:
    """How keys are spelt: below ``root``, if they are absolute; ``images`` are names of a
    sequence's image folder."""

    root: Path | None = None
    images: frozenset[str] = frozenset({IMAGE_FOLDER})

    @cached_property
    def roots(self) -> tuple[tuple[str, ...], ...]:
        """The root's parts as they may lead a key."""
        if self.root is None:
            return ()
        spellings = (self.root, self.root.absolute(), self.root.resolve())
        return tuple(dict.fromkeys(_parts(str(path)) for path in spellings))


def frame_key(key: str, rule: KeyRule) -> str:
    """``<folders>:<number>`` of a key, without root, image folder, suffix and padding.

    An absolute key from elsewhere keeps ``<split>/<sequence>``; a name that is no number stays.
    """
    parts = _parts(key)
    stem = parts[-1] if parts else ""
    for suffix in _SUFFIXES:
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    folders = parts[:-1]
    if folders and folders[-1] in rule.images:
        folders = folders[:-1]
    return f"{'/'.join(_below(folders, key, rule))}:{int(stem) if stem.isdecimal() else stem}"


def _below(folders: tuple[str, ...], key: str, rule: KeyRule) -> tuple[str, ...]:
    for root in rule.roots:
        if root and folders[: len(root)] == root:
            return folders[len(root) :]
    absolute = key.startswith(("/", "\\")) or (bool(folders) and folders[0].endswith(":"))
    return folders[-2:] if absolute else folders


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
