"""ActivityNet's and THUMOS' layout: a JSON of annotated videos, and the folder of their files.

``{"database": {video: {subset, duration, fps?, frame?, annotations: [{label, segment}]}}}``, times
in seconds. Entries are checked by ``backend.scoring.temporal.activitynet``, which also scores
them: what training learns from and what evaluation counts is one definition.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from backend.core.errors import DataError
from backend.core.wording import some
from backend.datasets.activitynet_files import annotation_files
from backend.datasets.split_names import by_use, own_name
from backend.datasets.temporal.records import (
    Announced,
    Floats,
    Ints,
    TemporalSplit,
    TemporalVideo,
)
from backend.datasets.temporal.video_files import VideoFile, probe_videos
from backend.scoring.json_files import is_number, read_json
from backend.scoring.temporal.activitynet import SAME, Truth, check_truth

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")
FOLDER = "videos"
_HEAD = 1 << 20
_MOST = 200_000
Odd = dict[str, dict[str, int]]


@dataclass(frozen=True)
class ReadOptions:
    """How a data set is read.

    ``classes`` in the order of labels, by default all of the file, sorted; others are left out,
    as are those in ``ignored``. ``videos`` is the folder of the files, by default ``videos``
    beside the annotations or their own folder. ``threads`` files are looked into at once.
    """

    classes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ("Ambiguous",)
    videos: Path | None = None
    threads: int = 4


def read_temporal(
    data: Path, subsets: Sequence[str], options: ReadOptions | None = None
) -> tuple[TemporalSplit, ...]:
    """Subsets of a JSON file, or of the folder that has one, with what their videos' files hold.

    Files that are missing or unusable are left for ``validate`` to tell. Raises DataError for
    annotations that cannot be read.
    """
    options = options or ReadOptions()
    source = annotation_file(data)
    content = read_json(source)
    database = _database(content, source)
    present = {str(entry["subset"]) for entry in database.values()}
    names = {wanted: own_name(wanted, present) for wanted in subsets}
    for wanted, name in names.items():
        if name not in present:
            there = ", ".join(sorted(present, key=by_use))
            raise DataError(
                f"{source}: no subset '{wanted}'; it has {there} (in a config: subsets)"
            )
    classes = options.classes or _classes(database, options.ignored)
    if not classes:
        raise DataError(
            f"{source}: no annotation has a label, save those that are no class "
            f"({some(options.ignored)})"
        )
    folder = options.videos or _folder(source)
    truths = {name: check_truth(content, (), name, options.ignored, str(source))
              for name in names.values()}  # fmt: skip
    paths = _paths(folder, [unit for truth in truths.values() for unit in truth.units])
    probed = probe_videos(paths.values(), options.threads)
    files = {name: (path, probed[path]) for name, path in paths.items()}
    base = TemporalSplit(source, "", classes, (), folder, 0)
    return tuple(
        _split(replace(base, split=one), truths[names[one]], database, options.ignored, files)
        for one in subsets
    )


def subsets_of(data: Path) -> dict[str, int]:
    """Each subset of the annotations to its videos, training first. Raises DataError."""
    source = annotation_file(data)
    subsets = [str(entry["subset"]) for entry in _database(read_json(source), source).values()]
    return {name: subsets.count(name) for name in sorted(set(subsets), key=by_use)}


def annotation_file(data: Path) -> Path:
    """The JSON of ActivityNet's layout that ``data`` is, or has in it. Raises DataError."""
    found = annotation_files(data)
    if len(found) != 1:
        which = f"has {len(found)} of them; name one" if found else "none is there"
        raise DataError(f"{data}: expected a JSON with a 'database' of videos, but {which}")
    return found[0]


def _database(content: object, source: Path) -> Mapping[str, Mapping[str, Any]]:
    database = content.get("database") if isinstance(content, Mapping) else None
    if not isinstance(database, Mapping) or not database:
        raise DataError(f"{source}: expected an object with a 'database' of videos")
    for name, entry in database.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("subset"), str):
            raise DataError(f"{source}: video '{name}' must be an object that names its subset")
    return database


def _classes(database: Mapping[str, Mapping[str, Any]], ignored: Iterable[str]) -> tuple[str, ...]:
    """All labels of the file, whatever their subset, so that labels mean the same in each."""
    labels = {
        str(item["label"])
        for entry in database.values()
        for item in entry.get("annotations") or ()
        if isinstance(item, Mapping) and item.get("label")
    }
    return tuple(sorted(labels - set(ignored)))


def _folder(source: Path) -> Path:
    beside = source.parent / FOLDER
    return beside if beside.is_dir() else source.parent


