"""The healthy bank: real runs, stored as what they told."""

import json
from pathlib import Path
from typing import Any

from backend.analysis.diagnostics.evidence import Evidence, evidence_of
from backend.core.events import Event
from backend.core.records import Record

FOLDER = Path(__file__).parents[2] / "benchmarks" / "data" / "healthy"
DIGITS = 4


class Banked(Record):
    """A run: the config file it was made from with what was changed, its seed, its whole config
    (flat, without paths) and its events."""

    name: str
    made_from: str
    seed: int
    changes: dict[str, str]
    config: dict[str, str]
    events: tuple[Event, ...]

    def evidence(self) -> Evidence:
        """What the rules get."""
        return evidence_of(self.events, self.config)


def bank() -> list[Banked]:
    """All stored runs, by name."""
    return [
        Banked.model_validate_json(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))
    ]


def written(run: Banked) -> str:
    """The file of a run: an event in a line, numbers to four digits."""
    told = run.model_dump(mode="json", exclude={"events"})
    events = [event.model_dump(mode="json", exclude_defaults=True) for event in run.events]
    lines = [
        json.dumps(_rounded({"type": event.type, **dumped}), separators=(",", ":"))
        for event, dumped in zip(run.events, events, strict=True)
    ]
    head = json.dumps(told, separators=(",", ":"))[:-1]
    return head + ',"events":[\n' + ",\n".join(lines) + "\n]}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
