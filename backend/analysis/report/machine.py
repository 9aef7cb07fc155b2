"""The machine's part in a training: how fast it was, what it took, and what it changed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from statistics import median
from typing import NamedTuple

from backend.analysis import text
from backend.analysis.report.blocks import Block, cell, code, facts, table
from backend.analysis.report.course import Course
from backend.analysis.report.settings import value_of
from backend.core.events import HardwareSampled, Recovered, Setting
from backend.core.records import Costs
from backend.hardware.machine import GIB

LOGGED = ("mem", "gpu", "vram", "cpu", "util")
"""Metric names that speak of the machine: another program's, since ours are no metrics."""
MEMORY = re.compile(r"显存|\bv?ram\b|gpu.{0,20}mem|mem.{0,20}gpu", re.IGNORECASE)
OF_TOTAL = re.compile(r"(\d+(?:\.\d+)?) *Gi?B */ *(\d+(?:\.\d+)?) *Gi?B", re.IGNORECASE)
"""A setting of another program that tells how much memory was used, of how much."""

PHASES = {"val": "validation", "train": "training", "evaluation": "final evaluation"}


class InUse(NamedTuple):
    """The most of a GPU's memory that was in use, and what there is of it."""

    used: float
    total: float
    unit: str

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.used / self.total


def speed_and_memory(
    course: Course, samples: Sequence[HardwareSampled], imported: bool
) -> list[Block]:
    """How long epochs took, and what was seen of the machine; nothing of what was not."""
    rows = [
        *_epochs(course, imported),
        *_took(course.costs),
        *_gpus(samples),
        *_host(samples),
        *_logged(course),
    ]
    return ["## Speed and memory", facts(rows)] if any(value for _, value in rows) else []


def _epochs(course: Course, imported: bool) -> list[tuple[str, str]]:
    seconds = list(course.seconds.values())
    if imported and len(seconds) < len(course.epochs) - 1:
        seconds = []  # epochs that share a time have that of a file, which says nothing of speed
    if not seconds:
        return []
    usual = median(seconds)
    plan = course.starts[-1].plan if course.starts else None
    samples = plan.samples_per_epoch if plan else None
    shortest, longest = text.minutes(min(seconds)), text.minutes(max(seconds))
    rate = f"{samples / usual:,.1f}" if samples else ""
    return [
        ("time per epoch, validation included (median)", text.minutes(usual)),
        ("shortest and longest epoch", f"{shortest} and {longest}"),
        (f"all {len(seconds)} timed epochs", text.minutes(sum(seconds))),
        ("training samples per second, validation included (median)", rate),
    ]


def _took(costs: Costs) -> list[tuple[str, str]]:
    """What the training process measured of itself."""
    of = (
        "GPU memory allocated by torch"
        if costs.memory_of == "device"
        else ("memory of the training process without loaders")
    )
    seconds = "" if costs.seconds is None else text.minutes(costs.seconds)
    peak = "" if costs.memory is None else f"{costs.memory / GIB:.2f} GiB"
    return [
        ("training time per epoch, without validation (median)", seconds),
        (f"{of}, peak", peak),
    ]


def _gpus(samples: Sequence[HardwareSampled]) -> list[tuple[str, str]]:
    indices = sorted({gpu.index for seen in samples for gpu in seen.gpus})
    return [row for index in indices for row in _gpu(index, samples)]


def _gpu(index: int, samples: Sequence[HardwareSampled]) -> Iterable[tuple[str, str]]:
    seen = [(gpu, s.samples) for s in samples for gpu in s.gpus if gpu.index == index]
    name = next((gpu.name for gpu, _ in seen if gpu.name), "")
    of = f"GPU {index}{f' ({cell(name)})' if name else ''}"
    load = _mean((gpu.utilization, looks) for gpu, looks in seen)
    power = _mean((gpu.power, looks) for gpu, looks in seen)
    yield f"{of}, mean utilisation", _with(load, "%")
    yield f"{of}, peak memory in use", _memory((gpu.memory, gpu.total) for gpu, _ in seen)
    yield f"{of}, mean power", _with(power, "W")


