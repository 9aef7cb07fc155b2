"""When a training validates, saves, averages and ends."""

import dataclasses
import errno
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend.core.errors import ConfigError, TrainingError
from backend.core.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    FreezeReported,
    MetricsLogged,
    Noted,
    RunStarted,
)
from backend.core.records import EvalReport
from backend.core.trainer import StopSignal, TrainOutcome
from backend.nn.finetune.weights import load_weights
from backend.runner.fit import fit
from backend.runner.training import NoWatch, Parts, Point, Training, Validated
from tests.support.conformance import After, Never
from tests.support.runner_toy import SPEC, RunnerToyConfig, build

Change = Callable[[Training], Training]


class Fitted:
    """A training of 24 images in batches of 4, six steps in each epoch."""

    def __init__(
        self,
        squares: Path,
        folder: Path,
        change: Change = lambda training: training,
        stop: StopSignal | None = None,
        **overrides: object,
    ) -> None:
        config = RunnerToyConfig(data=squares).replace(
            {key.replace("__", "."): value for key, value in overrides.items()}
        )
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.events: list[Event] = []
        self.training = change(build(config, folder))
        self.outcome: TrainOutcome = fit(self.training, self.emit, stop or Never(), folder)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def metrics(self, key: str) -> dict[int, float]:
        logged = [event for event in self.events if isinstance(event, MetricsLogged)]
        return {event.step: event.metrics[key] for event in logged if key in event.metrics}

    def saved(self) -> list[CheckpointSaved]:
        return [event for event in self.events if isinstance(event, CheckpointSaved)]

    def on_disk(self) -> list[int]:
        paths = (self.folder / "checkpoints").glob("*.safetensors")
        return sorted(int(path.stem[5:]) for path in paths)

    def weights(self) -> dict[str, Tensor]:
        return load_weights(self.folder / self.saved()[-1].checkpoint.path)[0]


def scored(*scores: float) -> Change:
    """Validations that say what the test wants."""
    left = list(scores)

    def validate(model: nn.Module, point: Point, losses: Mapping[str, float]) -> Validated:
        return Validated({SPEC.headline: left.pop(0)})

    return lambda training: dataclasses.replace(training, validate=validate)


def test_it_learns_and_tells_all_of_it(squares: Path, tmp_path: Path) -> None:
    fitted = Fitted(squares, tmp_path, epochs=10)
    assert fitted.outcome.status == "finished"
    scores, val_loss = fitted.metrics("val/mAP50-95"), fitted.metrics("val/loss")
    assert scores[60] > 0.9
    assert val_loss[60] < val_loss[6] / 4
    assert fitted.metrics("lr/head")[1] == 0.02
    losses = fitted.metrics("train/cell_loss")
    assert losses[60] < losses[6] / 2
    assert losses == fitted.metrics("train/loss")
    started = fitted.events[0]
    assert isinstance(started, RunStarted)
    assert {"torch", "mmengine", "device"} <= started.environment.keys()
    last = fitted.events[-1]
    assert isinstance(last, Evaluated)
    assert last.report.metrics["mAP50-95"] == max(scores.values())
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoints", "evaluation", "runner"}
    assert [p.name for p in (tmp_path / "runner").iterdir()] == ["state.pt"]


def test_validation_starts_and_repeats_as_told_and_changes_nothing(
    squares: Path, tmp_path: Path
) -> None:
    often = Fitted(squares, tmp_path / "a", epochs=4, runner__validation__interval=0.5)
    assert list(often.metrics("val/loss")) == [3, 6, 9, 12, 15, 18, 21, 24]
    late = Fitted(
        squares, tmp_path / "b", epochs=4,
        runner__validation__begin=2, runner__validation__interval=2.5,
    )  # fmt: skip
    assert list(late.metrics("val/loss")) == [15, 24], "the last step too"
    one, other = often.weights(), late.weights()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_checkpoints_at_an_interval_beside_best_and_last(squares: Path, tmp_path: Path) -> None:
    fitted = Fitted(
        squares, tmp_path, scored(0.3, 0.9, 0.2, 0.1, 0.0), epochs=5,
        runner__checkpoints__interval=1.5,
    )  # fmt: skip
    assert fitted.on_disk() == [9, 12, 18, 27, 30]
    assert fitted.outcome.best == "checkpoints/step-0000012.safetensors"


