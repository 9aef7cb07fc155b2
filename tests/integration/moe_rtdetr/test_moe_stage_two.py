"""A prompt gates classes and experts, on top of a stage-1 checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.core.errors import AssayError
from backend.core.events import Evaluated, Event, ExpertsObserved, FreezeReported, MetricsLogged
from backend.core.trainer import EvalRequest
from backend.datasets import read_split
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig
from backend.trainers.moe_rtdetr.trainer import MoeRtDetrTrainer
from tests.support.conformance import Never


def fit(config: MoeRtDetrConfig, work: Path) -> list[Event]:
    work.mkdir(parents=True, exist_ok=True)
    events: list[Event] = []
    MoeRtDetrTrainer(config, work).fit(events.append, Never())
    return events


def best(events: list[Event]) -> str:
    return next(e.report.checkpoint for e in events if isinstance(e, Evaluated))


@pytest.fixture(scope="module")
def stage_one(smallest: MoeRtDetrConfig, tmp_path_factory: pytest.TempPathFactory) -> str:
    quick = smallest.replace({"epochs": 1, "analyze": "never"})
    return best(fit(quick, tmp_path_factory.mktemp("one")))


@pytest.fixture(scope="module")
def second(stage_one: str, smallest: MoeRtDetrConfig) -> MoeRtDetrConfig:
    return smallest.replace({"epochs": 1, "model.pretrained": stage_one, "language.enabled": True})


@pytest.fixture(scope="module")
def trained(
    second: MoeRtDetrConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Event]]:
    work = tmp_path_factory.mktemp("two")
    return work, fit(second, work)


def test_the_gate_is_trained_at_its_own_rate_and_the_rest_as_loaded(
    trained: tuple[Path, list[Event]], second: MoeRtDetrConfig
) -> None:
    declared = next(e for e in trained[1] if isinstance(e, FreezeReported))
    rates = {group.name: group.lr for group in declared.groups}
    assert rates.pop("language") == second.language.lr
    assert set(rates.values()) == {second.pretrained_lr}


def test_every_class_and_group_is_asked_for_in_the_end(
    trained: tuple[Path, list[Event]],
) -> None:
    metrics = [e.metrics for e in trained[1] if isinstance(e, MetricsLogged)][-1]
    assert metrics["language/prompt_accuracy"] > 0.8  # the words are learned before any image
    assert "language/task_ap/person" in metrics
    report = json.loads(
        (Path(next(e.report.predictions for e in trained[1] if isinstance(e, Evaluated))).parent
         / "language.json").read_text()
    )  # fmt: skip
    people = next(one for one in report["prompts"] if one["asked"] == ["person"])
    assert people["understood"] == ["person"]
    assert sorted(people["skipped"]) == ["two_wheelers", "vehicles"]
    assert people["gflops"] < report["gflops"]


def test_a_prompt_silences_what_was_not_asked_for(
    trained: tuple[Path, list[Event]], second: MoeRtDetrConfig, tmp_path: Path
) -> None:
    """The model has hardly trained, so only how far each class falls is asked."""
    frames = read_split(second.data, "val", second.classes).frames
    images = [np.asarray(Image.open(frame.path).convert("RGB")) for frame in frames]

    def loudest(prompt: str) -> dict[str, float]:
        asked = second.replace({"prompt": prompt, "max_det": 60, "language.prune": False})
        predictor = MoeRtDetrTrainer(asked, tmp_path).predictor(Path(best(trained[1])))
        found = [d for one in predictor.predict(images, conf=0.0) for d in one]
        return {
            name: max((d.score for d in found if d.label == name), default=0.0)
            for name in second.classes
        }

    everything, people = loudest(""), loudest("find the pedestrians")
    kept = {name: people[name] / everything[name] for name in second.classes}
    assert kept.pop("person") > 0.5
    assert max(kept.values()) < 0.2


def test_an_evaluation_under_a_prompt_is_not_taken_for_one_without(
    trained: tuple[Path, list[Event]], second: MoeRtDetrConfig, tmp_path: Path
) -> None:
    request = EvalRequest(
        checkpoint=best(trained[1]), data=str(second.data), split="val", out=str(tmp_path)
    )
    asked = MoeRtDetrTrainer(second.replace({"prompt": "trucks"}), tmp_path)
    report = asked.evaluate(request)
    assert asked.conditions(request).of(report)
    assert not MoeRtDetrTrainer(second, tmp_path).conditions(request).of(report)


def test_the_experts_of_stage_two_are_seen_too(trained: tuple[Path, list[Event]]) -> None:
    assert any(isinstance(event, ExpertsObserved) for event in trained[1])


def test_only_the_gate_trains_if_stage_one_is_frozen(
    second: MoeRtDetrConfig, tmp_path: Path
) -> None:
    events = fit(second.replace({"language.freeze_stage1": True}), tmp_path)
    verified = [e for e in events if isinstance(e, FreezeReported)][-1]
    assert verified.violations == ()
    assert {group.name for group in verified.groups if group.trainable} == {"language"}


def test_an_unknown_prompt_is_refused_where_that_is_wanted(
    trained: tuple[Path, list[Event]], second: MoeRtDetrConfig, stage_one: str, tmp_path: Path
) -> None:
    strict = second.replace({"language.unknown": "error", "prompt": "find the giraffes"})
    request = EvalRequest(
        checkpoint=best(trained[1]), data=str(second.data), split="val", out=str(tmp_path)
    )
    with pytest.raises(AssayError, match="find the giraffes"):
        MoeRtDetrTrainer(strict, tmp_path).evaluate(request)
