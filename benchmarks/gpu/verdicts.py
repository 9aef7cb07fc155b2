"""What a check of a GPU found, and whether that is as it should be. Pure: no torch, no GPU."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

GIB = 2**30
NOMINAL = 0.05
"""torch tells of a little less memory than the driver: a card keeps some for itself."""

Level = Literal["PASS", "FAIL", "SKIPPED"]


@dataclass(frozen=True)
class Verdict:
    """One line of the table."""

    check: str
    measured: str
    expected: str
    level: Level

    def __str__(self) -> str:
        return f"{self.level:7} {self.check}\n        {self.measured}\n        ({self.expected})"


@dataclass(frozen=True)
class Card:
    """A GPU as one of the two tells of it; ``total`` in bytes."""

    uuid: str
    name: str
    total: int


def judge(check: str, measured: str, expected: str, good: bool) -> Verdict:
    return Verdict(check, measured, expected, "PASS" if good else "FAIL")


def skipped(check: str, reason: str) -> Verdict:
    return Verdict(check, reason, "not measured", "SKIPPED")


def failed(check: str, reason: str) -> Verdict:
    return Verdict(check, reason, "it ends without an error", "FAIL")


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """1 if a check failed; what is skipped does not count."""
    return int(any(verdict.level == "FAIL" for verdict in verdicts))


def detection(nvml: Sequence[Card], torch: Sequence[Card], tier: str, reason: str) -> Verdict:
    """The driver's library and torch name the same GPUs in the same order."""

    def told(cards: Sequence[Card]) -> str:
        return ", ".join(f"{c.name} {c.total / GIB:.2f} GiB ({c.uuid})" for c in cards)

    same = len(nvml) == len(torch) and all(map(_alike, nvml, torch))
    measured = f"tier {tier} ({reason}); driver: {told(nvml)}; torch: {told(torch)}"
    return judge("tier detection", measured, "the same GPUs, memory within 5 %", same)


def _alike(ours: Card, theirs: Card) -> bool:
    short = ours.uuid.removeprefix("GPU-").removeprefix("MIG-")
    return (
        short == theirs.uuid.removeprefix("GPU-").removeprefix("MIG-")
        and 0 <= 1 - theirs.total / ours.total <= NOMINAL
    )


def sampling(ours: Mapping[str, float | None], theirs: Mapping[str, float | None]) -> Verdict:
    """Our look at the card under load beside nvidia-smi's, taken right after it.

    Memory may differ by 5 % and 300 MiB, temperature by 5 degrees, power by a third, and both
    must see that it is busy. What a card does not tell is None for both.
    """
    limits = {"memory MiB": 300.0, "temperature C": 5.0, "power W": 20.0, "utilization %": 50.0}
    shares = {"memory MiB": 0.05, "power W": 0.33}
    good = True
    for name, limit in limits.items():
        a, b = ours.get(name), theirs.get(name)
        if a is None or b is None:
            good &= a is b
        else:
            good &= abs(a - b) <= limit + shares.get(name, 0.0) * abs(b)
    told = "; ".join(f"{name} {_number(ours[name])} / {_number(theirs[name])}" for name in limits)
    expected = "ours / nvidia-smi's, alike; null only where both have none"
    return judge("sampling", told, expected, good)


def parsed(line: str) -> dict[str, float | None]:
    """A line of ``nvidia-smi --query-gpu=utilization.gpu,memory.used,power.draw,temperature.gpu
    --format=csv,noheader,nounits``."""
    names = ("utilization %", "memory MiB", "power W", "temperature C")
    return {name: _value(value) for name, value in zip(names, line.split(","), strict=True)}


def _value(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # [N/A], [Not Supported]
        return None


def _number(value: float | None) -> str:
    return "null" if value is None else f"{value:.0f}"


def recovery(
    batches: Sequence[int], causes: Sequence[str], epochs: Sequence[int], planned: int, status: str
) -> Verdict:
    """A training on a share of the card that its batch does not fit in.

    ``batches`` are what was trained with, the first one as asked for.
    """
    smaller = len(batches) > 1 and all(later <= sooner for sooner, later in pairwise(batches))
    good = (
        status == "finished"
        and smaller
        and batches[-1] < batches[0]
        and len(causes) == len(batches) - 1
        and "OutOfMemoryError" in causes[0]
        and list(epochs) == list(range(1, planned + 1))
    )
    first = causes[0].splitlines()[0][:90] if causes else "memory lasted"
    measured = (
        f"{status}; batch {' -> '.join(map(str, batches))}; epochs {list(epochs)}; first: {first}"
    )
    expected = "torch's OutOfMemoryError at first, a smaller batch, each epoch once, finished"
    return judge("out of memory", measured, expected, good)


def precision(on: Mapping[str, float], off: Mapping[str, float]) -> Verdict:
    """The same training with and without mixed precision: ``seconds`` an epoch, the last ``loss``
    and ``map``. The time is told, not judged: a small network gains nothing."""
    near = abs(on["loss"] / off["loss"] - 1) <= 0.1
    measured = (
        f"{on['seconds']:.3f} / {off['seconds']:.3f} s an epoch, ratio "
        f"{on['seconds'] / off['seconds']:.2f}; loss {on['loss']:.3f} / {off['loss']:.3f}; "
        f"val/mAP50-95 {on['map']:.3f} / {off['map']:.3f}"
    )
    return judge("mixed precision", measured, "on / off; the last loss within 10 %", near)


def memory(model: str, batch: int, size: int, estimated: float, peak: int) -> Verdict:
    """What the estimate plans for (its factor of 1.4 included) is enough, and at most three times
    what was taken."""
    ratio = peak / estimated
    measured = (
        f"{model}, batch {batch}, {size} px: planned {estimated / GIB:.2f} GiB, torch's peak "
        f"{peak / GIB:.2f} GiB, {ratio:.2f} of it"
    )
    expected = "between 0.33 and 1.00 of what was planned"
    return judge("memory estimate", measured, expected, 1 / 3 <= ratio <= 1)


def launched(status: str, looks: int, memory_seen: int | None, workers: int) -> Verdict:
    """A supervised training with forked loader processes beside CUDA."""
    seen = "none" if memory_seen is None else f"{memory_seen / GIB:.2f} GiB"
    measured = f"{status} with {workers} loader processes; {looks} looks, highest memory {seen}"
    good = status == "finished" and looks > 0 and bool(memory_seen)
    return judge("supervised training", measured, "finished; the card's memory was seen", good)
