"""What was left out of a split, in sentences."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from backend.datasets.detection import DetectionSplit

SHOWN = 10


def notes_of(split: DetectionSplit) -> list[str]:
    """What a person should know before training on it."""
    findings, name = split.findings, split.split
    notes = []
    if findings.left_out:
        total = len(split.frames) + len(findings.left_out)
        why = "; ".join(reasons(findings.left_out))
        notes.append(f"frames of {name} left out: {len(findings.left_out)} of {total}: {why}")
    for reason, frames in findings.bad_boxes.items():
        notes.append(f"boxes of {name} left out, {reason}: {len(frames)} ({some(frames)})")
    if findings.clipped:
        at = some(findings.clipped)
        notes.append(f"boxes of {name} clipped at the border: {len(findings.clipped)} ({at})")
    if findings.unknown:
        notes.append(f"objects of {name} of unknown type: {_counted(findings.unknown)}")
    without = [key for key, count in split.objects.items() if not count]
    if without:
        notes.append(f"classes without an object in {name}: {', '.join(without)}")
    return notes


def remarks_of(split: DetectionSplit) -> list[str]:
    """What is as it was asked for, and good to know."""
    remarks = []
    if split.findings.dropped:
        dropped = _counted(split.findings.dropped)
        remarks.append(f"objects of {split.split} not among the classes: {dropped}")
    empty = sum(not len(frame.labels) for frame in split.frames)
    if empty:
        remarks.append(f"images of {split.split} without an object, which stay: {empty}")
    return remarks


def _counted(counts: Mapping[str, int]) -> str:
    """How many there are of all kinds, and of the most frequent ones."""
    listed = [f"{key} {counts[key]}" for key in sorted(counts, key=lambda k: -counts[k])]
    return f"{sum(counts.values())} ({some(listed)})"


def reasons(left_out: Mapping[str, str]) -> list[str]:
    """Each reason with how many frames it has, and the first of them."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in left_out.items():
        by_reason[reason].append(name)
    return [f"{reason} {len(names)} ({some(names)})" for reason, names in by_reason.items()]


def some(names: Sequence[str]) -> str:
    """The first ten of the names, each once."""
    distinct = list(dict.fromkeys(names))
    return ", ".join(distinct[:SHOWN]) + (", …" if len(distinct) > SHOWN else "")
