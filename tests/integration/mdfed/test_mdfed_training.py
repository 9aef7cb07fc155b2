"""What a user gets from a training of MD-FED: frozen bits, honest files, and the same again."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.core.errors import AssayError, CheckpointError, DataError
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Evaluated,
    Event,
    MetricsLogged,
    MovementObserved,
    PredictionsObserved,
    RunStarted,
)
from backend.core.records import EvalReport
from backend.core.trainer import EvalRequest
from backend.nn.finetune.weights import load_weights
from backend.scoring.spotting.options import SpottingOptions
from backend.scoring.tasks import TASKS
from backend.trainers.mdfed.parts import FROZEN_PARTS, part_of
from backend.trainers.mdfed.spec import MdFedConfig
from backend.trainers.mdfed.trainer import MdFedTrainer
from backend.trainers.mdfed.training import build
from tests.support.conformance import After, Never
from tests.support.hostile import Bomb

Trained = tuple[Path, list[Event]]


def fit(config: MdFedConfig, work: Path, stop: int = 0) -> list[Event]:
    work.mkdir(parents=True, exist_ok=True)
    events: list[Event] = []
    MdFedTrainer(config, work).fit(events.append, After(stop) if stop else Never())
    return events


def best_of(trained: Trained) -> Path:
    saved = [e.checkpoint for e in trained[1] if isinstance(e, CheckpointSaved) and e.best]
    return trained[0] / saved[-1].path


def newest(events: list[Event], work: Path) -> dict[str, Tensor]:
    saved = [e.checkpoint for e in events if isinstance(e, CheckpointSaved)][-1]
    return load_weights(work / saved.path)[0]


def report_of(events: list[Event]) -> EvalReport:
    (evaluated,) = (event for event in events if isinstance(event, Evaluated))
    return evaluated.report


@pytest.fixture(scope="module")
def stopped(trained: Trained, few: MdFedConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the context network that was stopped after its first epoch."""
    work = tmp_path_factory.mktemp("stopped")
    fit(few.replace({"model.context": True}), work, stop=1)
    return work


def test_losses_metrics_and_predictions_are_told(trained: Trained) -> None:
    logged = [event.metrics for event in trained[1] if isinstance(event, MetricsLogged)]
    validated = [metrics for metrics in logged if "val/edit" in metrics]
    assert len(validated) == 2
    for split, metrics in (("train", logged[-1]), ("val", validated[-1])):
        parts = [metrics[f"{split}/{name}_loss"] for name in ("lcl", "mlc", "ctx")]
        assert sum(parts) == pytest.approx(metrics[f"{split}/loss"], rel=1e-5)
    assert {"val/f1_lcl", "val/f1_element", "val/auroc_frame"} <= validated[-1].keys()
    seen = [event for event in trained[1] if isinstance(event, PredictionsObserved)]
    assert [[h.output for h in event.histograms] for event in seen] == [["frame", "elements"]] * 2
    started = trained[1][0]
    assert isinstance(started, RunStarted)
    assert started.plan is not None
    assert started.plan.losses == ("lcl_loss", "mlc_loss", "ctx_loss")


def test_what_is_not_to_be_observed_is_not_told(few: MdFedConfig, tmp_path: Path) -> None:
    events = fit(few.replace({"diagnostics.observe": False, "epochs": 1}), tmp_path)
    assert not [e for e in events if isinstance(e, PredictionsObserved | MovementObserved)]
    assert [e for e in events if isinstance(e, DataSurveyed)], "the data always are"


def test_baselines_are_told_with_the_run_s_own_parts(trained: Trained) -> None:
    (surveyed,) = (event for event in trained[1] if isinstance(event, DataSurveyed))
    baselines = {one.split: one for one in surveyed.survey.baselines}
    for split in ("train", "val"):
        constant = baselines[split].losses["constant"]
        assert set(constant) == {"lcl_loss", "mlc_loss", "ctx_loss", "loss"}
        assert baselines[split].losses["position"]["loss"] < constant["loss"]
    assert baselines["val"].metrics["nothing"]["edit"] == 0