def test_the_best_of_a_metric_to_minimize(squares: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, headline="val/loss")
    scores = [0.5, 0.2, 0.4]

    def change(training: Training) -> Training:
        return dataclasses.replace(
            training,
            spec=spec,
            validate=lambda model, point, losses: Validated({"val/loss": scores.pop(0)}),
        )

    fitted = Fitted(squares, tmp_path, change, epochs=3)
    assert fitted.outcome.best == "checkpoints/step-0000012.safetensors"
    assert [event.best for event in fitted.saved()] == [True, True, False]


def test_it_ends_early_when_nothing_gets_better(squares: Path, tmp_path: Path) -> None:
    fitted = Fitted(
        squares, tmp_path, scored(0.1, 0.5, 0.5, 0.4, 0.9), epochs=5,
        runner__validation__patience=2,
    )  # fmt: skip
    assert fitted.outcome.status == "finished"
    assert fitted.outcome.reason == "no better val/mAP50-95 in 2 validations"
    assert list(fitted.metrics("val/mAP50-95")) == [6, 12, 18, 24]
    assert isinstance(fitted.events[-1], Evaluated)


def test_a_stop_before_the_first_validation_leaves_a_checkpoint(
    squares: Path, tmp_path: Path
) -> None:
    fitted = Fitted(squares, tmp_path, stop=After(1), runner__validation__begin=3)
    assert fitted.outcome == TrainOutcome(
        status="stopped", best="checkpoints/step-0000006.safetensors", reason="enough"
    )
    phases = [event.phase for event in fitted.events if isinstance(event, FreezeReported)]
    assert phases == ["declared", "verified"]


class Averages(NoWatch):
    """Follows the live weights of ``training`` and averages them by the formula."""

    def __init__(self, training: Training) -> None:
        self.model = training.model
        self.expected: dict[str, Tensor] = {}
        self.momentum = 10 / 12  # ten over all steps, which is more than the config's

    def stepping(self, point: Point) -> None:
        self.take(point.step)

    def take(self, step: int) -> None:
        """The weights after ``step`` steps."""
        now = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        weight = max(self.momentum, 9 / (10 + step - 1)) if step else 1.0
        self.expected = {
            name: value if not step else (1 - weight) * self.expected[name] + weight * value
            for name, value in now.items()
        }


def test_the_average_is_validated_and_saved_and_the_live_one_compared(
    squares: Path, tmp_path: Path
) -> None:
    validated: list[nn.Module] = []
    watches: list[Averages] = []

    def change(training: Training) -> Training:
        def validate(model: nn.Module, point: Point, losses: Mapping[str, float]) -> Validated:
            validated.append(model)
            return training.validate(model, point, losses)

        watches.append(Averages(training))
        return dataclasses.replace(training, validate=validate, watch=watches[0])

    fitted = Fitted(
        squares, tmp_path, change, epochs=2,
        runner__ema__enabled=True, runner__ema__compare_live=True,
    )  # fmt: skip
    watches[0].take(12)
    weights = fitted.weights()
    for name, value in watches[0].expected.items():
        torch.testing.assert_close(weights[name], value)
    assert validated[1] is fitted.training.model
    assert validated[0] is not fitted.training.model
    assert fitted.metrics("live/loss").keys() == fitted.metrics("val/loss").keys()
    assert fitted.metrics("live/loss") != fitted.metrics("val/loss")
    (note,) = [event.message for event in fitted.events if isinstance(event, Noted)]
    assert note == "ema.momentum is 0.833 instead of 0.0002: there are only 12 steps"
    _, facts = load_weights(tmp_path / str(fitted.outcome.best))
    assert facts["ema"] is True


def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(
    squares: Path, tmp_path: Path
) -> None:
    def change(training: Training) -> Training:
        net = training.model
        learn = net.loss

        def loss(batch: Any) -> dict[str, Tensor]:
            values: dict[str, Tensor] = learn(batch)  # type: ignore[operator]
            return {name: value * torch.nan for name, value in values.items()}

        net.loss = loss  # type: ignore[assignment]
        return training

    with pytest.raises(TrainingError, match="the loss is nan by step 1; lower the learning rate"):
        Fitted(squares, tmp_path, change)
    assert not (tmp_path / "checkpoints").exists()


