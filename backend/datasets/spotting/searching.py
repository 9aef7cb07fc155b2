"""Skeleton files that lie, or are called, other than they should be."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from backend.datasets.spotting.records import SpottingSplit
from backend.datasets.spotting.skeleton_files import SUFFIXES

_MOST = 100_000
"""Files that are looked at; a folder of videos and frames may hold millions."""
_ENDINGS = {*SUFFIXES, ".pickle", ".pk", ".p", ".npy", ".json", ".h5", ".pt"}
"""Of files that may be skeletons. A video has the clip's name too."""


def found_elsewhere(missing: Sequence[str], split: SpottingSplit) -> str:
    """In words, how many of the missing files exist in another folder, with another ending or
    other capitals; empty if none do. The skeletons' folder and the data's are searched."""
    if not missing:
        return ""
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
    return "; ".join(told if split.skeletons.is_dir() else ["the folder does not exist", *told])


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
