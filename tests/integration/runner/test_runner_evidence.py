"""What a training on the Runner shows of itself for the diagnostics."""

import dataclasses
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backend.core.errors import TrainingError
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Event,
    FreezeReported,
    InputProbed,
    MetricsLogged,
    MovementObserved,
    NonfiniteSeen,
    Prepared,
    RunStarted,
)
from backend.core.evidence import DataSurvey
from backend.core.trainer import Emit
from backend.nn.finetune.weights import load_weights
from backend.runner.fit import fit
from backend.runner.training import NoWatch, Point, Probed, Training, Validated
from tests.support.conformance import After, Never
from tests.support.runner_toy import SPEC, RunnerToyConfig, build

Change = Callable[[Training], Training]
Some = TypeVar("Some")


class Observed:
    """A training of the toy: 24 images in batches of 4, six steps in each epoch."""

    def __init__(
        self,
        squares: Path,
        folder: Path,
        change: Change = lambda training: training,
        epochs: int = 2,
        stop: int = 0,
        **overrides: object,
    ) -> None:
        keyed = {key.replace("__", "."): value for key, value in overrides.items()}
        config = RunnerToyConfig(data=squares, epochs=epochs).replace(keyed)
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.events: list[Event] = []
        self.error = ""
        self.training = change(build(config, folder))
        try:
            fit(self.training, self.events.append, After(stop) if stop else Never(), folder)
        except TrainingError as error:
            self.error = str(error)

    def all(self, kind: type[Some]) -> list[Some]:
        return [event for event in self.events if isinstance(event, kind)]

    def curve(self, key: str) -> dict[int, float]:
        return {e.step: e.metrics[key] for e in self.all(MetricsLogged) if key in e.metrics}

    def logged(self) -> set[str]:
        return {key for event in self.all(MetricsLogged) for key in event.metrics}

    def weights(self) -> dict[str, Tensor]:
        path = self.all(CheckpointSaved)[-1].checkpoint.path
        return load_weights(self.folder / path)[0]


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def with_probe(probe: Callable[[nn.Module, int], Probed | None]) -> Change:
    return lambda training: dataclasses.replace(training, probe=probe)


def wild_probe(model: nn.Module, samples: int) -> Probed:
    """Draws from every generator."""
    random.random()
    np.random.random()
    loss = float(model(torch.rand(samples, 1, 30, 30)).mean())
    return Probed("val", samples, {"loss": loss}, {"loss": loss + torch.rand(1).item()})


def test_the_plan_is_told_with_the_start(squares: Path, tmp_path: Path) -> None:
    def change(training: Training) -> Training:
        return dataclasses.replace(
            training,
            losses=("cell_loss",),
            loaders={"val": {"reduction": "mean"}},
            held=lambda first: first.steps // first.epochs,
        )

    started = Observed(
        squares, tmp_path / "a", change, runner__clip=2.0, runner__schedule__warmup_steps=3,
        runner__validation__begin=1.5, runner__validation__interval=0.25,
    ).all(RunStarted)[0]  # fmt: skip
    assert started.plan is not None
    assert started.plan.model_dump() == {
        "steps": 12, "steps_per_epoch": 6, "warmup_steps": 3, "validations": 3,
        "first_validation": 9, "clip": 2.0, "losses": ("cell_loss",),
        "loaders": {"val": {"reduction": "mean"}}, "samples_per_epoch": 24, "held": 6,
        "settling": 0,
    }  # fmt: skip
    late = Observed(squares, tmp_path / "b", epochs=1, runner__validation__begin=5)
    plan = late.all(RunStarted)[0].plan
    assert plan is not None
    assert (plan.first_validation, plan.validations) == (None, 1), "only the last step is left"


