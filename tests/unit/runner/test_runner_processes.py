"""What the processes of one training tell their parent, here without processes."""

import errno
from multiprocessing import get_context

import pytest

from backend.core.errors import ConfigError
from backend.core.events import Event, Noted
from backend.runner.processes import _listening
from tests.support.conformance import After, Never

SAID = Noted(level="info", message="a step is done")


def test_events_and_questions_are_handed_on_and_what_is_refused_is_kept() -> None:
    ours, theirs = get_context("spawn").Pipe()
    events: list[Event] = []
    failures: list[Exception] = []
    with _listening(ours, theirs, events.append, After(1), failures):
        theirs.send(SAID)
        theirs.send(None)
        assert theirs.recv() == "enough"
        theirs.send(ConfigError("optimizer.lr has no rate"))
    assert events == [SAID]
    (failure,) = failures
    assert isinstance(failure, ConfigError)
    assert str(failure) == "optimizer.lr has no rate"


def test_a_process_whose_events_cannot_be_written_waits_for_no_answer() -> None:
    def full(event: Event) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ours, theirs = get_context("spawn").Pipe()
    failures: list[Exception] = []
    with _listening(ours, theirs, full, Never(), failures):
        theirs.send(SAID)
        with pytest.raises((EOFError, OSError)):
            theirs.recv()
    (failure,) = failures
    assert isinstance(failure, OSError)
    assert failure.errno == errno.ENOSPC
