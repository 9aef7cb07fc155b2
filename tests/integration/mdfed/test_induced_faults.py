"""Real trainings of MD-FED with one fault in each: the rules name it."""

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.optim import Optimizer

from backend.analysis.comparison import ComparisonSettings, compare
from backend.analysis.diagnostics.engine import diagnose
from backend.core.comparisons import Contender
from backend.core.events import CheckpointSaved, Evaluated, Event
from backend.core.records import EvalReport
from backend.runner.training import NoWatch, Training
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.spec import MdFedConfig
from backend.trainers.mdfed.training import build
from tests.support.induced import EachStep, Induced, run

Change = Callable[[Training], Training]
NOWHERE = {"skeletons.pose_dir": "/nowhere", "skeletons.missing": "zeros"}
RATE = "runner.optimizer.lr.all"


def spoilt(
    config: MdFedConfig, folder: Path, change: Change = lambda training: training, **keys: object
) -> Induced:
    """A training with a fault."""
    folder.mkdir(exist_ok=True)
    keyed = {key.replace("__", "."): value for key, value in keys.items()}
    return run(change(build(config.replace(keyed), folder)), folder)


@pytest.fixture(scope="module")
def blind(smallest: MdFedConfig, tmp_path_factory: pytest.TempPathFactory) -> Induced:
    """R1: no skeletons, each replaced by zeros, and a learning rate that finds the level soon."""
    fast = {RATE: 0.01, "runner.schedule.name": "constant", "epochs": 12, "runner.batch": 16,
            "clips.per_epoch": 64}  # fmt: skip
    return spoilt(smallest.replace({**NOWHERE, **fast}), tmp_path_factory.mktemp("blind"))


@pytest.mark.rule("D01")
def test_without_skeletons_the_headline_names_them(blind: Induced) -> None:
    assert (blind.head.rule, blind.head.severity) == ("D01", "stop")
    assert "32 of 32 skeleton files of 'train' are missing in /nowhere" in blind.head.headline
    assert blind.diagnosis.verdict.startswith("not learning: 32 of 32 skeleton files")


@pytest.mark.rule("B01", "B02", "B03", "B04", "B18")
@pytest.mark.parametrize("rule", ["B01", "B02", "B03", "B04", "B18"])
def test_what_follows_from_missing_skeletons_is_seen_and_explained(
    blind: Induced, rule: str
) -> None:
    assert rule in {finding.rule for finding in blind.diagnosis.also_seen}
    assert rule in blind.head.silenced


def test_missing_skeletons_and_a_rate_too_low_are_the_skeletons(
    few: MdFedConfig, tmp_path: Path
) -> None:
    found = spoilt(few.replace({**NOWHERE, RATE: 1e-5}), tmp_path, epochs=4)
    assert found.head.rule == "D01"
    assert {"B01", "B02"} & set(found.head.silenced)


def test_zeros_and_a_rate_too_low_are_the_zeros(few: MdFedConfig, tmp_path: Path) -> None:
    zeros = Path(shutil.copytree(few.data / "skeletons", tmp_path / "zeros"))
    for path in zeros.iterdir():
        content = pickle.loads(path.read_bytes())
        path.write_bytes(pickle.dumps(content | {"keypoint": content["keypoint"] * 0}))
    found = spoilt(
        few.replace({"skeletons.pose_dir": zeros, RATE: 1e-5}), tmp_path / "work", epochs=4
    )
    assert found.head.rule == "D02"
    assert {"B01", "B02"} & set(found.head.silenced)


@pytest.mark.rule("B05", "B08")
def test_a_warm_up_to_a_rate_at_which_the_loss_runs_away(
    smallest: MdFedConfig, tmp_path: Path
) -> None:
    config = smallest.replace({RATE: 1.0, "runner.schedule.warmup_steps": 8})
    found = spoilt(config, tmp_path, epochs=8)
    assert "The training loss rose from " in found.seen["B05"].headline
    assert found.head.rule == "B08", "it says why"
    assert found.diagnosis.verdict == "not learning: the learning rate is too high (B08)"


@pytest.mark.rule("B08")
def test_a_rate_a_hundred_times_too_high(few: MdFedConfig, tmp_path: Path) -> None:
    found = spoilt(few.replace({RATE: 0.3, "diagnostics.probe": 0}), tmp_path, epochs=7)
    assert found.head.rule == "B08"


@pytest.mark.rule("B06")
def test_one_key_point_that_is_no_number(
    smallest: MdFedConfig, rallies: Path, tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(rallies / "skeletons", tmp_path / "damaged"))
    path = max(damaged.glob("match001*.pkl"), key=lambda file: file.stat().st_size)
    content = pickle.loads(path.read_bytes())
    content["keypoint"][0, ::8, 5] = np.nan
    path.write_bytes(pickle.dumps(content))
    found = spoilt(smallest.replace({"skeletons.pose_dir": damaged}), tmp_path / "work")
    assert (found.head.rule, found.head.severity) == ("B06", "stop")
    assert "the input 'joints' is no number" in found.head.headline
    assert path.stem in found.head.headline, "the clip is named"
    assert "D02" in found.seen
    assert "the loss is nan" in found.error


