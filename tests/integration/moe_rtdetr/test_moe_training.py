"""What a user gets from a training with experts: evidence, honest groups, and the same again."""

import json
from pathlib import Path

import pytest
import torch

from backend.analysis.experts import judge
from backend.core.errors import AssayError, ConfigError
from backend.core.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    ExpertsObserved,
    FreezeReported,
    MetricsLogged,
    Noted,
)
from backend.core.trainer import EvalRequest
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig
from backend.trainers.moe_rtdetr.trainer import MoeRtDetrTrainer
from tests.support.conformance import Never


def fit(config: MoeRtDetrConfig, work: Path) -> list[Event]:
    work.mkdir(parents=True, exist_ok=True)
    events: list[Event] = []
    MoeRtDetrTrainer(config, work).fit(events.append, Never())
    return events


@pytest.fixture(scope="module")
def trained(
    smallest: MoeRtDetrConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Event]]:
    work = tmp_path_factory.mktemp("trained")
    return work, fit(smallest, work)


def logged(events: list[Event]) -> list[MetricsLogged]:
    return [event for event in events if isinstance(event, MetricsLogged)]


def test_experts_add_up_to_the_detection_loss_in_every_logged_step(
    trained: tuple[Path, list[Event]],
) -> None:
    seen = 0
    for event in logged(trained[1]):
        if "train/detection_loss" in event.metrics:
            parts = sum(event.metrics[f"train/expert_loss/{e}"] for e in range(3))
            assert parts == pytest.approx(event.metrics["train/detection_loss"], rel=1e-5)
            seen += 1
    assert seen >= 2


def test_the_total_is_detection_plus_the_weighted_routing_terms(
    trained: tuple[Path, list[Event]], smallest: MoeRtDetrConfig
) -> None:
    moe = smallest.moe
    weights = {
        "load_balance": moe.load_balance_weight, "z_loss": moe.z_loss_weight,
        "route_sup": moe.route_sup, "route_sup_token": moe.route_sup_token,
    }  # fmt: skip
    last = [event.metrics for event in logged(trained[1]) if "train/loss" in event.metrics][-1]
    routing = sum(weight * last[f"train/{name}"] for name, weight in weights.items())
    assert last["train/loss"] == pytest.approx(last["train/detection_loss"] + routing, rel=1e-5)


def test_each_validation_tells_what_the_experts_did(trained: tuple[Path, list[Event]]) -> None:
    observed = [e for e in trained[1] if isinstance(e, ExpertsObserved)]
    assert [event.final for event in observed] == [False, False, True]
    for event in observed:
        report = event.report
        assert report.experts == ("vehicles", "people", "two_wheelers")
        for router in report.routers:
            assert sum(router.counts) == router.tokens * report.k
            assert sum(router.usage) == pytest.approx(1)
        assert {r.name for r in report.routers} == {"token", "query/0", "query/1"}
        assert report.gflops
        assert report.dense_gflops == pytest.approx(report.gflops, rel=0.05)
    assert observed[0].report.solo_ap is None
    solo = observed[-1].report.solo_ap
    assert solo is not None
    assert [len(row) for row in solo] == [6, 6, 6]


def test_what_was_measured_of_the_experts_belongs_to_its_checkpoint(
    trained: tuple[Path, list[Event]],
) -> None:
    saved = [e.checkpoint for e in trained[1] if isinstance(e, CheckpointSaved)]
    for checkpoint in saved:
        usage = [checkpoint.metrics[f"moe/query/usage/{e}"] for e in range(3)]
        assert sum(usage) == pytest.approx(1)
    report = next(e.report for e in trained[1] if isinstance(e, Evaluated))
    beside = json.loads((Path(report.predictions).parent / "experts.json").read_text())
    assert beside["experts"] == ["vehicles", "people", "two_wheelers"]


def test_without_weights_nothing_trains_at_the_pretrained_rate(
    trained: tuple[Path, list[Event]], smallest: MoeRtDetrConfig
) -> None:
    notes = [e.message for e in trained[1] if isinstance(e, Noted)]
    assert any("no weights were loaded" in note for note in notes)
    declared = next(e for e in trained[1] if isinstance(e, FreezeReported))
    assert {group.lr for group in declared.groups} == {smallest.scratch_lr}


