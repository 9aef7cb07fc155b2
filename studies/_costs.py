"""The reader that keeps what a trial's training took."""

from backend.core.costs import TOLD, costs_of
from backend.core.events import Envelope, Event
from backend.core.records import Costs


class CostSink:
    """Keeps the events that tell of costs."""

    def __init__(self) -> None:
        self._told: list[Event] = []

    @property
    def costs(self) -> Costs:
        """By what was told so far."""
        return costs_of(self._told)

    def receive(self, envelope: Envelope) -> None:
        if isinstance(envelope.event, TOLD):
            self._told.append(envelope.event)

    def close(self) -> None:
        """Nothing to release."""
