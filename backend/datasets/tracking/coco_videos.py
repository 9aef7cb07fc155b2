"""COCO annotations as videos: which frame of which video an image is, and whose a box is.

Video and frame come from an image's own fields, else from a file name ``<video>_<number>`` or
``<video>/<number>``. Identities come from the annotations, and are never made up here.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from backend.core.errors import DataError
from backend.datasets.coco import Item, Place, by_id, file_name, items, whole_number
from backend.scoring.detection.coco import load_ground_truth
from backend.scoring.json_files import is_number

TRACK_FIELDS = ("track_id", "instance_id", "attributes.track_id", "attributes.id")
"""Where an annotation may have its identity, in the order of looking."""
UNNAMED = "#"
"""Before the number of a video that has no name; it says nothing in another file."""
_VIDEO_FIELDS = ("video_id", "video", "seq_name")
_FRAME_FIELDS = ("frame_id", "frame_index")
_HASH = re.compile(r"_(jpe?g|png|bmp|webp)\.rf\.\w+$")
"""What an annotation service appends to the name of each image it exports."""
_NAMED = re.compile(r"(?P<video>.*?)[_-]?(?P<number>\d+)")


class Box(NamedTuple):
    """One annotation: left, top, width, height in pixels. ``ignored``: a crowd."""

    box: tuple[float, float, float, float]
    category: int
    track: object
    ignored: bool


@dataclass(frozen=True)
class Picture:
    """One frame of a video: its ``number`` as the data have it, its file's name, its boxes."""

    video: str
    number: int
    file: str
    size: tuple[int, int] | None
    boxes: tuple[Box, ...]

    @property
    def hashed(self) -> bool:
        """Does its name have a hash, so that it may be a shuffled or augmented copy?"""
        return _HASH.search(PurePosixPath(self.file).stem) is not None


@dataclass(frozen=True)
class CocoVideos:
    """A split: its pictures in the order of the file, and every category with its supercategory.

    ``rates``: video to frames per second. ``track_field`` is where identities were found, empty
    if nowhere. ``dropped`` counts annotations whose box is none.
    """

    place: Place
    pictures: tuple[Picture, ...]
    categories: Mapping[int, tuple[str, str]]
    rates: Mapping[str, float]
    track_field: str
    dropped: int

    @property
    def counts(self) -> Mapping[int, int]:
        """Category id to how many boxes are of it."""
        found: dict[int, int] = defaultdict(int)
        for picture in self.pictures:
            for box in picture.boxes:
                found[box.category] += 1
        return found


def read_videos(place: Place, field: str = "", *, stills: bool = False) -> CocoVideos:
    """A COCO file as videos; ``field`` names where the identity of an annotation is.

    ``stills``: the images are no frames; those of a size make up one sequence, in the order of
    their names. Raises DataError for a file that contradicts itself, or that lacks video or frame.
    """
    file = place.annotations
    content = load_ground_truth(file)
    images = by_id(items(content, "images", file), "image", file)
    listed = by_id(items(content, "categories", file), "category", file)
    annotations = items(content, "annotations", file)
    videos = _videos(content, file)
    found = _track_field(annotations, field, file)
    boxes, dropped = _boxes(annotations, found, images, listed, file)
    places = _stills(images, file) if stills else _frames(images, videos, file)
    pictures = tuple(
        Picture(*places[key], file_name(item, file), _size(item), tuple(boxes[key]))
        for key, item in images.items()
    )
    _refuse_twice(pictures, file)
    return CocoVideos(
        place=place,
        pictures=pictures,
        categories={
            key: (str(item.get("name", key)).strip(), str(item.get("supercategory", "")).strip())
            for key, item in sorted(listed.items())
        },
        rates=_rates(content, videos),
        track_field=found,
        dropped=dropped,
    )


def _videos(content: Item, file: Path) -> dict[int, str]:
    """The names of ``videos`` by id, if the file lists any."""
    if "videos" not in content:
        return {}
    listed = by_id(items(content, "videos", file), "video", file)
    names = {key: item.get("name", item.get("file_name", key)) for key, item in listed.items()}
    return {key: str(name) for key, name in names.items()}


def _rates(content: Item, videos: Mapping[int, str]) -> dict[str, float]:
    listed = content.get("videos")
    parts = listed if isinstance(listed, list) else []
    rates = [(videos[int(item["id"])], item.get("fps", item.get("frame_rate"))) for item in parts]
    return {name: float(rate) for name, rate in rates if is_number(rate) and rate > 0}