def test_gradients_updates_and_clipping_are_metrics(squares: Path, tmp_path: Path) -> None:
    free = Observed(squares, tmp_path / "a", diagnostics__every=5, runner__log_interval=5)
    assert list(free.curve("train/grad_norm")) == [1, 5, 10]
    parts = ("backbone", "head")
    wanted = {f"gradient/{p}/{what}" for p in parts for what in ("norm", "mean_abs")}
    wanted |= {f"update/{p}" for p in (*parts, "all")}
    assert wanted <= free.logged()
    assert "train/clipped" not in free.logged()
    squares_of = [free.curve(f"gradient/{part}/norm")[5] ** 2 for part in parts]
    assert free.curve("train/grad_norm")[5] == pytest.approx(sum(squares_of) ** 0.5, rel=1e-5)
    clipped = Observed(squares, tmp_path / "b", runner__clip=1e-3, diagnostics__every=1)
    assert set(clipped.curve("train/clipped").values()) == {1.0}
    assert clipped.curve("train/grad_norm")[1] == pytest.approx(
        free.curve("train/grad_norm")[1], rel=1e-5
    ), "the norm is that before clipping"
    assert clipped.curve("gradient/head/norm")[1] > 1e-3, "so are the parts'"
    loose = Observed(squares, tmp_path / "c", runner__clip=1e6)
    assert set(loose.curve("train/clipped").values()) == {0.0}


def test_half_precision_shows_gradients_without_the_scaler_s_factor(
    squares: Path, tmp_path: Path
) -> None:
    full = Observed(squares, tmp_path / "a", epochs=1, plain=True)
    half = Observed(squares, tmp_path / "b", epochs=1, plain=True, runner__amp="float16")
    one, other = (run.curve("gradient/head/norm")[1] for run in (full, half))
    assert one == pytest.approx(other, rel=0.1)
    assert not half.all(NonfiniteSeen)


def test_movement_is_told_after_the_metrics_of_each_validation(
    squares: Path, tmp_path: Path
) -> None:
    run = Observed(squares, tmp_path, freeze__strategy="head-only")
    seen = run.all(MovementObserved)
    assert [(one.since, one.step) for one in seen] == [(0, 6), (6, 12)]
    rows = [(g.name, g.planned, g.tensors, g.in_optimizer, g.changed) for g in seen[1].groups]
    assert rows == [("backbone", "frozen", 4, 0, 0), ("head", "trainable", 2, 2, 2)]
    assert all(one.thawed == one.training == () for one in seen)
    kinds = [event.type for event in run.events]
    first = kinds.index("MovementObserved")
    assert kinds[first - 1 : first + 2] == [
        "MetricsLogged", "MovementObserved", "CheckpointSaved",
    ]  # fmt: skip


