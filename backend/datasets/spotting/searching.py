"""Skeleton files that lie, or are called, other than they should be."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from backend.datasets.spotting.records import SpottingSplit
from backend.datasets.spotting.skeleton_files import SUFFIXES

_MOST = 100_000
"""Files that are looked at; a folder of videos and frames may hold millions."""
_ENDINGS = {*SUFFIXES, ".pickle", ".pk", ".p", ".npy", ".json", ".h5", ".pt"}
"""Of files that may be skeletons. A video has the clip's name too."""


class Elsewhere(NamedTuple):
    """Where missing files were found: in words, and the one folder that has most of them under
    their own names; empty if nothing was found."""

    said: str = ""
    folder: str = ""


def found_elsewhere(missing: Sequence[str], split: SpottingSplit) -> Elsewhere:
    """How many of the missing files exist in another folder, with another ending or other
    capitals. The skeletons' folder and the data's are searched."""
    if not missing:
        return Elsewhere()
    files = _files(split)
    rules: Counter[str] = Counter()
    first: dict[str, Path] = {}
    for name in missing:
        file = files.get(Path(name).name.lower())
        if file is not None:
            rule = _rule(split.skeletons / name, file)
            rules[rule] += 1
            first.setdefault(rule, file)
    told = [
        f"{count} of {len(missing)} {rule} (first: {first[rule].name})"
        for rule, count in rules.most_common(3)
    ]
    said = "; ".join(told if split.skeletons.is_dir() else ["the folder does not exist", *told])
    file = first[rules.most_common(1)[0][0]] if rules else None
    moved = file and file.parent != split.skeletons and file.suffix in SUFFIXES
    return Elsewhere(said, str(file.parent) if file and moved else "")


def _files(split: SpottingSplit) -> dict[str, Path]:
    """Files by name without ending, in small letters; skeletons before others, near before far."""
    folders = (split.skeletons, split.source.parent)
    found: dict[str, Path] = {}
    for folder in folders:
        paths = [p for p in islice(folder.rglob("*"), _MOST) if p.suffix.lower() in _ENDINGS]
        for path in sorted(paths, key=lambda p: (p.suffix not in SUFFIXES, len(p.parts), p)):
            found.setdefault(path.stem.lower(), path)
    return found


def _rule(expected: Path, file: Path) -> str:
    if file.parent != expected.parent:
        return f"lie in {file.parent}"
    if file.suffix not in SUFFIXES:
        return f"end in {file.suffix or 'nothing'}"
    return "have other capitals"
