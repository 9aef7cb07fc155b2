"""Where events go, and how they are read back."""

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from backend.core.errors import StoreError
from backend.core.events import Envelope, Event, RunStarted


class EventSink(Protocol):
    """Receives envelopes in order; ``close`` is called once, after the last one."""

    def receive(self, envelope: Envelope) -> None: ...

    def close(self) -> None: ...


class MemorySink:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.closed = False

    def receive(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    def close(self) -> None:
        self.closed = True


class Fanout:
    """Hands each envelope to several sinks; each sink is closed even if another fails to."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._sinks = tuple(sinks)

    def receive(self, envelope: Envelope) -> None:
        for sink in self._sinks:
            sink.receive(envelope)

    def close(self) -> None:
        errors: list[Exception] = []
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001 (every sink gets its turn)
                errors.append(error)
        if errors:
            raise errors[0]


class Deferred:
    """Makes a sink when a run really starts; a run that never does leaves no trace in it."""

    def __init__(self, make: Callable[[], EventSink]) -> None:
        self._make = make
        self._sink: EventSink | None = None

    def receive(self, envelope: Envelope) -> None:
        if self._sink is None and isinstance(envelope.event, RunStarted):
            self._sink = self._make()
        if self._sink is not None:
            self._sink.receive(envelope)

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()


class JsonlSink:
    """Appends one envelope per line, each line handed to the system at once.

    A line torn by a crash is cut off before appending.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            _cut_torn_line(path)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def receive(self, envelope: Envelope) -> None:
        self._file.write(envelope.model_dump_json() + "\n")

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class Tail:
    """Reads a growing event file; each ``poll`` gives the complete lines since the last one.

    Raises StoreError, naming file and line, for a line that is not an event.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._line = 0

    def poll(self) -> list[Envelope]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return list(self._parse(complete))

    def _parse(self, data: bytes) -> Iterator[Envelope]:
        for line in data.splitlines():
            self._line += 1
            try:
                yield Envelope.model_validate_json(line)
            except ValidationError as error:
                what = error.errors()[0]["msg"]
                raise StoreError(
                    f"{self._path}, line {self._line}: not an event of this version ({what})"
                ) from error


def read_events(path: Path) -> list[Envelope]:
    """All complete events of a file. Raises StoreError if there is no such file."""
    if not path.is_file():
        raise StoreError(f"{path}: no event file; is this a run's work directory?")
    return Tail(path).poll()


def interleaved(
    told: Sequence[Envelope], seen: Sequence[Envelope], begins: bool = True
) -> list[Envelope]:
    """What a worker told and what its parent saw, by time; the last word is the worker's, and the
    first one if the run ``begins`` here."""
    first = told[: int(begins)]
    rest = told[len(first) :]
    between = heapq.merge(rest[:-1], seen, key=lambda envelope: envelope.time)
    return [*first, *between, *rest[-1:]]


def first_event(path: Path) -> Event | None:
    """How a run began, without reading the rest; None if that cannot be told."""
    try:
        with path.open(encoding="utf-8") as file:
            return Envelope.model_validate_json(file.readline()).event
    except (OSError, ValueError):
        return None


def _cut_torn_line(path: Path) -> None:
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end != len(data):
        os.truncate(path, end)
