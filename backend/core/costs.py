"""What a training took, from what it told."""

from collections.abc import Iterable
from statistics import median

from backend.core.events import CostsMeasured, Event, FreezeReported
from backend.core.records import Costs

TOLD = (FreezeReported, CostsMeasured)
"""The events that it is read from."""


def costs_of(events: Iterable[Event]) -> Costs:
    """Parameters that train as declared, and what was measured, of all attempts together.

    Epochs have their median: the first one also pays for what is made once.
    """
    trainable: int | None = None
    seconds: dict[int, float] = {}
    newest: CostsMeasured | None = None
    for event in events:
        if isinstance(event, FreezeReported) and event.phase == "declared":
            trainable = sum(group.trainable for group in event.groups)
        elif isinstance(event, CostsMeasured):
            seconds |= event.seconds
            newest = event
    return Costs(
        trainable=trainable,
        seconds=median(seconds.values()) if seconds else None,
        memory=newest.memory if newest else None,
        memory_of=newest.memory_of if newest else None,
    )
