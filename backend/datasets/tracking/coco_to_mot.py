"""COCO to MOT folders: videos with classes and identities, or a refusal that says what is missing.

Identities are never invented in silence: without them the conversion stops (N7) and names the
ways on. The manifest beside the data says which was taken.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeGuard

import numpy as np

from backend.core.errors import DataError
from backend.core.wording import some
from backend.datasets.coco import Place
from backend.datasets.tracking.coco_videos import (
    TRACK_FIELDS,
    UNNAMED,
    CocoVideos,
    Picture,
    read_videos,
)
from backend.datasets.tracking.linking import link
from backend.datasets.tracking.mot_writing import MotSequence, Row, write_mot
from backend.datasets.tracking.records import Identities

AS_ANNOTATED, LINK, PER_BOX, FROM = "annotated", "link", "per-box", "from:"


@dataclass(frozen=True)
class Conversion:
    """How to convert. ``ids``: ``annotated``, ``link``, ``per-box`` or ``from:<field>``.

    ``gap``: frames that a linked object may be missing in. ``keep_groups``: keep a category that
    only names a group. ``copy`` the images; else they are linked to.
    """

    ids: str = AS_ANNOTATED
    gap: int = 0
    keep_groups: bool = False
    copy: bool = False

    @property
    def field(self) -> str:
        """The field that identities are asked from."""
        return self.ids.removeprefix(FROM).strip() if self.ids.startswith(FROM) else ""

    @property
    def identities(self) -> Identities:
        """What the ids of the result are."""
        if self.ids == PER_BOX:
            return "per-box"
        return "pseudo" if self.ids == LINK else "file"


class Converted(NamedTuple):
    """The new folder, and what a person should know of it."""

    folder: Path
    notes: tuple[str, ...]


def coco_to_mot(places: Mapping[str, Place], out: Path, how: Conversion) -> Converted:
    """Write ``<out>/<split>/<sequence>/`` for every split, classes.json and manifest.json.

    Raises DataError: identities missing (N7), video or frame unknown, one sequence in two splits,
    images that are nowhere, ``out`` not empty. Nothing is left behind then.
    """
    if how.ids not in (AS_ANNOTATED, LINK, PER_BOX) and not how.field:
        raise DataError(f"--ids {how.ids}: expected {LINK}, {PER_BOX} or {FROM}<field>")
    stills = how.ids == PER_BOX
    splits = {
        split: read_videos(place, how.field, stills=stills) for split, place in places.items()
    }
    if not stills:
        _refuse_shared(splits)
    classes, groups = _classes(splits, keep_groups=how.keep_groups)
    labels = {category: label for label, category in enumerate(classes, start=1)}
    offset = int(any(one.number == 0 for v in splits.values() for one in v.pictures))
    made = {split: _sequences(videos, labels, offset, how) for split, videos in splits.items()}
    notes = [*_notes(splits, groups), *_identity_notes(how)]
    manifest = {
        "format": "mot",
        "source": {split: str(place.annotations.absolute()) for split, place in places.items()},
        "ids": how.identities,
        "ids_from": sorted({videos.track_field for videos in splits.values()} - {""}),
        "categories": {str(category): label for category, label in labels.items()},
        "dropped_categories": {str(category): name for category, name in groups.items()},
        "frame_offset": offset,
        "notes": notes,
    }
    write_mot(out, made, list(classes.values()), manifest, copy=how.copy)
    return Converted(out, tuple(notes))


def _refuse_shared(splits: Mapping[str, CocoVideos]) -> None:
    seen: dict[str, str] = {}
    for split, videos in splits.items():
        for name in {picture.video for picture in videos.pictures}:
            if not name.startswith(UNNAMED) and seen.setdefault(name, split) != split:
                raise DataError(
                    f"{videos.place.annotations}: the sequence {name} is in {seen[name]} and in "
                    f"{split}; scores on frames of a video that was trained on would flatter"
                )


def _classes(
    splits: Mapping[str, CocoVideos], *, keep_groups: bool
) -> tuple[dict[int, str], dict[int, str]]:
    """Category id to name, of those that become classes, and of those that only name a group:
    others have them as supercategory, and no box is theirs."""
    first, *others = splits.items()
    for split, videos in others:
        if videos.categories != first[1].categories:
            raise DataError(
                f"{videos.place.annotations}: its categories differ from those of {first[0]}; "
                f"{split} cannot have other classes"
            )
    categories = first[1].categories
    counts: Counter[int] = Counter()
    for videos in splits.values():
        counts.update(videos.counts)
    groups = {
        key: name
        for key, (name, _) in categories.items()
        if not counts[key]
        and any(above == name for other, (_, above) in categories.items() if other != key)
    }
    kept = {key: name for key, (name, _) in categories.items() if keep_groups or key not in groups}
    if not kept:
        raise DataError(f"{first[1].place.annotations}: it has no category with a box")
    return kept, {} if keep_groups else groups


def _sequences(
    videos: CocoVideos, labels: Mapping[int, int], offset: int, how: Conversion
) -> list[MotSequence]:
    """The videos of a split, by name; ``offset`` is added to frames that count from 0."""
    by_name: dict[str, list[Picture]] = defaultdict(list)
    for picture in sorted(videos.pictures, key=lambda one: one.number):
        by_name[picture.video].append(picture)
    if how.identities == "file":
        _refuse_without_ids(videos, by_name)
    return [
        MotSequence(
            name=name,
            place=videos.place,
            pictures=tuple((picture.number + offset, picture) for picture in pictures),
            rate=videos.rates.get(name),
            rows=_rows(pictures, offset, labels, how),
        )
        for name, pictures in sorted(by_name.items())
    ]


def _refuse_without_ids(videos: CocoVideos, by_name: Mapping[str, Sequence[Picture]]) -> None:
    file = videos.place.annotations
    ways = (
        f"choose --ids {LINK} (by overlap from frame to frame; metrics are then of pseudo "
        f"identities), --ids {PER_BOX} (for training on pseudo clips only) or --ids {FROM}<field>"
    )
    if not any(picture.boxes for picture in videos.pictures):
        return
    if not videos.track_field:
        raise DataError(
            f"{file}: N7: annotations have no track ids (looked for {', '.join(TRACK_FIELDS)}); "
            f"{ways}"
        )
    seen = Counter(
        (name, str(box.track))
        for name, pictures in by_name.items()
        for picture in pictures
        for box in picture.boxes
        if not box.ignored
    )
    if len(videos.pictures) > 1 and max(seen.values(), default=2) == 1:
        raise DataError(
            f"{file}: N7: each of the {len(seen):,} values of '{videos.track_field}' occurs once, "
            f"so they number boxes, not objects; {ways}"
        )


def _rows(
    pictures: Sequence[Picture], offset: int, labels: Mapping[int, int], how: Conversion
) -> list[Row]:
    ids = _ids(pictures, how)
    return [
        Row(
            picture.number + offset, number, box.box, 0 if box.ignored else 1, labels[box.category]
        )
        for picture, numbers in zip(pictures, ids, strict=True)
        for box, number in zip(picture.boxes, numbers, strict=True)
    ]


def _ids(pictures: Sequence[Picture], how: Conversion) -> list[list[int]]:
    """An id for every box of a video; crowds get ones of their own."""
    if how.ids == LINK:
        boxes = [np.array([b.box for b in p.boxes]).reshape(-1, 4) for p in pictures]
        return link([picture.number for picture in pictures], boxes, how.gap)
    if how.ids == PER_BOX:
        fresh = count(1)
        return [[next(fresh) for _ in picture.boxes] for picture in pictures]
    return _annotated(pictures)


def _annotated(pictures: Sequence[Picture]) -> list[list[int]]:
    """Whole numbers from 0 as they are, other values numbered from 1 as they appear."""
    tracks = [box.track for picture in pictures for box in picture.boxes if not box.ignored]
    known = {str(track): track for track in tracks}
    numbers = {text: track for text, track in known.items() if _is_id(track)}
    if len(numbers) < len(known):
        numbers = {text: number for number, text in enumerate(known, start=1)}
    fresh = count(max(numbers.values(), default=0) + 1)
    return [
        [next(fresh) if box.ignored else numbers[str(box.track)] for box in picture.boxes]
        for picture in pictures
    ]


def _is_id(track: object) -> TypeGuard[int]:
    return isinstance(track, int) and not isinstance(track, bool) and track >= 0


def _notes(splits: Mapping[str, CocoVideos], groups: Mapping[int, str]) -> list[str]:
    notes = []
    if groups:
        notes.append(
            f"Left out, as they only name a group and own no box: {some(groups.values())}."
        )
    for split, videos in splits.items():
        if videos.dropped:
            notes.append(f"{split}: {videos.dropped:,} annotations have no usable box.")
        hashed = sum(picture.hashed for picture in videos.pictures)
        if hashed:
            notes.append(
                f"{split}: {hashed:,} file names are those of an export that shuffles and "
                "augments; its images may be no video."
            )
    return notes


def _identity_notes(how: Conversion) -> list[str]:
    if how.ids == LINK:
        return ["Identities are linked by overlap: metrics of them are of pseudo identities."]
    if how.ids == PER_BOX:
        return ["Every box has its own id: only for training on pseudo clips."]
    return []
