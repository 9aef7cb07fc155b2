"""Frozen is frozen to the bit, in the live model and in its average; thawed is not."""

from pathlib import Path

import pytest
import torch

from backend.config.schema import CUSTOM
from backend.nn.finetune.weights import load_weights
from backend.trainers.yolo.spec import STRATEGIES, YoloConfig
from tests.support.yolo_runs import Training, fit

DFL = "model.14.dfl.conv.weight"
FROZEN_MODULES = {"full": 0, "backbone": 8, "backbone+neck": 14}
MODULES = ("3", "14.cv3.1")
HEAD_OUTPUTS = {
    f"model.14.cv{branch}.{level}.2.{kind}"
    for branch in (2, 3)
    for level in (0, 1)
    for kind in ("weight", "bias")
}


@pytest.fixture(scope="module", params=sorted(STRATEGIES))
def tuned(
    request: pytest.FixtureRequest, tuning: YoloConfig, tmp_path_factory: pytest.TempPathFactory
) -> Training:
    """Two epochs of each strategy, the weights after them, and what was said."""
    modules = MODULES if request.param == CUSTOM else ()
    config = tuning.replace(
        {"freeze": {"strategy": request.param, "modules": modules}, "save_period": 1}
    )
    return fit(config, tmp_path_factory.mktemp("tuned"))


def index(name: str) -> int:
    return int(name.split(".")[1])


def expected_frozen(strategy: str, name: str) -> bool:
    """Written down once more, independently of the product."""
    if name == DFL:
        return True
    if strategy == "head-only":
        return name not in HEAD_OUTPUTS
    if strategy == CUSTOM:
        return name.startswith(("model.3.", "model.14.cv3.1."))
    return index(name) < FROZEN_MODULES[strategy]


def test_saved_weights_and_statistics_are_those_of_the_source(
    tuned: Training, trained: Training
) -> None:
    before, _ = load_weights(trained.best())
    after, _ = load_weights(tuned.work / tuned.saved()[-1].checkpoint.path)
    assert before.keys() == after.keys()
    for name in before:
        same = torch.equal(before[name], after[name])
        if name.endswith("num_batches_tracked"):
            assert same  # Ultralytics averages floats only
        else:
            assert same == expected_frozen(tuned.config.freeze.strategy, name), name


def test_the_report_proves_it(tuned: Training, trained: Training) -> None:
    state, _ = load_weights(trained.best())
    strategy = tuned.config.freeze.strategy
    statistics = [n for n in state if "running_" in n or n.endswith("num_batches_tracked")]
    parameters = [n for n in state if n not in statistics and n != DFL]
    report = tuned.freezing("verified")
    assert report.violations == ()
    assert report.strategy == strategy
    assert report.frozen_tensors == sum(
        expected_frozen(strategy, name) for name in (*parameters, *statistics)
    )
    assert report.changed_tensors == sum(not expected_frozen(strategy, n) for n in parameters)


def test_parameters_are_counted_by_part(tuned: Training, trained: Training) -> None:
    state, _ = load_weights(trained.best())
    strategy = tuned.config.freeze.strategy
    parameters = {
        n: t.numel() for n, t in state.items() if "running_" not in n and "num_batches" not in n
    }
    for group in tuned.freezing("declared").groups:
        inside = {
            name: count
            for name, count in parameters.items()
            if group.name
            == ("backbone" if index(name) < 8 else "neck" if index(name) < 14 else "head")
        }
        frozen = sum(c for n, c in inside.items() if expected_frozen(strategy, n) and n != DFL)
        assert group.frozen == frozen
        assert group.always_frozen == inside.get(DFL, 0)
        assert group.trainable == sum(inside.values()) - frozen - inside.get(DFL, 0)
        assert group.lr == (1e-3 if group.trainable else None)


def test_fixed_weights_of_the_head_are_reported_apart(tuned: Training) -> None:
    assert any(DFL in note for note in tuned.freezing("declared").notes)


def test_only_rates_of_what_trains_are_logged(tuned: Training) -> None:
    trained_parts = {g.name for g in tuned.freezing("declared").groups if g.trainable}
    for event in tuned.epochs():
        assert {k for k in event.metrics if k.startswith("lr/")} == {
            f"lr/{part}" for part in trained_parts
        }


def test_a_strategy_from_scratch_freezes_random_weights_too(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    run = fit(scratch.replace({"freeze.strategy": "backbone", "epochs": 1}), tmp_path)
    assert run.freezing("verified").violations == ()
