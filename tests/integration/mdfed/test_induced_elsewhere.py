"""Faults that a toy, or a mixture of experts, shows sooner than MD-FED does."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend.core.diagnosis import DiagnosticFinding
from backend.core.errors import TrainingError
from backend.core.events import MetricsLogged
from backend.nn.moe import Router
from backend.runner.training import Parts, Point, Training, Validated
from backend.synthetic.traffic import write_traffic
from backend.trainers.moe_rtdetr import training as experts
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig
from tests.support import runner_toy
from tests.support.conformance import After, Never
from tests.support.induced import EachStep, Induced, run
from tests.support.toy import write_toy_data

Change = Callable[[Training], Training]
Loss = Callable[[Any], dict[str, Tensor]]


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_data(tmp_path_factory.mktemp("squares"))


def toy(
    squares: Path, folder: Path, change: Change = lambda t: t, stop: int = 0, **keys: object
) -> Induced:
    """Six steps in each epoch."""
    keyed = {key.replace("__", "."): value for key, value in keys.items()}
    usual = {"runner.log_interval": 1, "diagnostics.every": 1}
    config = runner_toy.RunnerToyConfig(data=squares).replace(usual | keyed)
    signal = After(stop) if stop else Never()
    return run(change(runner_toy.build(config, folder)), folder, signal)


def at(rate: float) -> dict[str, Any]:
    return {"runner__optimizer__lr": {"backbone": rate, "head": rate}}


def said(found: Induced, rule: str) -> DiagnosticFinding:
    assert rule in found.seen, found.diagnosis
    return found.seen[rule]


class Deep(runner_toy.Net):
    """Twelve layers with sigmoids before the head."""

    def __init__(self) -> None:
        super().__init__(plain=True)
        pairs = [(nn.Conv2d(6, 6, 1), nn.Sigmoid()) for _ in range(12)]
        layers = [layer for pair in pairs for layer in pair]
        self.backbone = nn.Sequential(nn.Conv2d(1, 6, 10, stride=10), *layers)


@pytest.mark.rule("B10")
def test_twelve_sigmoids_in_a_row(squares: Path, tmp_path: Path) -> None:
    def change(training: Training) -> Training:
        torch.manual_seed(0)
        parts = Parts(
            part_of=lambda name: "first" if name.startswith("backbone.0") else name.split(".")[0],
            group_of=lambda name: "head" if name.startswith("head") else "backbone",
        )
        return replace(training, model=Deep(), parts=parts, evaluate=not_asked)

    found = toy(squares, tmp_path, change, epochs=2)
    assert "first" in said(found, "B10").headline
    assert found.head.rule == "B10"


def not_asked(best: Path) -> Any:
    """The toy's own evaluation builds the network without sigmoids."""
    raise TrainingError("not evaluated")


@pytest.mark.rule("B11")
def test_a_loss_times_a_million_without_clipping(squares: Path, tmp_path: Path) -> None:
    def change(training: Training) -> Training:
        net: Any = training.model
        plain: Loss = net.loss
        done = [0]

        def loss(batch: Any) -> dict[str, Tensor]:
            factor = 1e6 if done[0] >= 12 else 1.0
            return {name: value * factor for name, value in plain(batch).items()}

        net.loss = loss

        def count(point: Point) -> None:
            done[0] = point.step

        return replace(training, watch=EachStep(count))

    found = toy(squares, tmp_path, change, epochs=5)
    assert "B11" in found.seen
    assert "The gradient explodes: its norm jumps to" in found.seen["B11"].headline


def by_loss(training: Training) -> Training:
    """Ranked by the validation loss: a square is found at once, but never for certain."""
    return replace(training, spec=replace(training.spec, headline="val/loss"))


@pytest.mark.rule("B16")
def test_a_run_that_went_to_its_end(squares: Path, tmp_path: Path) -> None:
    found = toy(squares, tmp_path, by_loss, epochs=20, noise=0.0, **at(0.02))
    assert "B16" in found.seen, found.diagnosis
    assert found.diagnosis.state == "converged"
    assert found.diagnosis.worst == "info"


@pytest.mark.rule("B17")
def test_the_same_run_stopped_at_two_fifths(squares: Path, tmp_path: Path) -> None:
    found = toy(squares, tmp_path, by_loss, stop=8, epochs=20, noise=0.0, **at(0.02))
    assert len(found.evidence.evaluations) == 8
    assert found.diagnosis.state == "improving", found.diagnosis
    assert found.seen["B17"].action.advice == "Train half as many epochs again."


@pytest.mark.rule("B19")
def test_evaluations_that_begin_after_the_end_of_a_run_that_dies(
    squares: Path, tmp_path: Path
) -> None:
    def change(training: Training) -> Training:
        net: Any = training.model
        plain: Loss = net.loss
        left = iter(range(9))

        def loss(batch: Any) -> dict[str, Tensor]:
            bad = next(left, None) is None
            return {k: v * (math.nan if bad else 1) for k, v in plain(batch).items()}

        net.loss = loss
        return training

    found = toy(squares, tmp_path, change, epochs=2, runner__validation__begin=5)
    assert "was never evaluated: it is absent, not zero" in said(found, "B19").headline
    assert not any("val/mAP50-95" in e.metrics for e in found.evidence.all(MetricsLogged))


@pytest.mark.rule("B20")
def test_a_validation_loss_that_is_a_sum(squares: Path, tmp_path: Path) -> None:
    def change(training: Training) -> Training:
        plain = training.validate

        def validate(net: nn.Module, point: Point, losses: Mapping[str, float]) -> Validated:
            found = plain(net, point, losses)
            metrics = dict(found.metrics)
            return Validated({**metrics, "val/loss": 9 * metrics["val/loss"]})

        loaders = {"train": {"reduction": "mean over cells"}, "val": {"reduction": "sum"}}
        return replace(training, validate=validate, loaders=loaders)

    found = toy(squares, tmp_path, change, epochs=1)
    assert said(found, "B20").severity == "warning"
    assert "reduction 'mean over cells' against 'sum'" in found.seen["B20"].headline


@pytest.mark.rule("B14")
def test_a_router_that_prefers_one_expert_by_ten(tmp_path: Path) -> None:
    shares = {"train": 4 / 16, "val": 10 / 16, "test": 2 / 16}
    data = write_traffic(tmp_path / "data", frames=16, size=(192, 128), shares=shares)
    config = MoeRtDetrConfig.model_validate({
        "kind": "moe_rtdetr", "epochs": 3, "device": "cpu", "data": data, "analyze": "never",
        "model": {"preset": "tiny", "image_size": [64, 96], "queries": 75, "denoising": 0},
        "moe": {"experts": "B", "hidden": 16, "top_k": 1, "balance": "bias", "bias_rate": 1e-4},
        "runner": {"batch": 4, "workers": 0},
    })  # fmt: skip
    training = experts.build(config, tmp_path)
    for module in training.model.modules():
        if isinstance(module, Router):
            module.bias[0] += 10
    found = run(training, tmp_path)
    assert said(found, "B14").severity == "error"
    assert "The experts have collapsed" in found.seen["B14"].headline