def _paths(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The file of each video that has one, the least deep of several, also with or without
    ActivityNet's ``v_``, and if a name has a folder or a suffix.

    Raises DataError for a folder that is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with the videos' files")
    found: dict[str, Path] = {}
    for path in sorted(_files(folder), key=lambda one: (len(one.parts), one)):
        found.setdefault(_composed(path.stem), path)
    spelled = {name: _spellings(_composed(name)) for name in names}
    return {
        name: next(found[one] for one in spellings if one in found)
        for name, spellings in spelled.items()
        if any(one in found for one in spellings)
    }


def _files(folder: Path) -> Iterator[Path]:
    """What is called as videos are, also behind links to folders."""
    walked = (
        Path(root, name) for root, _, names in os.walk(folder, followlinks=True) for name in names
    )
    for path in islice(walked, _MOST):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield path


def _composed(name: str) -> str:
    """One spelling of letters with accents: file systems of macOS have another."""
    return unicodedata.normalize("NFC", name)


def _spellings(name: str) -> tuple[str, ...]:
    """What the file of a video may be called, the likeliest first."""
    last = PurePath(name)
    bare = last.stem if last.suffix.lower() in SUFFIXES else last.name
    return name, f"v_{name}", name.removeprefix("v_"), bare


def _split(
    empty: TemporalSplit,
    truth: Truth,
    database: Mapping[str, Mapping[str, Any]],
    ignored: Iterable[str],
    files: Mapping[str, tuple[Path, VideoFile | str]],
) -> TemporalSplit:
    odd: Odd = {}
    videos = []
    for unit, name in enumerate(truth.units):
        rows = truth.segments.videos == unit
        names = [truth.classes[label] for label in truth.segments.labels[rows]]
        entry = database[name]
        _count_left_out(entry["annotations"], name, set(ignored), len(names), odd)
        path, file = files.get(name, (None, ""))
        made = TemporalVideo(
            name=name,
            segments=truth.segments.bounds[rows],
            labels=_labels(names, empty.classes),
            announced=_announced(entry),
            path=path,
            file=None if isinstance(file, str) else file,
            problem=file if isinstance(file, str) else "",
        )
        videos.append(_inside(made, odd))
    read = replace(
        empty,
        videos=tuple(videos),
        annotated=sum(len(database[name]["annotations"]) for name in truth.units),
        odd=odd,
    )
    return replace(read, digest=_digest(read))


def _labels(names: Sequence[str], classes: Sequence[str]) -> Ints:
    """Numbers of classes; -1 for one that is not wanted."""
    places = {name: number for number, name in enumerate(classes)}
    return np.array([places.get(name, -1) for name in names], dtype=np.int64)


def _announced(entry: Mapping[str, Any]) -> Announced:
    """What is positive; anything else tells nothing."""
    said = {
        key: float(entry[key])
        for key in ("duration", "fps", "frame")
        if is_number(entry.get(key)) and entry[key] > 0
    }
    frames = said.get("frame")
    return Announced(said.get("duration"), said.get("fps"), int(frames) if frames else None)


def _count_left_out(
    items: Sequence[Mapping[str, Any]], name: str, ignored: set[str], kept: int, odd: Odd
) -> None:
    """Why ``check_truth`` kept fewer annotations of a video than it has."""
    segments = [item["segment"] for item in items if item["label"] not in ignored]
    empty = sum(end <= start for start, end in segments)
    _note(odd, "ambiguous", name, len(items) - len(segments))
    _note(odd, "empty", name, empty)
    _note(odd, "duplicate", name, len(segments) - empty - kept)


def _inside(video: TemporalVideo, odd: Odd) -> TemporalVideo:
    """The actions of wanted classes, clipped to the video; those wholly outside of it left out."""
    clipped: Floats = video.segments.clip(0, video.duration)
    unknown = video.labels < 0
    outside = ~unknown & (clipped[:, 1] <= clipped[:, 0])
    kept = ~unknown & ~outside
    moved = kept & (np.abs(clipped - video.segments).max(axis=1, initial=0) > SAME)
    for what, which in (("unknown", unknown), ("outside", outside), ("clipped", moved)):
        _note(odd, what, video.name, int(which.sum()))
    order = np.lexsort((clipped[kept, 1], clipped[kept, 0]))
    return replace(video, segments=clipped[kept][order], labels=video.labels[kept][order])


def _note(odd: Odd, what: str, name: str, count: int) -> None:
    if count:
        odd.setdefault(what, {})[name] = count


def _digest(split: TemporalSplit) -> str:
    """sha256 over classes, actions, and each file's size, first and last million bytes.

    Whole files would take minutes to hours to read. Their ends hold a container's index, which
    changes whenever anything in the file does.
    """
    digest = hashlib.sha256(repr(split.classes).encode())
    for video in split.videos:
        digest.update(f"{video.name}\0{video.announced!r}\0".encode())
        digest.update(video.segments.tobytes() + video.labels.tobytes())
        digest.update(fingerprint(video.file.path) if video.file is not None else b"none")
    return digest.hexdigest()


def fingerprint(path: Path) -> bytes:
    """sha256 over a file's size and its first and last million bytes."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        digest = hashlib.sha256(f"{size}\0".encode() + file.read(_HEAD))
        file.seek(max(_HEAD, size - _HEAD))
        digest.update(file.read())
    return digest.digest()
