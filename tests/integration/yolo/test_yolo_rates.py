"""Learning rates: what the config says is what the optimizer does."""

import math
from pathlib import Path
from typing import Any

import pytest

from backend.core.events import Event
from backend.hardware.attempts import Where
from backend.nn.finetune.freezing import Snapshot
from backend.nn.finetune.weights import load_weights
from backend.trainers.yolo.checkpoints import Keeper
from backend.trainers.yolo.engine import Engine
from backend.trainers.yolo.preparation import check
from backend.trainers.yolo.recorder import Recorder
from backend.trainers.yolo.spec import YoloConfig
from tests.support.yolo_runs import StopAfter, Training, fit

HEAD = 14
DECAY = 0.7


def rates_per_batch(config: YoloConfig, work: Path) -> list[list[dict[str, Any]]]:
    """The optimizer's groups at every batch: part, kind, rate, decay, module indices."""
    checked = check(config, work)
    events: list[Event] = []
    recorder = Recorder(events.append, Keeper(work, events.append, 0), checked.facts())
    before = Snapshot(checked.prepared.network, checked.plan.frozen)
    engine = Engine(checked.job(recorder, Where(), StopAfter(), before))
    seen: list[list[dict[str, Any]]] = []

    def look(trainer: Engine) -> None:
        names = {id(p): n for n, p in trainer.model.named_parameters()}
        seen.append(
            [
                {**{k: v for k, v in group.items() if k != "params"},
                 "names": [names[id(p)] for p in group["params"]],
                 "modules": [int(names[id(p)].split(".")[1]) for p in group["params"]]}
                for group in trainer.optimizer.param_groups
            ]
        )  # fmt: skip

    engine.add_callback("on_train_batch_end", look)
    engine.train()
    return seen


@pytest.fixture(scope="module")
def decayed(
    scratch: YoloConfig, tmp_path_factory: pytest.TempPathFactory
) -> list[list[dict[str, Any]]]:
    config = scratch.replace(
        {"optimizer.layer_decay": DECAY, "optimizer.warmup_epochs": 1.5, "epochs": 4}
    )
    return rates_per_batch(config, tmp_path_factory.mktemp("decayed"))


def test_every_parameter_is_in_exactly_one_group(
    decayed: list[list[dict[str, Any]]], trained: Training
) -> None:
    state, _ = load_weights(trained.best())
    parameters = {n for n in state if "running_" not in n and "num_batches" not in n}
    names = [name for group in decayed[0] for name in group["names"]]
    assert len(names) == len(set(names))
    assert set(names) == parameters


def test_rates_decay_with_depth_at_every_batch(decayed: list[list[dict[str, Any]]]) -> None:
    assert len(decayed) == 4 * 3
    warm = 0
    for groups in decayed:
        head = next(
            g["lr"] for g in groups if g["param_group"] == "weight" and HEAD in g["modules"]
        )
        warm += head < groups[0]["initial_lr"] / groups[0]["scale"]
        for group in groups:
            (module,) = set(group["modules"])
            if group["param_group"] == "weight" and head > 0:
                assert group["lr"] / head == pytest.approx(DECAY ** (HEAD - module), rel=1e-6)
    assert warm > 4  # the ratio was seen during the warm-up, too


def test_weight_decay_is_for_weights_only(decayed: list[list[dict[str, Any]]]) -> None:
    for group in decayed[0]:
        assert group["weight_decay"] == (5e-4 if group["param_group"] == "weight" else 0.0)


def test_the_head_gets_lr0_after_the_warm_up(scratch: YoloConfig, tmp_path: Path) -> None:
    config = scratch.replace(
        {"optimizer.lr0": 0.02, "optimizer.lrf": 1.0, "optimizer.warmup_epochs": 1}
    )
    last = fit(config, tmp_path).epochs()[-1].metrics
    assert last["lr/head"] == last["lr/backbone"] == pytest.approx(0.02)


def test_biases_warm_up_from_where_the_config_says(scratch: YoloConfig, tmp_path: Path) -> None:
    def first(value: float, folder: str) -> float:
        config = scratch.replace({"optimizer.warmup_bias_lr": value, "epochs": 2})
        groups = rates_per_batch(config, tmp_path / folder)[0]
        return float(next(g["lr"] for g in groups if g["param_group"] == "bias"))

    assert first(0.0, "a") == 0.0
    assert first(0.05, "b") == pytest.approx(0.05)


def test_spans_are_reported_with_layer_decay(tuning: YoloConfig, tmp_path: Path) -> None:
    run = fit(tuning.replace({"optimizer.layer_decay": 0.5}), tmp_path)
    declared = run.freezing("declared")
    rates = {group.name: group.lr for group in declared.groups}
    assert rates["head"] == 1e-3
    assert rates["backbone"] == pytest.approx(1e-3 * 0.5 ** (HEAD - 7))
    assert any(note.startswith("layer_decay 0.5: backbone") for note in declared.notes)
    logged = run.epochs()[-1].metrics
    assert math.isclose(logged["lr/backbone"] / logged["lr/head"], 0.5 ** (HEAD - 7))


@pytest.mark.parametrize("name", ["AdamW", "Adam", "SGD", "RMSProp", "NAdam", "RAdam", "Adamax"])
def test_every_optimizer_of_the_config_trains(
    scratch: YoloConfig, tmp_path: Path, name: str
) -> None:
    config = scratch.replace({"optimizer.name": name, "optimizer.lr0": 1e-3, "epochs": 1})
    assert (fit(config, tmp_path).freezing("verified").changed_tensors or 0) > 50