def memory_in_use(samples: Sequence[HardwareSampled], told: Mapping[str, str]) -> InUse | None:
    """The highest use of a GPU's memory.

    ``told`` are the settings of a run; where nobody looked, that of one which names a GPU's memory
    (``12.2 GB / 32 GB``) counts. None if nothing is known.
    """
    seen = [
        InUse(gpu.memory / GIB, gpu.total / GIB, "GiB")
        for sample in samples
        for gpu in sample.gpus
        if gpu.memory is not None and gpu.total
    ]
    for name, value in () if seen else told.items():
        found = OF_TOTAL.search(value)
        if found and float(found[2]) and MEMORY.search(name):
            seen.append(InUse(float(found[1]), float(found[2]), "GB"))
    return max(seen, key=lambda one: one.share, default=None)


def _host(samples: Sequence[HardwareSampled]) -> list[tuple[str, str]]:
    own = _mean((seen.cpu, seen.samples) for seen in samples)
    whole = _mean((seen.host_cpu, seen.samples) for seen in samples)
    rss = _memory((seen.rss, seen.total) for seen in samples)
    memory = _memory((seen.memory, seen.total) for seen in samples)
    return [
        ("CPU of the training and its loaders, mean", _with(own, "% of one core")),
        ("CPU of the whole host, mean", _with(whole, "%")),
        ("memory of the training and its loaders, peak", rss),
        ("memory of the whole host, peak", memory),
    ]


def _logged(course: Course) -> Iterable[tuple[str, str]]:
    for key in sorted(course.curves):
        values = course.finite(key).values()
        if values and any(word in key.lower() for word in LOGGED):
            ends = f"{text.plain(min(values))} to {text.plain(max(values))}"
            yield f"{code(key)}, lowest to highest", ends


def _mean(values: Iterable[tuple[float | None, int]]) -> float | None:
    """Each value counts as often as it was looked at."""
    known = [(value, weight) for value, weight in values if value is not None]
    looks = sum(weight for _, weight in known)
    return fsum(value * weight for value, weight in known) / looks if looks else None


def _with(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.0f} {unit}"


def _memory(seen: Iterable[tuple[int | None, int | None]]) -> str:
    """The highest use (bytes), and what there is."""
    known = [(used, total) for used, total in seen if used is not None]
    if not known:
        return ""
    most, total = max(known, key=lambda one: one[0])
    return f"{most / GIB:.1f}{f' of {total / GIB:.1f}' if total else ''} GiB"


def changes(
    course: Course, requested: Mapping[str, str], effective: Mapping[str, Setting]
) -> list[Block]:
    """What the tier and a lack of memory made of the settings; nothing if they made nothing.

    ``effective`` are the settings that the machine decided, as they were at the end.
    """
    rows = [
        (code(key), value_of(requested.get(key)), cell(_text(value)))
        for key, value in effective.items()
        if requested.get(key) != _text(value)
    ]
    told = [_recovery(event) for event in course.recoveries]
    if not rows and not told:
        return []
    blocks: list[Block] = ["## Settings that the machine changed"]
    if rows:
        blocks.append(table(("setting", "requested", "at the end"), rows, left=3))
    if told:
        head = ("attempt", "optimizer steps done", "phase", "what ran out", "went on with")
        blocks += ["### Memory ran out", table(head, told, left=5)]
    return blocks


def _recovery(event: Recovered) -> tuple[str, ...]:
    kind = "GPU memory" if event.kind == "device" else "memory of the host"
    return (
        str(event.attempt),
        text.ABSENT if event.step is None else f"{event.step:,}",
        PHASES.get(event.phase, event.phase),
        f"{kind} ({cell(event.cause)})",
        cell(event.action),
    )


def _text(value: Setting) -> str:
    """As a run's configuration has it."""
    return str(list(value)) if isinstance(value, tuple) else str(value)
