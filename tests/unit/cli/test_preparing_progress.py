"""What a person sees of a run before its first step."""

import time

import pytest

from backend.cli._progress import TrainingProgress
from backend.core.events import Envelope, Event, MetricsLogged, Prepared, RunStarted


def test_what_is_prepared_is_counted_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """One when it begins, one for each tenth, and one while another process does it."""
    events: list[Event] = [
        RunStarted(
            trainer="toy", epochs=3, headline="val/f1", metrics=(), data=(), environment={}
        ),
        Prepared(what="features, by another process"),
        *(Prepared(what="features", done=done, total=30) for done in range(31)),
        MetricsLogged(step=1, epoch=1, metrics={"val/f1": 0.5}),
    ]
    with TrainingProgress() as progress:
        reader = progress.reader("run a")
        for number, event in enumerate(events):
            reader.receive(Envelope(seq=number, time=time.time(), event=event))
        (task,) = progress._progress.tasks
        assert (task.completed, task.total) == (1, 3)
    said = [line.strip() for line in capsys.readouterr().out.splitlines() if "before" in line]
    prefix = "run a: before the first step: features"
    assert said == [
        f"{prefix}, by another process",
        *(f"{prefix} {done} of 30" for done in range(0, 31, 3)),
    ]
