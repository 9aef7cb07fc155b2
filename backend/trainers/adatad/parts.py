"""What trains and how fast (specs/adatad.md, 3)."""

from collections.abc import Iterator

from backend.runner.training import Parts
from backend.trainers.adatad.selection import GROUPS, group_of
from backend.trainers.adatad.spec import AdaTadConfig
from backend.trainers.adatad.weights import Start


def part_of(name: str) -> str:
    """The part of the network that a parameter belongs to, as reports show it: ``backbone``,
    ``adapter``, ``projection``, ``neck`` or ``head``."""
    group = group_of(name)
    return name.partition(".")[0] if group == "detector" else group


def parts_of(start: Start, config: AdaTadConfig) -> Parts:
    """The freezing plan, and the rate of each parameter."""
    return Parts(
        frozen=start.selection.frozen,
        part_of=part_of,
        group_of=group_of,
        notes=tuple(_group_notes(start, config)),
    )


def _group_notes(start: Start, config: AdaTadConfig) -> Iterator[str]:
    """A line for each group that the network has."""
    for group in GROUPS:
        count, rate = start.selection.counts[group], config.runner.optimizer.lr[group]
        if count.numbers:
            yield (
                f"group {group}: {count.numbers:,} of {count.of_numbers:,} parameters train at a "
                f"learning rate of {rate:g}"
            )
        elif count.of_numbers:
            yield f"group {group}: {count.of_numbers:,} parameters are frozen"
