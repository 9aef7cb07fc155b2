"""What a user gets from a training of AdaTAD: the same again, what was loaded, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.core.digest import sha256
from backend.core.errors import AssayError, ConfigError, DataError
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Evaluated,
    Event,
    FileSaved,
    FreezeReported,
    MetricsLogged,
    Noted,
    RunStarted,
)
from backend.core.records import PromotionDecision
from backend.nn.finetune.weights import load_state, load_weights
from backend.runner.progress import state_path
from backend.tracking.home import Home
from backend.tracking.registry import Registry
from backend.trainers.adatad.selection import group_of
from backend.trainers.adatad.spec import SPEC, AdaTadConfig
from backend.trainers.adatad.trainer import AdaTadTrainer
from tests.support.conformance import After, Never
from tests.support.registering import judged, run_elsewhere

Run = tuple[Path, list[Event]]

SERVE = """
import json, sys
import mlflow.pyfunc
model = mlflow.pyfunc.load_model("models:/films@champion")
answer = model.predict({video!r}, params={{"conf": {conf}}})
print(json.dumps([list(answer.columns), answer.values.tolist()]))
"""


def fit(config: AdaTadConfig, work: Path, stop: Any = None) -> list[Event]:
    """The events of a training in this process."""
    work.mkdir(exist_ok=True)
    events: list[Event] = []
    AdaTadTrainer(config, work).fit(events.append, stop or Never())
    return events


def metrics_of(events: list[Event]) -> list[dict[str, float]]:
    return [dict(event.metrics) for event in events if isinstance(event, MetricsLogged)]


def losses(events: list[Event]) -> list[float]:
    return [one["train/loss"] for one in metrics_of(events) if "train/loss" in one]


def newest(work: Path, events: list[Event]) -> tuple[Path, dict[str, Tensor]]:
    saved = [event.checkpoint for event in events if isinstance(event, CheckpointSaved)][-1]
    return work / saved.path, load_weights(work / saved.path)[0]


@pytest.fixture(scope="module")
def run(smallest: AdaTadConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The smallest training; its work directory and events."""
    work = tmp_path_factory.mktemp("run")
    return work, fit(smallest, work)


@pytest.fixture(scope="module")
def one_epoch(smallest: AdaTadConfig) -> AdaTadConfig:
    """Four steps, nothing observed; a validation at the end."""
    return smallest.replace({"epochs": 1, "diagnostics.observe": False})


def test_losses_have_the_same_names_on_both_splits(run: Run) -> None:
    last = metrics_of(run[1])[-1]
    for split in ("train", "val"):
        parts = [last[f"{split}/{name}"] for name in ("cls_loss", "reg_loss")]
        assert sum(parts) == pytest.approx(last[f"{split}/loss"], rel=1e-5)
    assert {f"val/{one.name}" for one in SPEC.metrics if one.direction} <= last.keys()
    started = run[1][0]
    assert isinstance(started, RunStarted)
    assert started.plan is not None
    assert started.plan.losses == ("cls_loss", "reg_loss")


def test_rates_go_with_each_step_and_only_of_what_trains(run: Run, smallest: AdaTadConfig) -> None:
    """The cosine of 8 steps; a frozen backbone has no rate and no optimizer state."""
    logged = [one for one in metrics_of(run[1]) if "lr/adapter" in one]
    assert not any("lr/backbone" in one for one in logged)
    rates = smallest.runner.optimizer.lr
    for step, one in enumerate(logged):
        share = (1 + torch.cos(torch.tensor(step * torch.pi / 8)).item()) / 2
        for group in ("adapter", "detector"):
            assert one[f"lr/{group}"] == pytest.approx(rates[group] * share, rel=1e-5)
    (report, _) = (event for event in run[1] if isinstance(event, FreezeReported))
    told = {
        group.name: (group.trainable > 0, group.frozen > 0, group.lr) for group in report.groups
    }
    assert told["backbone"] == (False, True, None)
    assert told["adapter"] == (True, False, rates["adapter"])
    assert list(told) == ["backbone", "adapter", "projection", "neck", "head"]


def test_a_stopped_run_continues_to_the_same_bits(smallest: AdaTadConfig, tmp_path: Path) -> None:
    """With average, drop path, warm-up, accumulation and augmentation; threads may change."""
    config = smallest.replace(
        {
            "runner.schedule.warmup_epochs": 0.5, "runner.accumulate": 2, "runner.batch": 1,
            "diagnostics.probe": 0,
        }
    )  # fmt: skip
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    events = fit(config, whole)
    first = fit(config, parted, After(1))
    halfway = newest(parted, first)[1]
    state = load_state(state_path(parted))
    optimizer: Any = state["optimization"]
    trained = {name for name in halfway if group_of(name) != "backbone"}
    assert _moments(optimizer) == len(trained - {"head.loss_normalizer"})
    then = fit(config.replace({"videos.threads": 2}), parted)
    one, other = newest(whole, events)[1], newest(parted, then)[1]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    moved = {name for name in one if not torch.equal(one[name], halfway[name])}
    assert moved
    assert all(group_of(name) != "backbone" for name in moved)


def _moments(state: Any) -> int:
    """How many parameters an optimizer keeps moments of, wherever they lie in its state."""
    if isinstance(state, dict):
        return ("exp_avg" in state) + sum(_moments(one) for one in state.values())
    return 0


def test_another_strategy_does_not_continue_a_run(smallest: AdaTadConfig, tmp_path: Path) -> None:
    fit(smallest, tmp_path, After(1))
    with pytest.raises(AssayError, match=r"freeze\.strategy = adapter, now it is head-only"):
        fit(smallest.replace({"freeze.strategy": "head-only"}), tmp_path)