def _track_field(annotations: Sequence[Item], asked: str, file: Path) -> str:
    """The first field that annotations of objects have; empty if none does.

    Raises DataError for one that only some have.
    """
    objects = [item for item in annotations if not _ignored(item)]
    for field in (asked,) if asked else TRACK_FIELDS:
        count = sum(value_at(item, field) is not None for item in objects)
        if count and count == len(objects):
            return field
        if count or asked:
            raise DataError(
                f"{file}: {len(objects) - count:,} of {len(objects):,} annotations have no "
                f"'{field}'; identities must be there for all"
            )
    return ""


def value_at(item: Item, field: str) -> object:
    """The value at a path of keys, parted by points; None if there is none."""
    value: object = item
    for key in field.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _boxes(
    annotations: Sequence[Item],
    field: str,
    images: Mapping[int, Item],
    categories: Mapping[int, Item],
    file: Path,
) -> tuple[Mapping[int, list[Box]], int]:
    found: dict[int, list[Box]] = defaultdict(list)
    dropped = 0
    for number, item in enumerate(annotations):
        where = f"annotation {item.get('id', number)!r}"
        image = whole_number(item.get("image_id"), f"{where}: image_id", file)
        category = whole_number(item.get("category_id"), f"{where}: category_id", file)
        if image not in images or category not in categories:
            raise DataError(f"{file}: {where} is of an image or category that is not listed")
        box = _box(item.get("bbox"))
        if box is None:
            dropped += 1
            continue
        track = value_at(item, field) if field else None
        found[image].append(Box(box, category, track, _ignored(item)))
    return found, dropped


def _ignored(item: Item) -> bool:
    return bool(item.get("iscrowd", 0)) or bool(item.get("ignore", 0))


def _box(box: object) -> tuple[float, float, float, float] | None:
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) for v in box):
        return None
    x, y, width, height = map(float, box)
    return (x, y, width, height) if width > 0 and height > 0 else None


def _stills(images: Mapping[int, Item], file: Path) -> dict[int, tuple[str, int]]:
    """A sequence for each size of images, and numbers from 1 in the order of names."""
    order = sorted(images, key=lambda key: file_name(images[key], file))
    sizes = {key: _size(images[key]) for key in order}
    return {
        key: (f"images_{'x'.join(map(str, sizes[key] or ('unknown',)))}", number)
        for number, key in enumerate(order, start=1)
    }


def _frames(
    images: Mapping[int, Item], videos: Mapping[int, str], file: Path
) -> dict[int, tuple[str, int]]:
    """Video and frame number of each image."""
    found = {key: _place(item, videos, file) for key, item in images.items()}
    lost = [file_name(images[key], file) for key, place in found.items() if place is None]
    if lost:
        raise DataError(
            f"{file}: nothing tells video and frame of {len(lost):,} of {len(images):,} images "
            f"(first: {lost[0]}); expected video_id and frame_id, or file names <video>_<number>"
        )
    return {key: place for key, place in found.items() if place is not None}


def _place(item: Item, videos: Mapping[int, str], file: Path) -> tuple[str, int] | None:
    video = next((item[key] for key in _VIDEO_FIELDS if item.get(key) is not None), None)
    frame = next((item[key] for key in _FRAME_FIELDS if item.get(key) is not None), None)
    if video is not None and frame is not None:
        name = videos.get(video, f"{UNNAMED}{video}") if isinstance(video, int) else str(video)
        return name, whole_number(frame, f"frame of image {item.get('id')!r}", file)
    path = PurePosixPath(file_name(item, file).replace("\\", "/"))
    named = _NAMED.fullmatch(_HASH.sub("", path.stem))
    if named is None:
        return None
    folders = [part for part in path.parts[:-1] if part != "img1"]
    parts = [*folders, named["video"]] if named["video"] else folders
    return ("_".join(parts), int(named["number"])) if parts else None


def _refuse_twice(pictures: Sequence[Picture], file: Path) -> None:
    seen: dict[tuple[str, int], str] = {}
    for picture in pictures:
        key = (picture.video, picture.number)
        if key in seen:
            raise DataError(
                f"{file}: {seen[key]} and {picture.file} are both frame {picture.number} of "
                f"{picture.video}; augmented copies are no video"
            )
        seen[key] = picture.file


def _size(item: Item) -> tuple[int, int] | None:
    width, height = item.get("width"), item.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None
