"""Which class output of a checkpoint each of our classes starts from. No torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,"
    "bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,"
    "oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,"
    "toothbrush"
)
COCO = tuple(_COCO.split(","))
"""The 80 classes of COCO in the order of RT-DETR's outputs."""

_SPELLINGS = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
_NAMELESS = re.compile(r"(label[ _])?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class ClassRows:
    """``rows`` has for each of our classes one of the checkpoint's ``count`` (None: it has none).

    ``copied`` says what comes from where; ``note`` is a sentence if that needs one.
    """

    rows: tuple[int | None, ...]
    count: int
    copied: tuple[str, ...] = ()
    note: str = ""


def match_classes(ours: Sequence[str], theirs: Sequence[str], count: int) -> ClassRows:
    """Find our classes among a checkpoint's ``count`` class outputs, by name.

    Case, underscores and the old spellings of COCO do not matter. Without usable names (none, or
    ``LABEL_0``) 80 outputs are taken for COCO's, and as many as ours for ours in order.
    """
    if len(theirs) != count or all(_NAMELESS.fullmatch(name.strip()) for name in theirs):
        return _nameless(ours, count)
    return _by_name(ours, theirs)


def _nameless(ours: Sequence[str], count: int) -> ClassRows:
    if count == len(COCO):
        found = _by_name(ours, COCO)
        note = "the checkpoint does not name its 80 classes, which were taken for COCO's in order"
        return ClassRows(found.rows, count, found.copied, note)
    if count == len(ours):
        note = (
            "the checkpoint does not name its classes; as their number is the same, they were "
            f"taken for {', '.join(ours)} in this order"
        )
        copied = tuple(f"{name} ({row})" for row, name in enumerate(ours))
        return ClassRows(tuple(range(count)), count, copied, note)
    note = f"the checkpoint does not name its {count} classes, so no class output was copied"
    return ClassRows((None,) * len(ours), count, note=note)


def _by_name(ours: Sequence[str], theirs: Sequence[str]) -> ClassRows:
    index: dict[str, int] = {}
    for row, name in enumerate(theirs):
        index.setdefault(_plain(name), row)
    rows = tuple(index.get(_plain(name)) for name in ours)
    pairs = [(name, row) for name, row in zip(ours, rows, strict=True) if row is not None]
    absent = [name for name, row in zip(ours, rows, strict=True) if row is None]
    note = f"the checkpoint has no class {', '.join(absent)}" if absent else ""
    copied = tuple(f"{name} from {theirs[row]} ({row})" for name, row in pairs)
    return ClassRows(rows, len(theirs), copied, note)


def _plain(name: str) -> str:
    words = " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
    return _SPELLINGS.get(words, words)