def test_a_full_disk_is_one_sentence_and_the_run_goes_on(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = Fitted(squares, tmp_path / "straight")
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 5:  # an epoch syncs two files of a checkpoint, and the state
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="the disk is full; make room and resume"):
        Fitted(squares, tmp_path / "full")
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "full/checkpoints").glob("*.safetensors")] == [
        "step-0000006.safetensors"
    ]
    resumed = Fitted(squares, tmp_path / "full")
    one, other = straight.weights(), resumed.weights()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_evaluation_that_failed_is_made_up_for(squares: Path, tmp_path: Path) -> None:
    class BrokenError(Exception):
        pass

    def broken(best: Path) -> tuple[EvalReport, tuple[Event, ...]]:
        raise BrokenError

    scores = (0.5, 0.4, 0.3, 0.2)
    with pytest.raises(BrokenError):
        Fitted(
            squares, tmp_path,
            lambda training: dataclasses.replace(scored(*scores)(training), evaluate=broken),
            epochs=9, runner__validation__patience=2,
        )  # fmt: skip
    again = Fitted(squares, tmp_path, epochs=9, runner__validation__patience=2)
    assert again.outcome.reason == "no better val/mAP50-95 in 2 validations"
    assert again.outcome.best == "checkpoints/step-0000006.safetensors"
    assert again.metrics("train/loss") == {}, "nothing is trained again"
    assert isinstance(again.events[-1], Evaluated)


def test_a_device_that_is_not_there_is_refused(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"device 'cuda:77' .* is not there"):
        Fitted(squares, tmp_path, device="cuda:77")
    assert list(tmp_path.iterdir()) == []


def test_what_came_frozen_stays_frozen_and_is_told_apart(squares: Path, tmp_path: Path) -> None:
    def change(training: Training) -> Training:
        training.model.get_parameter("backbone.0.weight").requires_grad_(False)
        return training

    fitted = Fitted(squares, tmp_path, change, epochs=1)
    declared, verified = [e for e in fitted.events if isinstance(e, FreezeReported)]
    backbone, head = declared.groups
    assert (backbone.trainable, backbone.frozen, backbone.always_frozen) == (18, 0, 600)
    assert (head.trainable, head.lr) == (7, 0.02)
    assert verified.violations == ()
    assert verified.frozen_tensors == 1


def test_parameters_to_freeze_must_exist(squares: Path, tmp_path: Path) -> None:
    def change(training: Training) -> Training:
        parts = Parts(frozen=frozenset({"neck.weight"}))
        return dataclasses.replace(training, parts=parts)

    with pytest.raises(ValueError, match=r"no parameters to freeze: neck\.weight"):
        Fitted(squares, tmp_path, change)


