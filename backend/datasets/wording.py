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
    for kind, counts in (
        ("not among the classes", findings.dropped),
        ("of unknown type", findings.unknown),
    ):
        if counts:
            listed = [f"{key} {counts[key]}" for key in sorted(counts, key=lambda k: -counts[k])]
            notes.append(f"objects of {name} {kind}: {sum(counts.values())} ({some(listed)})")
    empty = sum(not len(frame.labels) for frame in split.frames)
    if empty:
        notes.append(f"images of {name} without an object, which stay: {empty}")
    without = [key for key, count in split.objects.items() if not count]
    if without:
        notes.append(f"classes without an object in {name}: {', '.join(without)}")
    return notes


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
