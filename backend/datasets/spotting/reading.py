"""F3Set's layout: ``<split>.json`` and ``elements.txt`` in a folder, skeleton files beside them.

``<split>.json`` is a list of clips ``{video, num_frames, fps?, width?, height?, near_hand?,
far_hand?, events: [{frame, label}]}`` or an object ``{elements, groups, clips: [...]}`` around
one. Frames are raw.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from backend.core.digest import sha256
from backend.core.errors import DataError
from backend.datasets.split_names import SPLITS, own_name
from backend.datasets.spotting.census import Census, census_notes
from backend.datasets.spotting.records import SpotClip, SpottingSplit
from backend.datasets.spotting.skeleton_files import skeleton_file
from backend.scoring.json_files import is_number, read_json
from backend.scoring.spotting.annotations import clip_entries, element_names, whole_number
from backend.scoring.spotting.decoding import Group
from backend.scoring.spotting.f3set_predictions import groups_of

SKELETONS = "skeletons"
GROUPS = "groups.json"
_HANDS = ("RH", "LH")
_TRAINED = 0.8  # of the clips of a few-shot training; the rest validates


@dataclass(frozen=True)
class ReadOptions:
    """How a split is read.

    ``skeletons`` and ``groups`` are, by default, ``skeletons`` and ``groups.json`` in the data
    folder. ``few_shot`` k > 0: train and val are 80 % and 20 % of k clips of ``train.json`` that
    ``seed`` picks.
    """

    separator: str = "_"
    stride: int = 2
    skeletons: Path | None = None
    groups: Path | None = None
    few_shot: int = 0
    seed: int = 0


def read_spotting(data: Path, split: str, options: ReadOptions) -> SpottingSplit:
    """A split (train, val, test, holdout) of the folder ``data``, its labels counted.

    Odd labels are notes and evidence, not errors. Raises DataError for what cannot be read.
    """
    source = _source(data, split, options)
    content = read_json(source)
    about: Mapping[str, Any] = content if isinstance(content, dict) else {"clips": content}
    entries = clip_entries(source, about.get("clips"))
    if not entries:
        raise DataError(f"{source}: it lists no clips")
    names = _few_shot(source, split, list(entries), options) if options.few_shot else list(entries)
    elements = element_names(source, about)
    census = Census(source, elements, options.separator, options.stride)
    clips = tuple(_clip(source, name, entries[name], options.stride, census) for name in names)
    labels = census.finish(split)
    found = SpottingSplit(
        name=split,
        source=source,
        skeletons=options.skeletons or data / SKELETONS,
        elements=elements,
        clips=clips,
        separator=options.separator,
        stride=options.stride,
        groups=_groups(data, source, about, elements, options),
        digest="",
        labels=labels,
        notes=census_notes(labels, source, options.stride),
    )
    return replace(found, digest=_digest(found))


def _source(data: Path, split: str, options: ReadOptions) -> Path:
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; expected one with train.json and elements.txt")
    existing = {path.stem for path in data.glob("*.json")}
    wanted = "train" if options.few_shot and split == "val" else split
    name = own_name(wanted, existing)
    if name not in existing:
        there = ", ".join(s for s in SPLITS if s in existing) or "no split at all"
        raise DataError(f"{data}: no split '{wanted}' ({wanted}.json); it has {there}")
    return data / f"{name}.json"


def _few_shot(source: Path, split: str, names: list[str], options: ReadOptions) -> list[str]:
    """The clips of train or val of a few-shot training, in file order; others stay whole."""
    if split not in ("train", "val"):
        return names
    count = options.few_shot
    if not 2 <= count <= len(names):
        raise DataError(
            f"{source}: few_shot {count} needs at least 2 and at most its {len(names):,} clips"
        )
    picked = np.random.default_rng(options.seed).permutation(len(names))[:count]
    trained = min(max(round(_TRAINED * count), 1), count - 1)
    part = picked[:trained] if split == "train" else picked[trained:]
    return [names[number] for number in sorted(part)]


def _clip(
    source: Path, name: str, entry: Mapping[str, Any], stride: int, census: Census
) -> SpotClip:
    where = f"{source}: clip {name}"
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{where}: a clip's name must not lead out of the skeletons' folder")
    frames = whole_number(entry.get("num_frames"), f"{where}: 'num_frames'")
    if frames < stride:
        raise DataError(f"{where}: is shorter than one step of stride {stride}")
    fps = entry.get("fps")
    return SpotClip(
        name=name,
        num_frames=frames,
        fps=float(fps) if is_number(fps) else 0.0,
        events=census.events(name, frames, entry.get("events")),
        width=_pixels(entry, "width", where),
        height=_pixels(entry, "height", where),
        near_hand=_hand(entry.get("near_hand")),
        far_hand=_hand(entry.get("far_hand")),
    )


def _pixels(entry: Mapping[str, Any], key: str, where: str) -> int:
    return whole_number(entry[key], f"{where}: '{key}'") if entry.get(key) else 0


def _hand(value: object) -> str:
    hand = value.strip().upper() if isinstance(value, str) else ""
    return hand if hand in _HANDS else ""


def _groups(
    data: Path,
    source: Path,
    about: Mapping[str, Any],
    elements: tuple[str, ...],
    options: ReadOptions,
) -> tuple[Group, ...]:
    """Of the file that is named, else of ``groups.json``, else of the annotations themselves."""
    path = options.groups or data / GROUPS
    if options.groups or path.is_file():
        return groups_of(path, read_json(path), elements)
    return groups_of(source, about.get("groups", []), elements)


def _digest(split: SpottingSplit) -> str:
    """sha256 over all that is read: elements, groups, clips, and the skeleton files' bytes."""
    digest = hashlib.sha256(
        repr((split.elements, split.separator, split.stride, split.groups)).encode()
    )
    for clip in split.clips:
        file = skeleton_file(split.skeletons, clip.name)
        digest.update(f"{clip!r}\0{sha256(file) if file else 'none'}\n".encode())
    return digest.hexdigest()
