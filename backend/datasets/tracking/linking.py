"""Identities by overlap: boxes of neighbouring frames that lie on each other are one object."""

from collections.abc import Sequence
from itertools import count

import numpy as np

from backend.datasets.tracking.records import Floats
from backend.scoring.tracking.boxes import iou

OVERLAP = 0.5


def link(frames: Sequence[int], boxes: Sequence[Floats], gap: int = 0) -> list[list[int]]:
    """An id from 1 for every box of a video; frames rise, ``boxes`` are (n, 4) of each.

    Greedy: the pair that overlaps most is joined first, from ``OVERLAP`` on. An object may be
    missing in up to ``gap`` frames. Classes are not looked at.
    """
    fresh = count(1)
    last: dict[int, tuple[int, Floats]] = {}
    linked: list[list[int]] = []
    for number, here in zip(frames, boxes, strict=True):
        alive = {key: box for key, (seen, box) in last.items() if number - seen <= gap + 1}
        ids = _greedy(alive, here)
        named = [ids[row] if row in ids else next(fresh) for row in range(len(here))]
        last = {key: value for key, value in last.items() if key in alive}
        last |= {key: (number, box) for key, box in zip(named, here, strict=True)}
        linked.append(named)
    return linked


def _greedy(alive: dict[int, Floats], here: Floats) -> dict[int, int]:
    """Row to the id that it goes on with."""
    if not alive or not len(here):
        return {}
    keys = list(alive)
    overlaps = iou(np.stack(list(alive.values())), here)
    found: dict[int, int] = {}
    for place in np.argsort(-overlaps, axis=None, kind="stable"):
        track, row = np.unravel_index(place, overlaps.shape)
        if overlaps[track, row] < OVERLAP:
            break
        if int(row) not in found and keys[track] not in found.values():
            found[int(row)] = keys[track]
    return found