@pytest.mark.parametrize("strategy", [name for name in FROZEN_PARTS if name != "full"])
def test_what_is_frozen_keeps_every_bit_and_the_rest_moves(
    strategy: str, few: MdFedConfig, tmp_path: Path
) -> None:
    """Parameters and buffers, after 50 steps (acceptance check 7)."""
    config = few.replace({
        "freeze.strategy": strategy, "epochs": 1, "clips.per_epoch": 100, "runner.batch": 2,
        "clips.length": 16, "diagnostics.probe": 0,
    })  # fmt: skip
    started = {k: v.clone() for k, v in build(config, tmp_path).model.state_dict().items()}
    after = newest(fit(config, tmp_path), tmp_path)
    moved = {part_of(name) for name in after if not torch.equal(after[name], started[name])}
    frozen = set(FROZEN_PARTS[strategy])
    assert moved & frozen == set()
    assert moved >= {"encoder", "temporal", "lcl", "mlc"} - frozen


def test_weights_go_over_by_the_names_of_the_elements(
    trained: Trained, few: MdFedConfig, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(few.data, tmp_path / "data"))
    names = (data / "elements.txt").read_text().split()
    (data / "elements.txt").write_text("\n".join([*names[::-1], "let"]))
    (data / "groups.json").unlink()
    source = load_weights(best_of(trained))[0]
    keys = {"data": data, "model.context": True, "model.pretrained": best_of(trained)}
    training = build(few.replace(keys), tmp_path)
    made = training.model.state_dict()
    mlc = "network.mlc.bias"
    assert torch.equal(made[mlc][:-1], source[mlc].flip(0))
    body = [name for name in source if part_of(name) in {"encoder", "temporal", "lcl"}]
    assert body
    assert all(torch.equal(made[name], source[name]) for name in body)
    assert any("elements that it does not know: let" in note for note in training.notes)


def test_a_stopped_run_goes_on_to_the_same_bits(
    stopped: Path, few: MdFedConfig, tmp_path: Path
) -> None:
    config = few.replace({"model.context": True})
    straight = newest(fit(config, tmp_path), tmp_path)
    resumed = newest(fit(config, stopped), stopped)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_an_evaluation_is_the_same_twice_and_what_its_files_score(
    trained: Trained, smallest: MdFedConfig, tmp_path: Path
) -> None:
    trainer = MdFedTrainer(smallest, tmp_path)
    asked = [
        EvalRequest(checkpoint=str(best_of(trained)), data=str(smallest.data), split="val",
                    out=str(tmp_path / folder))
        for folder in ("a", "b")
    ]  # fmt: skip
    reports = [trainer.evaluate(request) for request in asked]
    told = report_of(trained[1])
    for report in reports:
        assert report.metrics == told.metrics
        assert report.settings == told.settings
        assert trainer.conditions(asked[0]).of(report)
    one, other = (Path(report.predictions).read_bytes() for report in reports)
    assert one == other
    evidence = TASKS["spotting"].read(
        Path(told.ground_truth), Path(told.predictions), SpottingOptions()
    )
    scores = evidence.scores().metrics
    assert scores.keys() == told.metrics.keys()
    assert scores == pytest.approx(told.metrics, abs=1e-9, nan_ok=True)
    assert scores["auroc_frame"] is not None


def test_another_threshold_or_overlap_is_another_condition(
    trained: Trained, smallest: MdFedConfig, tmp_path: Path
) -> None:
    request = EvalRequest(checkpoint=str(best_of(trained)), data=str(smallest.data), split="val",
                          out=str(tmp_path))  # fmt: skip
    told = report_of(trained[1])
    for key, value in (("threshold", 0.3), ("overlap", 0.25), ("tolerance", 3), ("suppress", 3)):
        other = MdFedTrainer(smallest.replace({f"inference.{key}": value}), tmp_path)
        assert not other.conditions(request).of(told), key