@pytest.mark.rule("B07")
def test_four_clips_learnt_by_heart(few: MdFedConfig, tmp_path: Path) -> None:
    config = few.replace({
        "model.dropout": 0, "runner.schedule.name": "constant", "epochs": 24,
        "clips.per_epoch": 16, RATE: 5e-3, "runner.validation.interval": 2,
        "runner.log_interval": 10,
    })  # fmt: skip
    found = spoilt(config, tmp_path)
    assert "while the training loss still falls" in found.seen["B07"].headline


@pytest.mark.rule("B09")
def test_a_rate_a_hundred_times_too_low(smallest: MdFedConfig, tmp_path: Path) -> None:
    found = spoilt(smallest.replace({RATE: 1e-5}), tmp_path, epochs=6)
    assert "B09" in found.seen
    assert "would end at" in found.seen["B09"].headline


@pytest.mark.rule("B12")
def test_an_encoder_that_was_locked_behind_the_plan_s_back(
    smallest: MdFedConfig, tmp_path: Path
) -> None:
    def change(training: Training) -> Training:
        encoder = training.model.get_submodule("network.encoder")
        return replace(training, watch=EachStep(lambda point: encoder.requires_grad_(False)))

    found = spoilt(smallest, tmp_path, change)
    assert found.head.rule == "B12"
    assert "cannot: encoder" in found.head.headline
    assert "requires_grad is False" in found.head.headline + found.head.cause


@pytest.mark.rule("B12")
def test_an_optimizer_that_was_built_without_the_classifier(
    smallest: MdFedConfig, tmp_path: Path
) -> None:
    class TooEarly(NoWatch):
        def __init__(self, training: Training) -> None:
            self.left_out = {
                id(p) for p in training.model.get_submodule("network.mlc").parameters()
            }

        def began(self, optimizer: Optimizer) -> None:
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if id(p) not in self.left_out]

    found = spoilt(smallest, tmp_path, lambda t: replace(t, watch=TooEarly(t)))
    assert found.head.rule == "B12"
    assert "cannot: mlc" in found.head.headline


@pytest.mark.rule("B13")
def test_a_teacher_in_training_mode(
    trained: tuple[Path, list[Event]], few: MdFedConfig, tmp_path: Path
) -> None:
    """The public code's fault in stage 2, and acceptance check 7."""

    def change(training: Training) -> Training:
        assert isinstance(training.model, Learner)
        teacher = training.model.criterion.get_submodule("teacher")
        return replace(training, watch=EachStep(lambda point: teacher.train()))

    config = few.replace({
        "stage": 2, "model.pretrained": best_of(trained), "model.context": True, "epochs": 1,
        "clips.per_epoch": 16, "diagnostics.probe": 0, "runner.schedule.warmup_steps": 0,
    })  # fmt: skip
    found = spoilt(config, tmp_path, change)
    assert (found.head.rule, found.head.severity) == ("B13", "error")
    assert "Frozen module in training mode: criterion" in found.head.headline
    moved = {str(f.value) for f in found.head.evidence if f.name == "changed"}
    assert any("teacher" in name and "running_mean" in name for name in moved)


@pytest.mark.rule("B15")
def test_two_seeds_of_one_config_show_no_difference(few: MdFedConfig, tmp_path: Path) -> None:
    """Whichever is called the better one (acceptance check 10)."""
    seeds = [few.replace({"seed": seed, "diagnostics.probe": 0}) for seed in (1, 2)]
    ended = [spoilt(config, tmp_path / f"{config.seed}") for config in seeds]
    said = []
    for old, new in ((0, 1), (1, 0)):
        compared = compare(
            key="seeds",
            created=0.0,
            contenders=(contender(ended[old], seeds[old]), contender(ended[new], seeds[new])),
            target=(report_of(ended[old]), report_of(ended[new])),
            settings=ComparisonSettings(primary="ap_frame"),
        )
        evidence = replace(ended[new].evidence, comparisons=(compared,))
        found = {finding.rule: finding for finding in diagnose(evidence).findings}
        said += [found["B15"].headline] if "B15" in found else []
    (headline,) = said  # one of them claims a gain
    assert headline.startswith("No difference shown to seed ")
    assert "both sides are the same config, and only the seed differs" in headline


def best_of(trained: tuple[Path, list[Event]]) -> Path:
    """The best checkpoint of a training."""
    work, events = trained
    saved = [e.checkpoint for e in events if isinstance(e, CheckpointSaved) and e.best]
    return work / saved[-1].path


def report_of(ended: Induced) -> EvalReport:
    (evaluated,) = (event for event in ended.events if isinstance(event, Evaluated))
    return evaluated.report


def contender(ended: Induced, config: MdFedConfig) -> Contender:
    saved = [e.checkpoint for e in ended.events if isinstance(e, CheckpointSaved)][-1]
    return Contender(
        label=f"seed {config.seed}", checkpoint=saved, trainer="mdfed", params=config.flat()
    )