def test_a_watch_sees_each_step_and_the_optimizer(squares: Path, tmp_path: Path) -> None:
    class Watching(NoWatch):
        def __init__(self) -> None:
            self.steps: list[int] = []
            self.norms: list[float] = []

        def began(self, optimizer: torch.optim.Optimizer) -> None:
            optimizer.register_step_pre_hook(self._before)

        def stepping(self, point: Point) -> None:
            assert (point.steps, point.epochs) == (6, 1)
            self.steps.append(point.step)

        def _before(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
            self.norms.append(sum(float(g.norm()) for g in gradients if g is not None))

    watch = Watching()
    Fitted(squares, tmp_path, lambda t: dataclasses.replace(t, watch=watch), epochs=1)
    assert watch.steps == list(range(6))
    assert len(watch.norms) == 6
    assert all(norm > 0 for norm in watch.norms)


def test_a_validation_knows_the_losses_and_its_events_come_between_metrics_and_checkpoint(
    squares: Path, tmp_path: Path
) -> None:
    known: list[dict[str, float]] = []

    def change(training: Training) -> Training:
        def validate(model: nn.Module, point: Point, losses: Mapping[str, float]) -> Validated:
            known.append(dict(losses))
            note = Noted(level="info", message=f"validated at {point.step}")
            return Validated({SPEC.headline: 0.5}, (note,))

        def evaluate(best: Path) -> tuple[EvalReport, tuple[Event, ...]]:
            return training.evaluate(best)[0], (Noted(level="info", message="evaluated"),)

        return dataclasses.replace(training, validate=validate, evaluate=evaluate)

    fitted = Fitted(squares, tmp_path, change, epochs=2, runner__log_interval=100)
    told = {
        event.step: {
            name.removeprefix("train/"): value
            for name, value in event.metrics.items()
            if name.startswith("train/") and name != "train/grad_norm"
        }
        for event in fitted.events
        if isinstance(event, MetricsLogged)
    }
    assert list(told) == [1, 6, 12]
    assert known == [told[6], told[12]]
    kinds = [
        event.message if isinstance(event, Noted) else event.type
        for event in fitted.events
        if not isinstance(event, FreezeReported)
    ]
    assert kinds == [
        *("RunStarted", "MetricsLogged"),
        *("MetricsLogged", "validated at 6", "MovementObserved", "CheckpointSaved"),
        *("MetricsLogged", "validated at 12", "MovementObserved", "CheckpointSaved"),
        *("CostsMeasured", "Evaluated", "evaluated"),
    ]


def test_what_a_watch_moves_after_a_step_is_averaged_saved_and_taken_up(
    squares: Path, tmp_path: Path
) -> None:
    """As the bias of a router that is balanced without a loss."""

    counter = "backbone.1.running_mean"

    class Counting(NoWatch):
        def __init__(self, net: nn.Module) -> None:
            self.counter = net.get_buffer(counter)

        def stepped(self, point: Point) -> None:
            self.counter += point.step

    def change(training: Training) -> Training:
        training.model.get_submodule("backbone.1").momentum = 0.0  # nothing else moves it
        return dataclasses.replace(training, watch=Counting(training.model))

    straight = Fitted(squares, tmp_path / "a", change, epochs=2, runner__ema__enabled=True)
    assert float(straight.training.model.get_buffer(counter)[0]) == sum(range(1, 13))
    average = 0.0
    for step in range(1, 13):
        weight = max(10 / 12, 9 / (9 + step))
        average = (1 - weight) * average + weight * sum(range(1, step + 1))
    assert float(straight.weights()[counter][0]) == pytest.approx(average)
    Fitted(squares, tmp_path / "b", change, After(1), epochs=2, runner__ema__enabled=True)
    resumed = Fitted(squares, tmp_path / "b", change, epochs=2, runner__ema__enabled=True)
    assert resumed.metrics("train/loss").keys() == {10, 12}, "continued"
    assert float(resumed.training.model.get_buffer(counter)[0]) == sum(range(1, 13))
    assert torch.equal(resumed.weights()[counter], straight.weights()[counter])


def spoiled(*steps: int) -> Change:
    """No number for a loss in some steps."""

    class Spoiling(NoWatch):
        factor = 1.0

        def stepping(self, point: Point) -> None:
            self.factor = math.nan if point.step + 1 in steps else 1.0

    def change(training: Training) -> Training:
        watch, learn = Spoiling(), training.model.loss

        def loss(batch: Any) -> dict[str, Tensor]:
            values: dict[str, Tensor] = learn(batch)  # type: ignore[operator]
            return {name: value * watch.factor for name, value in values.items()}

        training.model.loss = loss  # type: ignore[assignment]
        return dataclasses.replace(training, watch=watch)

    return change


def test_steps_without_a_gradient_are_left_out_and_counted(squares: Path, tmp_path: Path) -> None:
    fitted = Fitted(
        squares, tmp_path, spoiled(3, 5), epochs=1,
        runner__max_nonfinite=2, runner__log_interval=1, runner__ema__enabled=True,
    )  # fmt: skip
    assert fitted.outcome.status == "finished"
    assert fitted.metrics("train/steps_left_out") == {3: 1, 4: 1, 5: 2, 6: 2}
    losses = fitted.metrics("train/loss")
    assert all(math.isfinite(value) for value in losses.values())
    assert losses[3] == losses[2], "a mean over the steps that count"
    assert all(bool(tensor.isfinite().all()) for tensor in fitted.weights().values())


def test_too_many_of_them_end_the_run(squares: Path, tmp_path: Path) -> None:
    said = r"no number in 2 steps by step 5, and runner\.max_nonfinite is 1; lower the learning"
    with pytest.raises(TrainingError, match=said):
        Fitted(squares, tmp_path, spoiled(3, 5), epochs=1, runner__max_nonfinite=1)
    assert not (tmp_path / "checkpoints").exists()
