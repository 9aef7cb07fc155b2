"""The ladder that a run steps down when memory runs out, in the brief's order: half the batch,
smaller images, no cache, fewer loader processes; each until its floor. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from backend.core.events import Order, Setting
from backend.core.knobs import Knobs

Settings = Mapping[str, Setting]
"""Settings by config key."""


@dataclass(frozen=True)
class Rung:
    """What is changed, in words and as settings, and which rungs had nothing to give."""

    action: str
    settings: dict[str, Setting]
    skipped: tuple[str, ...] = ()


def step_down(
    requested: Settings, effective: Settings, knobs: Knobs, order: Order = "batch"
) -> Rung | None:
    """The next rung below ``effective``, or None at the ladder's end; ``requested`` is what the
    floors are measured by.

    ``order`` "cache": what holds images in the machine's memory (cache, loader processes) is
    given up first; for a lack of that memory, not of a GPU's.
    """
    image = {"batch": _batch, "images": _size}
    memory = {"cache": _cache, "workers": _workers}
    rungs = memory | image if order == "cache" else image | memory
    skipped: list[str] = []
    for name, rung in rungs.items():
        change = rung(requested, effective, knobs)
        if change:
            told = [
                f"{key} {in_words(effective[key])} -> {in_words(v)}" for key, v in change.items()
            ]
            return Rung(", ".join(told), {**effective, **change}, tuple(skipped))
        skipped.append(name)
    return None


def _batch(requested: Settings, effective: Settings, knobs: Knobs) -> dict[str, Setting]:
    """The largest part of the batch, up to a half, of which the whole is a multiple: the
    optimizer's step then has the samples that it had, and an epoch as many steps."""
    batch = whole(effective[knobs.batch])
    if knobs.accumulate is None:
        half = max(batch // 2, knobs.smallest)
        return {knobs.batch: half} if half < batch else {}
    parts = [n for n in range(batch // 2, knobs.smallest - 1, -1) if n and batch % n == 0]
    if not parts:
        return {}
    times = batch // parts[0]
    return {
        knobs.batch: parts[0],
        knobs.accumulate: whole(effective[knobs.accumulate]) * times,
    }


def _size(requested: Settings, effective: Settings, knobs: Knobs) -> dict[str, Setting]:
    if knobs.size is None:
        return {}
    key = knobs.size.key
    smaller = knobs.size.smaller(effective[key], requested[key])
    return {} if smaller is None else {key: smaller}


def _cache(requested: Settings, effective: Settings, knobs: Knobs) -> dict[str, Setting]:
    if knobs.cache is None or effective[knobs.cache] in (False, "off"):
        return {}
    return {knobs.cache: False if isinstance(effective[knobs.cache], bool) else "off"}


def _workers(requested: Settings, effective: Settings, knobs: Knobs) -> dict[str, Setting]:
    if knobs.workers is None or not effective[knobs.workers]:
        return {}
    return {knobs.workers: whole(effective[knobs.workers]) // 2}


def whole(value: Setting) -> int:
    """A setting that is a number."""
    assert isinstance(value, int)
    return value


def in_words(value: Setting) -> str:
    """``16``, or ``640x480`` for the sides of an image."""
    return "x".join(str(one) for one in value) if isinstance(value, tuple) else str(value)