def test_a_predictor_finds_the_events_of_the_evaluation(
    trained: Trained, smallest: MdFedConfig, tmp_path: Path
) -> None:
    told = json.loads(Path(report_of(trained[1]).predictions).read_text())
    ranked = sorted(told, key=lambda name: -max(told[name]["scores"]))[:3]
    conf = max(told[ranked[0]]["scores"]) * 0.9
    config = smallest.replace({"inference.threshold": conf})
    request = EvalRequest(checkpoint=str(best_of(trained)), data=str(smallest.data), split="val",
                          out=str(tmp_path))  # fmt: skip
    report = MdFedTrainer(config, tmp_path).evaluate(request)
    events = {name: found["events"] for name, found in
              json.loads(Path(report.predictions).read_text()).items()}  # fmt: skip
    files = [smallest.data / "skeletons" / f"{name}.pkl" for name in ranked]
    answers = MdFedTrainer(smallest, tmp_path).predictor(best_of(trained)).predict(files, conf)
    assert any(answers)
    for name, spots in zip(ranked, answers, strict=True):
        assert [(spot.frame // 2, spot.label) for spot in spots] == [
            (event["frame"], "_".join(event["elements"])) for event in events[name]
        ]
        assert [spot.score for spot in spots] == pytest.approx(
            [event["score"] for event in events[name]], abs=1e-6
        )


def test_what_is_no_skeleton_gets_one_sentence(
    trained: Trained, smallest: MdFedConfig, tmp_path: Path
) -> None:
    predictor = MdFedTrainer(smallest, tmp_path).predictor(best_of(trained))
    mark, file = tmp_path / "mark", tmp_path / "bomb.pkl"
    file.write_bytes(pickle.dumps({"keypoint": Bomb(mark)}))
    whole = next((smallest.data / "skeletons").iterdir())
    content = pickle.loads(whole.read_bytes())
    content["keypoint"][:] = float("nan")
    (tmp_path / "nan.pkl").write_bytes(pickle.dumps(content))
    (tmp_path / "cut.pkl").write_bytes(whole.read_bytes()[:500])
    for given in (file, tmp_path / "cut.pkl", tmp_path / "nan.pkl", tmp_path / "absent.pkl"):
        with pytest.raises(ValueError, match=given.name) as refused:
            predictor.predict([given])
        assert "\n" not in str(refused.value)
    assert not mark.exists()


@pytest.mark.parametrize("damage", ["cut", "bomb"])
def test_a_damaged_skeleton_ends_a_training_in_one_sentence(
    damage: str, few: MdFedConfig, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(few.data / "skeletons", tmp_path / "skeletons"))
    file, mark = next(folder.glob("match001*.pkl")), tmp_path / "mark"
    bomb = pickle.dumps({"keypoint": Bomb(mark)})
    file.write_bytes(bomb if damage == "bomb" else file.read_bytes()[:99])
    with pytest.raises(DataError, match=file.name) as refused:
        fit(few.replace({"skeletons.pose_dir": folder}), tmp_path / "work")
    assert "\n" not in str(refused.value)
    assert not mark.exists()


def test_missing_files_end_it_are_left_out_or_count_as_zeros(
    few: MdFedConfig, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(few.data / "skeletons", tmp_path / "skeletons"))
    clips = json.loads((few.data / "train.json").read_text())
    (folder / f"{clips[0]['video']}.pkl").unlink()
    config = few.replace({"skeletons.pose_dir": folder, "epochs": 1, "diagnostics.probe": 0})
    with pytest.raises(DataError, match=r"1 of 4 train clips are missing"):
        fit(config, tmp_path / "error")
    positions = {}
    for missing in ("mask", "zeros"):
        events = fit(config.replace({"skeletons.missing": missing}), tmp_path / missing)
        assert report_of(events).units == 10
        (surveyed,) = (event for event in events if isinstance(event, DataSurveyed))
        positions[missing] = surveyed.survey.sampled[0].positions
    assert positions["mask"] < positions["zeros"]


def test_few_shot_takes_its_clips_by_seed_and_says_so(
    smallest: MdFedConfig, tmp_path: Path
) -> None:
    counts, digests = [], []
    for seed in (0, 1):
        training = build(smallest.replace({"clips.few_shot": 10, "seed": seed}), tmp_path)
        counts.append([given.images for given in training.data.inputs])
        digests.append([given.digest for given in training.data.inputs])
    assert counts == [[8, 2], [8, 2]]
    assert digests[0][0] != digests[1][0]


def test_a_run_that_finds_nothing_still_ships_its_lowest_loss(
    trained: Trained, few: MdFedConfig, tmp_path: Path
) -> None:
    """Edit is 0 at each evaluation; the public code crashes here (acceptance of 3.3)."""
    config = few.replace({"runner.optimizer.lr.all": 1e-3, "loss.fg_weight": 0.2, "epochs": 3,
                          "diagnostics.probe": 0})  # fmt: skip
    events = fit(config, tmp_path)
    logged = [e for e in events if isinstance(e, MetricsLogged) and "val/edit" in e.metrics]
    assert {event.metrics["val/edit"] for event in logged} == {0.0}
    lowest = min(logged, key=lambda event: event.metrics["val/loss"])
    best = [e.checkpoint for e in events if isinstance(e, CheckpointSaved) and e.best][-1]
    assert best.step == lowest.step
    assert report_of(events).metrics["edit"] == 0
    assert MdFedTrainer(config, tmp_path).predictor(tmp_path / best.path)


def test_a_checkpoint_of_elsewhere_is_refused_by_what_it_is(
    trained: Trained, few: MdFedConfig, tmp_path: Path
) -> None:
    best = best_of(trained)
    for keys, said in (
        ({"model.preset": "base"}, "another network"),
        ({"model.fusion": "mean"}, "another network"),
        ({"stage": 3}, "checkpoint of stage 1, but stage 3 starts from"),
    ):
        with pytest.raises(CheckpointError, match=said):
            build(few.replace({"model.pretrained": best, **keys}), tmp_path)
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(AssayError, match=r"text\.safetensors"):
        MdFedTrainer(few, tmp_path).predictor(tmp_path / "text.safetensors")


def test_a_distillation_needs_no_labels(
    trained: Trained, few: MdFedConfig, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(few.data, tmp_path / "data"))
    clips = json.loads((data / "train.json").read_text())
    (data / "train.json").write_text(json.dumps([{**clip, "events": []} for clip in clips]))
    keys = {"data": data, "model.context": True, "model.pretrained": best_of(trained)}
    with pytest.raises(DataError, match="no event in any clip"):
        build(few.replace(keys), tmp_path / "labelled")
    events = fit(few.replace({**keys, "stage": 2, "epochs": 1}), tmp_path / "distilled")
    assert report_of(events).units == 10


def test_an_archive_beside_a_pickle_of_its_name_is_not_taken_for_it(
    trained: Trained, smallest: MdFedConfig, tmp_path: Path
) -> None:
    predictor = MdFedTrainer(smallest, tmp_path).predictor(best_of(trained))
    whole = next((smallest.data / "skeletons").iterdir())
    shutil.copy(whole, tmp_path / "a.pkl")
    content = pickle.loads(whole.read_bytes())
    lost = {**content, "keypoint": np.full_like(content["keypoint"], np.nan)}
    np.savez(tmp_path / "a.npz", **lost)
    assert len(predictor.predict([tmp_path / "a.pkl"])) == 1
    with pytest.raises(ValueError, match=r"a\.npz: the scores"):
        predictor.predict([tmp_path / "a.npz"])
    with pytest.raises(ValueError, match=r"\(\.pkl or \.npz\), got .*a\.txt"):
        predictor.predict([tmp_path / "a.txt"])


def test_frozen_at_random_values_is_said(few: MdFedConfig, tmp_path: Path) -> None:
    training = build(few.replace({"freeze.strategy": "encoder+gru"}), tmp_path)
    (note,) = training.parts.notes
    assert "at random values: nothing was loaded" in note