def test_a_training_that_does_not_keep_to_its_plan_is_seen(squares: Path, tmp_path: Path) -> None:
    class Unfaithful(NoWatch):
        """Leaves the frozen part in training mode, and stops the head's bias."""

        def __init__(self, net: nn.Module) -> None:
            self.net = net

        def stepping(self, point: Point) -> None:
            self.net.get_submodule("backbone").train()
            self.net.get_parameter("head.bias").requires_grad_(False)

    def change(training: Training) -> Training:
        return dataclasses.replace(training, watch=Unfaithful(training.model))

    run = Observed(squares, tmp_path, change, freeze__strategy="head-only")
    seen = run.all(MovementObserved)[-1]
    assert seen.training == ("backbone",)
    assert {name.rpartition(".")[2] for name in seen.thawed} == {
        "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip
    head = next(g for g in seen.groups if g.name == "head")
    assert (head.tensors, head.requires_grad, head.in_optimizer) == (2, 1, 2)
    assert run.all(FreezeReported)[-1].violations, "as the proof at the end"


def test_the_data_is_surveyed_once_before_the_first_step(squares: Path, tmp_path: Path) -> None:
    survey = DataSurvey(shared={"train+val": ("a.jpg",)})

    def change(training: Training) -> Training:
        return dataclasses.replace(training, survey=lambda: survey)

    stopped = Observed(squares, tmp_path, change, stop=1, diagnostics__observe=False)
    kinds = [event.type for event in stopped.events]
    assert kinds.index("DataSurveyed") < kinds.index("MetricsLogged")
    assert stopped.all(DataSurveyed) == [DataSurveyed(survey=survey)]
    resumed = Observed(squares, tmp_path, change)
    assert resumed.all(RunStarted)[0].resumed_from == 1
    assert not resumed.all(DataSurveyed)


@pytest.mark.parametrize("asks", [False, True])
def test_what_must_be_there_is_prepared_after_the_survey(
    squares: Path, tmp_path: Path, asks: bool
) -> None:
    """Each time a run is continued; who is asked to stop does so before the first step."""

    def prepare(emit: Emit, asked: Callable[[], str | None]) -> str | None:
        emit(Prepared(what="things", done=1, total=1))
        return asked() if asks else None

    def change(training: Training) -> Training:
        return dataclasses.replace(training, survey=DataSurvey, prepare=prepare, settling=7)

    run = Observed(squares, tmp_path, change, stop=1, diagnostics__observe=False)
    kinds = [event.type for event in run.events]
    assert kinds.index("Prepared") == kinds.index("DataSurveyed") + 1
    assert ("MetricsLogged" in kinds) is not asks
    (started,) = run.all(RunStarted)
    assert started.plan is not None
    assert started.plan.settling == 7
    asks = False
    assert len(Observed(squares, tmp_path, change).all(Prepared)) == 1


def test_the_input_is_probed_early_and_at_the_end(squares: Path, tmp_path: Path) -> None:
    run = Observed(squares, tmp_path / "a", with_probe(wild_probe), epochs=8)
    probes = run.all(InputProbed)
    assert [(probe.step, probe.samples) for probe in probes] == [(12, 50), (48, 50)]
    assert all(probe.permuted["loss"] > probe.losses["loss"] for probe in probes)
    once = Observed(squares, tmp_path / "b", with_probe(wild_probe), epochs=1,
                    diagnostics__probe=5)  # fmt: skip
    assert [(probe.step, probe.samples) for probe in once.all(InputProbed)] == [(6, 5)]
    never = Observed(squares, tmp_path / "c", with_probe(wild_probe), diagnostics__probe=0)
    assert not never.all(InputProbed)
    nothing = Observed(squares, tmp_path / "d", with_probe(lambda model, samples: None))
    assert not nothing.all(InputProbed)


@pytest.mark.parametrize("ema", [False, True])
def test_observing_changes_no_bit_of_what_is_trained(
    ema: bool, squares: Path, tmp_path: Path
) -> None:
    class Drawing(NoWatch):
        """What is drawn between two steps must not depend on who looked on."""

        def __init__(self, net: nn.Module) -> None:
            self.net = net

        def stepped(self, point: Point) -> None:
            drawn = torch.rand(1) + random.random() + float(np.random.random())
            with torch.no_grad():
                self.net.get_parameter("head.bias").add_(1e-3 * drawn)

    def change(training: Training) -> Training:
        return dataclasses.replace(training, watch=Drawing(training.model), probe=wild_probe)

    options: dict[str, Any] = {
        "runner__ema__enabled": ema, "runner__clip": 0.1, "runner__accumulate": 2,
    }  # fmt: skip
    seen = Observed(squares, tmp_path / "a", change, diagnostics__every=1, **options)
    unseen = Observed(squares, tmp_path / "b", change, diagnostics__observe=False, **options)
    assert same(seen.weights(), unseen.weights())
    kinds = {event.type for event in unseen.events}
    assert not kinds & {"MovementObserved", "InputProbed", "NonfiniteSeen"}
    families = {key.partition("/")[0] for key in unseen.logged()}
    assert families == {"train", "val", "lr"}
    assert "train/clipped" not in unseen.logged()
    assert unseen.all(RunStarted)[0].plan is not None


def test_a_continued_run_may_look_more_closely_and_ends_with_the_same_bits(
    squares: Path, tmp_path: Path
) -> None:
    straight = Observed(squares, tmp_path / "a", epochs=3)
    Observed(squares, tmp_path / "b", epochs=3, stop=1)
    resumed = Observed(squares, tmp_path / "b", epochs=3, diagnostics__every=1)
    assert same(straight.weights(), resumed.weights())
    seen = resumed.all(MovementObserved)
    assert [(one.since, one.step) for one in seen] == [(6, 12), (12, 18)]


def poisoned(at: str) -> Change:
    """The ninth batch brings a value that is no number: in the ``input``, in one part of the
    ``loss``, or only in the ``gradient`` of the backbone."""

    def change(training: Training) -> Training:
        net: Any = training.model
        plain, collate = net.loss, training.data.collate
        batches = iter(range(1, 1000))

        def loss(batch: Any) -> dict[str, Tensor]:
            found: dict[str, Tensor] = plain(batch["pair"])
            if next(batches) == 9 and at != "input":
                zero = net.backbone[0].bias.sum() * 0
                bad = zero / 0 if at == "loss" else (zero * zero).sqrt()
                return found | {"extra_loss": bad}
            return found | {"extra_loss": found["cell_loss"] * 0}

        def named(items: list[Any]) -> dict[str, Any]:
            images, targets = collate(items)
            if at == "input" and float(torch.rand(())) < 0.2:
                images[1, 0, 3, 3] = math.nan
            names = [f"image{round(float(image.nansum()))}" for image in images]
            return {"pair": (images, targets), "names": names}

        net.loss = loss
        data = dataclasses.replace(training.data, collate=named)
        return dataclasses.replace(training, data=data)

    return change


@pytest.mark.parametrize(
    ("at", "where", "name"),
    [("input", "input", "pair.0"), ("loss", "loss", "extra_loss"),
     ("gradient", "gradient", "backbone.0")],
)  # fmt: skip
def test_a_lost_number_is_traced_before_the_run_ends(
    at: str, where: str, name: str, squares: Path, tmp_path: Path
) -> None:
    run = Observed(squares, tmp_path, poisoned(at), runner__clip=1.0)
    assert "the loss is nan" in run.error
    (seen,) = run.all(NonfiniteSeen)
    assert (seen.where, seen.name) == (where, name)
    assert len(seen.samples) == 4
    assert all(sample.startswith("image") for sample in seen.samples)
    assert run.events[-1] is seen
    if at != "input":
        assert seen.step == 9


def test_a_parameter_is_named_when_no_gradient_was_watched(squares: Path, tmp_path: Path) -> None:
    run = Observed(squares, tmp_path, poisoned("gradient"))
    (seen,) = run.all(NonfiniteSeen)
    assert (seen.where, seen.name, seen.step) == ("parameter", "backbone.0", 10)


def test_steps_that_may_be_left_out_are_not_told_before_they_are_too_many(
    squares: Path, tmp_path: Path
) -> None:
    kept = Observed(squares, tmp_path / "a", poisoned("gradient"), runner__max_nonfinite=1)
    assert not kept.error
    assert not kept.all(NonfiniteSeen)
    ended = Observed(squares, tmp_path / "b", poisoned("loss"), runner__max_nonfinite=1)
    assert not ended.error, "its gradient is none either, so the step was left out"


def test_a_metric_that_is_no_number_is_told_once_and_the_run_goes_on(
    squares: Path, tmp_path: Path
) -> None:
    def change(training: Training) -> Training:
        metrics = {SPEC.headline: 0.5, "val/loss": math.nan}
        return dataclasses.replace(
            training, validate=lambda model, point, losses: Validated(metrics)
        )

    run = Observed(squares, tmp_path, change)
    assert [(one.where, one.name, one.step) for one in run.all(NonfiniteSeen)] == [
        ("metric", "val/loss", 6)
    ]
    assert not run.error


def test_the_tie_decides_which_checkpoint_is_best(squares: Path, tmp_path: Path) -> None:
    losses = iter([0.5, 0.2, 0.4])

    def change(training: Training) -> Training:
        def validate(model: nn.Module, point: Point, means: Mapping[str, float]) -> Validated:
            return Validated({SPEC.headline: 0.0, "val/loss": next(losses)})

        return dataclasses.replace(training, tie="val/loss", validate=validate)

    run = Observed(squares, tmp_path, change, epochs=3)
    assert [event.best for event in run.all(CheckpointSaved)] == [True, True, False]
