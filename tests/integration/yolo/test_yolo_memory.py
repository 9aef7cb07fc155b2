"""When memory runs out a YOLO run goes on with less, and for nothing else it does."""

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch.nn.modules.module import register_module_forward_pre_hook

from backend.core.errors import ConfigError, TrainingError
from backend.core.events import (
    Evaluated,
    Event,
    FreezeReported,
    MetricsLogged,
    Noted,
    RunStarted,
)
from backend.core.trainer import StopSignal, TrainOutcome
from backend.hardware.attempts import trained_with
from backend.hardware.recovery import read_memo
from backend.nn.finetune.weights import read_facts
from backend.trainers.yolo.spec import KNOBS, YoloConfig
from tests.support.yolo_faults import (
    DoomedConfig,
    DoomedTrainer,
    doomed,
    epochs,
    starts,
    told,
)
from tests.support.yolo_runs import StopAfter
from tests.support.yolo_runs import fit as plain_fit

from ultralytics.nn.tasks import DetectionModel  # isort: skip


def fit(
    config: DoomedConfig, folder: Path, stop: StopSignal | None = None
) -> tuple[TrainOutcome, list[Event]]:
    folder.mkdir(exist_ok=True)
    events: list[Event] = []
    outcome = DoomedTrainer(config, folder).fit(events.append, stop or StopAfter())
    return outcome, events