@pytest.mark.parametrize("strategy", ["adapter", "full"])
def test_recomputing_loaders_and_half_precision_change_nothing_beyond_rounding(
    one_epoch: AdaTadConfig, tmp_path: Path, strategy: str
) -> None:
    config = one_epoch.replace({"freeze.strategy": strategy})
    usual = losses(fit(config, tmp_path / "usual"))
    kept = losses(fit(config.replace({"runner.checkpointing": []}), tmp_path / "kept"))
    assert kept == pytest.approx(usual, rel=1e-5)
    loaded = losses(fit(config.replace({"runner.workers": 1}), tmp_path / "loaded"))
    assert loaded == usual
    half = losses(fit(config.replace({"runner.amp": "bfloat16"}), tmp_path / "half"))
    assert half == pytest.approx(usual, rel=0.02)
    assert half != usual


def test_validation_begins_where_it_is_told_to(one_epoch: AdaTadConfig, tmp_path: Path) -> None:
    config = one_epoch.replace(
        {
            "epochs": 5, "runner.validation.begin": 2, "runner.validation.interval": 2,
            "runner.checkpoints.interval": 2, "windows.per_video": 1,
        }
    )  # fmt: skip
    events = fit(config, tmp_path)
    validated = [
        e.epoch for e in events if isinstance(e, MetricsLogged) and "val/loss" in e.metrics
    ]
    assert validated == [2, 4, 5]
    saved = [e.checkpoint.epoch for e in events if isinstance(e, CheckpointSaved)]
    assert saved == [2, 4, 5]
    assert len(list((tmp_path / "checkpoints").glob("*.safetensors"))) == 3


def test_what_was_loaded_is_told_and_written(
    run: Run, one_epoch: AdaTadConfig, tmp_path: Path
) -> None:
    """From adapters to the head only, and to another choice of classes."""
    checkpoint, weights = newest(*run)
    config = one_epoch.replace(
        {
            "model.pretrained": str(checkpoint), "freeze.strategy": "head-only",
            "classes": ["run", "jump"],
        }
    )  # fmt: skip
    events = fit(config, tmp_path)
    (told,) = (e for e in events if isinstance(e, FileSaved) and e.kind == "load_report")
    assert told.sha256 == sha256(tmp_path / "load_report.json")
    assert told.facts["missing"] == told.facts["replaced"] == told.facts["unexpected"] == 0
    report = json.loads((tmp_path / "load_report.json").read_text())
    assert len(report["loaded"]) == told.facts["loaded"]
    notes = {e.message: e.level for e in events if isinstance(e, Noted)}
    (left,) = (message for message, level in notes.items() if "its adapters" in message)
    assert notes[left] == "warning"
    assert any("2 of 2 classes keep their outputs" in message for message in notes)
    after = newest(tmp_path, events)[1]
    assert not any(group_of(name) == "adapter" for name in after)
    kept = [name for name in after if group_of(name) == "backbone"]
    assert kept
    assert all(torch.equal(after[name], weights[name]) for name in kept)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"windows.length": 48}, "windows.length is 48, .* set 32 or 64"),
        ({"frames.size": 40}, "frames.size is 40, .* set 32 or 48"),
        ({"runner.optimizer.lr.adapter": 0}, "optimizer.lr.adapter is 0, but .* trains"),
        ({"runner.schedule.warmup_epochs": 2}, "warmup_epochs is 2, 8 steps, .* only 8"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_written(
    smallest: AdaTadConfig, tmp_path: Path, keys: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        fit(smallest.replace(keys), tmp_path)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_wrong_data_is_told_and_refused_before_the_first_step(
    smallest: AdaTadConfig, films: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(films, tmp_path / "broken"))
    (broken / "videos" / "a.mp4").write_bytes(b"no video")
    events: list[Event] = []
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(DataError, match=r"V\d+: .*\ba\b") as refused:
        AdaTadTrainer(smallest.replace({"data": broken}), work).fit(events.append, Never())
    assert "\n" not in str(refused.value)
    (surveyed,) = (event for event in events if isinstance(event, DataSurveyed))
    assert any(finding.level == "error" for finding in surveyed.survey.findings)
    assert not metrics_of(events)


def test_a_promoted_model_finds_what_the_run_found(
    run: Run, smallest: AdaTadConfig, films: Path, home: Home, tmp_path: Path
) -> None:
    """Served in a process that knows only where MLflow is, from the path of a video."""
    checkpoint, _ = newest(*run)
    real = judged(home, 1, model="films").checkpoint.model_copy(
        update={"path": str(checkpoint), "sha256": sha256(checkpoint)}
    )
    decision: PromotionDecision = judged(home, 1, model="films", checkpoint=real)
    config = json.dumps(smallest.model_dump(mode="json"))
    Registry(home).register(decision, SPEC, config)
    conf, video = 0.01, films / "videos" / "c.mp4"
    code = SERVE.format(video=str(video), conf=conf)
    columns, rows = json.loads(run_elsewhere(home, code, tmp_path).splitlines()[-1])
    assert columns == ["input", "start", "end", "label", "score"]
    (report,) = (event.report for event in run[1] if isinstance(event, Evaluated))
    found = json.loads(Path(report.predictions).read_text())["results"]["c"]
    wanted = [[0, *one["segment"], one["label"], one["score"]] for one in found]
    assert rows == [row for row in wanted if row[-1] >= conf]
    assert rows
