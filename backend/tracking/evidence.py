"""What a run tells of itself beside numbers and weights, as artifacts that only grow at their end.

An event per line, in parts: only the newest part is written again, so that a long training's
evidence costs no more per validation than a short one's.
"""

from collections.abc import Iterator

from pydantic import TypeAdapter

from backend.core.events import (
    CostsMeasured,
    DataSurveyed,
    Evaluated,
    Event,
    FreezeReported,
    InputProbed,
    MovementObserved,
    NonfiniteSeen,
    PredictionsObserved,
    Recovered,
    RunFinished,
    RunStarted,
    TracksObserved,
)
from backend.tracking import names

EVIDENCE = (
    RunStarted
    | FreezeReported
    | DataSurveyed
    | MovementObserved
    | PredictionsObserved
    | TracksObserved
    | InputProbed
    | NonfiniteSeen
    | Recovered
    | CostsMeasured
    | Evaluated
    | RunFinished
)
PART_LETTERS = 100_000

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class EvidenceLog:
    """Gathers events; ``flush`` gives the files to write, by name."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._letters = 0
        self._part = 0
        self._written = True

    def add(self, event: Event) -> None:
        """Take an event, if it is evidence."""
        if isinstance(event, EVIDENCE):
            line = event.model_dump_json()
            self._lines.append(line)
            self._letters += len(line)
            self._written = False

    def flush(self) -> Iterator[tuple[str, str]]:
        """The newest part with all its lines, if it has grown; a full part is the last time."""
        if self._written:
            return
        yield names.evidence_file(self._part), "\n".join(self._lines) + "\n"
        self._written = True
        if self._letters >= PART_LETTERS:
            self._lines, self._letters, self._part = [], 0, self._part + 1


def read_part(content: bytes) -> tuple[Event, ...]:
    """The events of a part. Raises ValueError."""
    return tuple(_EVENT.validate_json(line) for line in content.splitlines())
