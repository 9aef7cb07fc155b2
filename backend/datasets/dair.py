"""DAIR-V2X-I: roadside camera frames with one label file each (Yu et al., CVPR 2022).

``label/camera`` is read, not ``label/virtuallidar``, whose labels belong to other instants.
Objects without 3D measures are kept. That a van is a car and a tricyclist a motorcycle is our
judgement; a class map overrides it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from backend.core.errors import DataError
from backend.datasets.boxes import Corners
from backend.datasets.class_rules import ClassRules, make_rules
from backend.datasets.dair_index import Index, Row
from backend.datasets.detection import DetectionSplit
from backend.datasets.gathering import STRICT, Limits, Listed, Listing, Mark, Told, gather
from backend.datasets.images import UnusableError
from backend.scoring.json_files import read_json

CLASSES = ("car", "truck", "bus", "person", "bicycle", "motorcycle")

TYPES: Mapping[str, str | None] = {
    **{"car": "car", "van": "car", "truck": "truck", "trunk": "truck", "bus": "bus"},
    **{"pedestrian": "person", "cyclist": "bicycle"},
    **{"motorcyclist": "motorcycle", "tricyclist": "motorcycle"},
    **{"barrowlist": None, "barrow": None, "trafficcone": None},
    **{"carignore": "ignore:car", "pedestrianignore": "ignore:person", "otherignore": "ignore"},
    "unknown": "ignore",
}
"""Types, in the spelling of ``normal_type``, to classes."""

LABEL_MISSING = "label missing"
LABEL_UNREADABLE = "label unreadable"
LABEL_NO_LIST = "label is not a list of objects"

JUDGED = {"van": "car", "tricyclist": "motorcycle"}
"""Where another choice would be as good."""


def read_dair(
    index: Index,
    split: str,
    classes: tuple[str, ...],
    class_map: Path | None = None,
    limits: Limits = STRICT,
) -> DetectionSplit:
    """A split of a DAIR-V2X-I folder.

    Raises DataError with one sentence; also for the test split if its labels are not there,
    which is how the dataset is released.
    """
    rows = index.rows_of(split)
    if split == "test" and rows and not _labelled(rows):
        raise DataError(
            f"{index.root}: the test split has no labels here, as DAIR-V2X-I is released without "
            "them; evaluate on val"
        )
    listing = Listing(
        data=index.root,
        split=split,
        frames=[_listed(row) for row in rows if row.image and row.label],
        left_out={
            **{row.id: row.problem for row in rows if row.problem},
            **index.left_out(split),
        },
        warnings=index.warnings(split),
    )
    rules = make_rules(classes, TYPES, class_map, normal_type)
    found = gather(listing, classes, rules, limits)
    return replace(found, remarks=(*found.remarks, *_judgements(found, rules)))


def dair_splits(index: Index) -> tuple[str, ...]:
    """The splits of a folder that have labels."""
    return tuple(
        split for split in index.splits if split != "test" or _labelled(index.rows_of(split))
    )


def normal_type(name: str) -> str:
    """A type's name without case, blanks and underscores; one word for every unknown thing."""
    word = re.sub(r"[\W_]", "", name.casefold())
    if word.startswith("unknown"):
        return "unknown"
    if word.endswith("ignore") and word not in TYPES:
        return "otherignore"
    return word


def _labelled(rows: Sequence[Row]) -> bool:
    return any(row.label is not None and row.label.is_file() for row in rows)


def _judgements(split: DetectionSplit, rules: ClassRules) -> list[str]:
    """The types whose class is our judgement, if there are any."""
    said = []
    for name, count in split.findings.kept.items():
        rule, target = rules.of(name), JUDGED.get(normal_type(name))
        if rule is not None and split.classes[rule.label].casefold() == target:
            said.append(f"{name} {count} as {target}")
    if not said:
        return []
    return [f"by our judgement, which a class map overrides, in {split.split}: {', '.join(said)}"]


def _listed(row: Row) -> Listed:
    assert row.image is not None
    assert row.label is not None
    read = partial(_read_label, row.label)
    return Listed(row.key, row.name, row.image, read, shown=row.id)


def _read_label(path: Path) -> Told:
    if not path.is_file():
        raise UnusableError(LABEL_MISSING)
    try:
        data = read_json(path)
    except DataError:
        raise UnusableError(LABEL_UNREADABLE) from None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise UnusableError(LABEL_NO_LIST)
    return Told([Mark(str(item.get("type")), _corners(item.get("2d_box"))) for item in data])


def _corners(box: object) -> Corners:
    """Numbers, usually written as texts; what is none becomes NaN, which no box may have."""
    given = box if isinstance(box, dict) else {}
    left, top, right, bottom = (
        _number(given.get(key)) for key in ("xmin", "ymin", "xmax", "ymax")
    )
    return left, top, right, bottom


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float | str) else float("nan")
    except (ValueError, OverflowError):
        return float("nan")
