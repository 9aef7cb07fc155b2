"""What is concluded from a process that memory ended."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backend.core.errors import TrainingError
from backend.core.events import Envelope, Event, Noted, Recovered
from backend.core.sinks import JsonlSink
from backend.core.trainer import TrainOutcome
from backend.core.workdir import WorkDir
from backend.hardware.attempts import Attempts, Part, Site
from backend.hardware.estimate import Need
from backend.hardware.memory import Shortage
from backend.hardware.recovery import Death, note_death, read_memo
from backend.trainers.yolo.spec import KNOBS, YoloConfig

DIED = Death(shortage=Shortage(kind="host", cause="killed"), phase="train", step=3)


class Quiet:
    """Nobody asks to stop."""

    def reason(self) -> str | None:
        return None


def nothing() -> None:
    """Is held."""


def unused(config: YoloConfig) -> Need:
    raise AssertionError(config)


def attempts(folder: Path, **more: object) -> Attempts[YoloConfig]:
    config = YoloConfig.model_validate({"model": "a.yaml", "data": "b.yaml", "device": "cpu"})
    return Attempts(config.replace(dict(more)), folder, KNOBS, Site(), unused)


def trained(found: list[int]) -> Callable[[YoloConfig, Part], TrainOutcome]:
    def attempt(config: YoloConfig, part: Part) -> TrainOutcome:
        found.append(config.batch)
        return TrainOutcome(status="finished", best=None)

    return attempt


def test_at_the_ladders_end_it_ends_but_who_continues_it_may_try_once_more(
    tmp_path: Path,
) -> None:
    """As if the process had told of it by itself: memory may be there by now."""
    assert note_death(tmp_path, DIED)
    with pytest.raises(TrainingError, match="max_attempts is 1"):
        attempts(tmp_path, **{"hardware.max_attempts": 1})
    found: list[int] = []
    attempts(tmp_path, **{"hardware.max_attempts": 1}).run(trained(found), nothing, Quiet())
    assert found == [16]


def test_a_death_is_concluded_from_once(tmp_path: Path) -> None:
    assert note_death(tmp_path, DIED)
    found: list[int] = []
    for _ in range(2):
        attempts(tmp_path).run(trained(found), nothing, Quiet())
    assert found == [8, 8]
    (recovered,) = read_memo(tmp_path).recovered
    assert (recovered.phase, recovered.step) == ("train", 3)


def test_a_step_down_is_told_by_the_next_attempt_if_its_own_died_first(tmp_path: Path) -> None:
    """Memory may run out while a smaller training is still being set up."""
    sink = JsonlSink(WorkDir(tmp_path).events)
    heard: list[int] = []

    def attempt(config: YoloConfig, part: Part) -> TrainOutcome:
        for event in part.events:
            assert isinstance(event, Recovered)
            heard.append(event.attempt)
            sink.receive(Envelope(seq=len(heard), time=0.0, event=event))
        return TrainOutcome(status="finished", best=None)

    for _ in range(2):
        assert note_death(tmp_path, DIED)
        last = attempts(tmp_path)  # and nothing is heard of the first one
    last.run(attempt, nothing, Quiet())
    attempts(tmp_path).run(attempt, nothing, Quiet())
    sink.close()
    assert heard == [1, 2]


def test_a_smallest_size_above_the_images_is_told_once(tmp_path: Path) -> None:
    def opening(folder: str, **more: object) -> tuple[Event, ...]:
        heard: list[Event] = []

        def attempt(config: YoloConfig, part: Part) -> TrainOutcome:
            heard.extend(part.events)
            return TrainOutcome(status="finished", best=None)

        attempts(tmp_path / folder, **{"imgsz": 320, **more}).run(attempt, nothing, Quiet())
        return tuple(heard)

    (note,) = opening("above", **{"hardware.smallest_size": 640})
    assert isinstance(note, Noted)
    assert (note.level, note.message) == (
        "warning",
        "hardware.smallest_size 640 is above imgsz 320: if memory runs out, the images stay as "
        "they are",
    )
    assert opening("at", **{"hardware.smallest_size": 320}) == ()
    assert opening("unset", imgsz=64) == (), "the trainer's own floor is nobody's wish"
    assert opening("off", **{"hardware.smallest_size": 640, "hardware.recover": False}) == ()