class Alive:
    """How many networks of earlier attempts there still are when an attempt begins."""

    def __init__(self) -> None:
        self._made: weakref.WeakSet[Any] = weakref.WeakSet()
        self.counts: list[int] = []

    def __call__(self, module: Any, _: object) -> None:
        if isinstance(module, DetectionModel):
            self._made.add(module)

    def count(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.counts.append(len(self._made))


FAULTS = (
    "images:cv2",
    "forward:cuda",
    "backward:torch@9",
    "step:numpy@5",
    "val:onednn@2",
    "evaluation:torch",
)
"""In the set-up, the first epoch, the second, the third and its validation, and after it."""


@dataclass(frozen=True)
class Disturbed:
    """A training in which memory ran out in each phase, once."""

    outcome: TrainOutcome
    events: list[Event]
    alive: list[int]
    config: DoomedConfig
    folder: Path


@pytest.fixture(scope="module")
def disturbed(scratch: YoloConfig, tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    folder, alive = tmp_path_factory.mktemp("disturbed"), Alive()
    config = doomed(scratch, *FAULTS, batch=16, cache=True, workers=2, save_period=1)
    events: list[Event] = []

    def emit(event: Event) -> None:
        alive.count(event)
        events.append(event)

    hook = register_module_forward_pre_hook(alive)
    try:
        outcome = DoomedTrainer(config, folder).fit(emit, StopAfter())
    finally:
        hook.remove()
    return Disturbed(outcome, events, alive.counts, config, folder)


def test_each_phase_takes_the_next_rung(disturbed: Disturbed) -> None:
    assert disturbed.outcome.status == "finished"
    said = told(disturbed.events)
    assert [(e.attempt, e.phase, e.kind, e.action) for e in said] == [
        (1, "setup", "host", "batch 16 -> 8"),
        (2, "train", "device", "batch 8 -> 4"),
        (3, "train", "host", "batch 4 -> 2"),
        (4, "train", "host", "imgsz 64 -> 32"),
        (5, "val", "host", "cache True -> False"),
        (6, "evaluation", "host", "batch 2 -> 1"),
    ]
    assert [e.skipped for e in said] == [
        *((), (), ()), ("batch",), ("batch", "images"), ()
    ]  # fmt: skip
    causes = ("Insufficient", "CUDA", "DefaultCPUAllocator", "EiB", "primitive", "can't allocate")
    assert all(cause in e.cause for cause, e in zip(causes, said, strict=True))
    asked = {"batch": 16, "imgsz": 64, "cache": True, "model": disturbed.config.model}
    assert all(e.requested == asked for e in said), "workers have no effect on the CPU"
    assert said[-1].effective == {**asked, "batch": 1, "imgsz": 32, "cache": False}
    at = [disturbed.events.index(e) for e in said]
    assert all(isinstance(disturbed.events[place - 1], RunStarted) for place in at)


def test_no_epoch_is_lost_and_none_is_told_twice(disturbed: Disturbed) -> None:
    begun = starts(disturbed.events)
    assert [e.resumed_from for e in begun] == [None, None, None, 1, 2, 2, 3]
    assert epochs(disturbed.events) == [1, 2, 3]
    steps = [e.step for e in disturbed.events if isinstance(e, MetricsLogged)]
    assert begun[-1].plan is not None
    assert max(steps) == begun[-1].plan.steps
    assert [e.step for e in told(disturbed.events)][-1] == max(steps)


def test_a_failed_evaluation_trains_nothing_again(disturbed: Disturbed) -> None:
    last = disturbed.events[disturbed.events.index(starts(disturbed.events)[-1]) :]
    assert not any(isinstance(event, MetricsLogged) for event in last)
    (report,) = [e.report for e in disturbed.events if isinstance(e, Evaluated)]
    assert report.settings["imgsz"] == "32"
    assert len([e for e in last if isinstance(e, FreezeReported)]) == 2


def test_nothing_of_a_failed_attempt_is_kept(disturbed: Disturbed) -> None:
    """Neither its networks nor, through its frames, its engine."""
    assert disturbed.alive == [0] * 7


def test_a_checkpoint_says_at_which_size_it_was_trained(disturbed: Disturbed) -> None:
    paths = sorted(disturbed.folder.glob("checkpoints/*.safetensors"))
    assert [read_facts(path)["imgsz"] for path in paths] == [64, 64, 32]
    used = trained_with(disturbed.config, disturbed.folder, KNOBS)
    assert (used.batch, used.imgsz, used.cache) == (1, 32, False)


def test_other_errors_are_never_tried_again(scratch: YoloConfig, tmp_path: Path) -> None:
    config = doomed(scratch, "forward:bug", "forward:bug")
    events: list[Event] = []
    with pytest.raises(ValueError, match="says a bug"):
        DoomedTrainer(config, tmp_path).fit(events.append, StopAfter())
    assert len(starts(events)) == 1
    assert not (tmp_path / "memory.json").exists()


@pytest.mark.parametrize(
    ("more", "sentence", "attempts"),
    [
        ({"hardware.recover": False}, r"lower batch; hardware\.recover is false, so it ends", 1),
        ({"batch": 4, "imgsz": 32}, r"as small as it may be; tried: batch 4 -> 2; use a", 2),
        ({"hardware.max_attempts": 2}, r"max_attempts is 2; tried: batch 8 -> 4; use a", 2),
    ],
)
def test_the_end_is_one_sentence_with_the_reason(
    scratch: YoloConfig, tmp_path: Path, more: dict[str, object], sentence: str, attempts: int
) -> None:
    config = doomed(scratch, *["images:cv2"] * 9, **more)
    with pytest.raises(TrainingError, match=sentence) as caught:
        fit(config, tmp_path)
    assert "Insufficient memory" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "faults").read_text() == str(attempts)


def test_who_asks_to_stop_need_not_wait_for_another_attempt(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    outcome, events = fit(doomed(scratch, "forward:cuda"), tmp_path, StopAfter(1))
    assert outcome == TrainOutcome(status="stopped", best=None, reason="enough")
    assert len(starts(events)) == 1
    assert told(fit(doomed(scratch, "forward:cuda"), tmp_path)[1]) == []


def test_a_run_stays_lowered_when_it_is_continued_and_is_still_the_same_run(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    config = doomed(scratch, "forward:cuda", epochs=2)
    _, before = fit(config, tmp_path, StopAfter(2))  # it is asked in the recovery, too
    with pytest.raises(ConfigError, match=r"had batch = 8, now it is 4"):
        fit(config.replace({"batch": 4}), tmp_path)
    outcome, events = fit(config.replace({"hardware.max_attempts": 3}), tmp_path)
    assert outcome.status == "finished"
    assert told(events) == [], "told once"
    assert read_memo(tmp_path).overrides == {"batch": 4}
    assert epochs(before) + epochs(events) == [1, 2]


def test_gradients_are_gathered_alike_after_an_interruption(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    """Half the batch, twice the batches per step: also the first step of a continued run."""
    config = scratch.replace(
        {"epochs": 2, "batch": 4, "optimizer.nbs": 8, "optimizer.warmup_epochs": 0}
    )
    whole = plain_fit(config, tmp_path / "whole")
    first = plain_fit(config, tmp_path / "work", StopAfter(1))
    second = plain_fit(config, tmp_path / "work")
    assert [*first.epochs(), *second.epochs()] == whole.epochs()
    assert [e.step for e in whole.epochs()] == [3, 6]
    begun = starts(list(second.events))[0]
    assert begun.plan is not None
    assert begun.plan.steps == 6


def test_a_run_is_scaled_to_its_tier(scratch: YoloConfig, tmp_path: Path) -> None:
    scaling = {"hardware.auto_scale": True, "hardware.tier": "low", "hardware.keep": ["imgsz"]}
    _, events = fit(doomed(scratch, epochs=1, batch=4, **scaling), tmp_path)
    started, note = events[:2]
    assert isinstance(started, RunStarted)
    assert started.environment["tier"] == "low"
    assert isinstance(note, Noted)
    assert note.message == "scaled to tier low (asked for): batch 4 -> 8"
    assert max(e.step for e in events if isinstance(e, MetricsLogged)) == 3
    memo = read_memo(tmp_path)
    assert memo.asked == memo.planned == {"batch": 8}
