"""A synthetic volleyball-like video set for multi-class tracking, for the demo and tests.

Two domains (specs/motrv2.md, 5.1): the source has one class, people in any colour before waves;
the target has eight, told apart by the colour of the shirt, who jump on a court. A sequence is 40
frames of 160 x 96 pixels with 4 or 5 people, and depends on the seed and its own name only.

Colours are easier to tell apart than volleyball actions: a score on them says nothing about real
data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from backend.core.errors import ConfigError
from backend.synthetic._once import write_json, write_once
from backend.synthetic._volleyball_clip import VERSION, Clip, make_clip
from backend.synthetic._volleyball_files import (
    FIELDS,
    KEYS,
    coco,
    database,
    write_classes,
    write_mot,
)

__all__ = [
    "CLASSES",
    "FIELDS",
    "KEYS",
    "Clip",
    "coco",
    "database",
    "make_clip",
    "write_volleyball",
]

CLASSES: Mapping[str, Sequence[str]] = {
    "source": ("Person",),
    "target": ("Volleyball-Players", "Defense-Move", "Attack", "Block", "Reception", "Service",
               "Setting", "Stand"),
}  # fmt: skip
"""Names of each domain's classes; they count from 1 in files."""
DATABASE = "det_db.json"


def write_volleyball(
    folder: Path,
    seed: int = 0,
    train: int = 16,
    val: int = 4,
    holdout: int = 0,
    class_changes: float = 0.0,
) -> dict[str, Path]:
    """The set in ``folder``, made unless it is there already; returns the folder of each domain.

    ``<domain>/<split>/<sequence>/`` are MOT folders, of ``holdout`` too if it counts any; beside
    the splits stand ``classes.json``,
    ``det_db.json`` (fields x, y, w, h, class, score) and ``annotations/<split>.json`` in COCO's
    layout, ``<split>_without_ids.json`` without identities. ``class_changes`` is the share of the
    target's players whose class changes in mid-track. The folder appears whole or not at all.

    Raises:
        ConfigError: an empty split, or a share that is none.
        DataError: ``folder`` holds something else or cannot be written.
    """
    counts = {"train": train, "val": val}
    if min(counts.values()) < 1:
        raise ConfigError(f"sequences {counts}: every split needs at least one")
    if holdout:
        counts["holdout"] = holdout
    if not 0 <= class_changes <= 1:
        raise ConfigError(f"class_changes {class_changes:g}: must be from 0 to 1")
    stamp = {"generator": "backend.synthetic.volleyball", "version": VERSION, "seed": seed,
             "sequences": counts, "class_changes": class_changes}  # fmt: skip
    roots = {domain: folder / domain for domain in CLASSES}

    def write(making: Path) -> None:
        for domain in roots:
            _write(making / domain, domain, counts, (seed, class_changes))

    write_once(folder, stamp, "volleyball", write)
    return roots


def _write(
    root: Path, domain: str, counts: Mapping[str, int], drawn_from: tuple[int, float]
) -> None:
    names = CLASSES[domain]
    annotations = root / "annotations"
    annotations.mkdir(parents=True)
    found: dict[str, object] = {}
    for split, count in counts.items():
        clips: list[Clip] = []
        for number in range(1, count + 1):
            clip = make_clip(domain, split, number, *drawn_from)
            write_mot(root / split / clip.name, clip)
            clips.append(replace(clip, images=clip.images[:0].copy()))  # the rest is small
        found |= database(clips, names)
        write_json(annotations / f"{split}.json", coco(clips, names))
        write_json(annotations / f"{split}_without_ids.json", coco(clips, names, identities=False))
    write_json(root / DATABASE, found)
    write_classes(root / "classes.json", names)