def test_weights_of_an_earlier_run_train_at_the_pretrained_rate(
    trained: tuple[Path, list[Event]], smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    best = next(e.report.checkpoint for e in trained[1] if isinstance(e, Evaluated))
    again = smallest.replace({"model.pretrained": best, "epochs": 1, "analyze": "never"})
    declared = next(e for e in fit(again, tmp_path) if isinstance(e, FreezeReported))
    assert {group.lr for group in declared.groups} == {smallest.pretrained_lr}


def test_the_dense_detector_trains_without_a_word_of_experts(
    smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    events = fit(smallest.replace({"moe.experts": "dense", "epochs": 1}), tmp_path)
    assert not any(isinstance(event, ExpertsObserved) for event in events)
    keys = {key for event in logged(events) for key in event.metrics}
    said = {key for key in keys if not key.startswith(("gradient/", "update/"))}  # by part's name
    assert not any(key.startswith("moe/") or "expert" in key for key in said)


def test_balance_by_bias_moves_the_choice_and_is_saved(
    smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    from backend.nn.finetune.weights import load_weights

    changed = {"moe.balance": "bias", "moe.bias_rate": 0.01, "epochs": 1, "analyze": "never"}
    events = fit(smallest.replace(changed), tmp_path)
    best = next(e.report.checkpoint for e in events if isinstance(e, Evaluated))
    weights, _ = load_weights(Path(best))
    biases = [tensor for name, tensor in weights.items() if name.endswith("router.bias")]
    assert biases
    assert all(bool(bias.any()) for bias in biases)


@pytest.mark.parametrize("k", [1, 3])
def test_top_k_decides_how_many_experts_answer(
    smallest: MoeRtDetrConfig, tmp_path: Path, k: int
) -> None:
    events = fit(smallest.replace({"moe.top_k": k, "epochs": 1, "analyze": "never"}), tmp_path)
    report = [e.report for e in events if isinstance(e, ExpertsObserved)][-1]
    for router in report.routers:
        assert sum(router.counts) == router.tokens * k
    assert ("uninformative" in {found.rule for found in judge(report)}) == (k == 3)


def test_the_same_seed_gives_the_same_numbers(
    trained: tuple[Path, list[Event]], smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    again = fit(smallest, tmp_path)
    assert [e.metrics for e in logged(again)] == [e.metrics for e in logged(trained[1])]


def test_a_checkpoint_answers_as_it_was_scored(
    trained: tuple[Path, list[Event]], smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import Image

    report = next(e.report for e in trained[1] if isinstance(e, Evaluated))
    trainer = MoeRtDetrTrainer(smallest, tmp_path)
    truth = json.loads(Path(report.ground_truth).read_text())
    rows = json.loads(Path(report.predictions).read_text())
    image = truth["images"][0]
    pixels = np.asarray(Image.open(image["path"]).convert("RGB"))
    found = trainer.predictor(Path(report.checkpoint)).predict([pixels], conf=smallest.conf)[0]
    expected = [row for row in rows if row["image_id"] == image["id"]]
    assert [d.score for d in found] == pytest.approx([row["score"] for row in expected], abs=1e-4)


def test_a_run_killed_between_epochs_goes_on_to_the_same_weights(
    trained: tuple[Path, list[Event]], smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    from backend.nn.finetune.weights import load_weights

    class StopAfterOne:
        def reason(self) -> str | None:
            return "enough"

    trainer = MoeRtDetrTrainer(smallest, tmp_path)
    assert trainer.fit(lambda event: None, StopAfterOne()).status == "stopped"
    events: list[Event] = []
    MoeRtDetrTrainer(smallest, tmp_path).fit(events.append, Never())
    last = [e.checkpoint for e in events if isinstance(e, CheckpointSaved)][-1]
    reference = [e.checkpoint for e in trained[1] if isinstance(e, CheckpointSaved)][-1]
    ours, _ = load_weights(tmp_path / last.path)
    theirs, _ = load_weights(trained[0] / reference.path)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["car", "tram"]}, "tram"),
        ({"model.image_size": [100, 160]}, "multiples of 32"),
        ({"moe.top_k": 4}, "3 experts"),
        (
            {"moe.experts": "custom", "moe.groups": {"one": ["car"]}, "moe.top_k": 1},
            "exactly one expert",
        ),
        ({"runner.optimizer.lr": {"all": 0.1}}, "pretrained_lr"),
        ({"prompt": "find cars"}, "language"),
        (
            {"model.preset": "r18", "model.pretrained": "torch_hub"},
            "allow_download",
        ),
        ({"data": "/nowhere"}, "/nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(
    smallest: MoeRtDetrConfig, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises((AssayError, ValueError)) as error:
        fit(smallest.replace(changes), tmp_path)
    assert said in str(error.value)
    assert isinstance(error.value, ConfigError | AssayError) or "validation error" in str(
        error.value
    )


def test_another_set_of_experts_is_refused_by_name(
    trained: tuple[Path, list[Event]], smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    best = next(e.report.checkpoint for e in trained[1] if isinstance(e, Evaluated))
    other = smallest.replace({"model.pretrained": best, "moe.experts": "C"})
    with pytest.raises(AssayError, match=r"B.*C|C.*B"):
        fit(other, tmp_path)


def test_an_evaluation_of_a_holdout_knows_its_conditions(
    trained: tuple[Path, list[Event]], smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    best = next(e.report.checkpoint for e in trained[1] if isinstance(e, Evaluated))
    trainer = MoeRtDetrTrainer(smallest.replace({"analyze": "never"}), tmp_path)
    request = EvalRequest(
        checkpoint=best, data=str(smallest.data), split="holdout", out=str(tmp_path / "out")
    )
    report = trainer.evaluate(request)
    assert report.units == 4
    assert trainer.conditions(request).of(report)
