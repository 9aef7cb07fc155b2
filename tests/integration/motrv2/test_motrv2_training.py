"""What a user gets from a training of MOTRv2: proofs, forgetting in numbers, the same again."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from backend.core.digest import sha256
from backend.core.errors import AssayError, DataError, TrainingError
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Event,
    FileSaved,
    FreezeReported,
    MetricsLogged,
    Noted,
    RunStarted,
)
from backend.core.trainer import EvalRequest, ExportRequest
from backend.nn.finetune.weights import load_weights
from backend.trainers.motrv2.checkpoint import read_checkpoint
from backend.trainers.motrv2.checkpoint_format import with_both_names
from backend.trainers.motrv2.spec import Motrv2Config
from backend.trainers.motrv2.trainer import Motrv2Trainer
from backend.trainers.motrv2.training import build
from tests.support.conformance import After, Never
from tests.support.motrv2_files import trained

Run = tuple[Path, list[Event]]


@pytest.fixture(scope="module")
def run(tuned: Motrv2Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A fine-tuning to eight classes with an average of the weights; its work directory."""
    work = tmp_path_factory.mktemp("run")
    config = tuned.replace({"runner.ema.enabled": True, "runner.ema.compare_live": True})
    return work, trained(config, work)[1]


def metrics_of(events: list[Event]) -> list[dict[str, float]]:
    return [dict(event.metrics) for event in events if isinstance(event, MetricsLogged)]


def newest(work: Path, events: list[Event]) -> dict[str, Tensor]:
    saved = [event.checkpoint for event in events if isinstance(event, CheckpointSaved)][-1]
    return load_weights(work / saved.path)[0]


def test_losses_have_the_same_names_on_both_splits(run: Run) -> None:
    last = metrics_of(run[1])[-1]
    for split in ("train", "val"):
        parts = [last[f"{split}/loss_{name}"] for name in ("ce", "bbox", "giou", "dn")]
        assert sum(parts) == pytest.approx(last[f"{split}/loss"], rel=1e-5)
    started = run[1][0]
    assert isinstance(started, RunStarted)
    assert started.plan is not None
    assert started.plan.losses == ("loss_ce", "loss_bbox", "loss_giou", "loss_dn")
    assert started.plan.held == 4, "the first epoch warms up the new heads"


def test_forgetting_is_measured_with_the_old_head_before_and_after(
    run: Run, tuned: Motrv2Config, pretrained: Path, tmp_path: Path
) -> None:
    logged = metrics_of(run[1])
    before = logged[0]["source/HOTA"]
    validated = [metrics for metrics in logged if "val/cls_HOTA" in metrics]
    assert len(validated) == 2
    for metrics in validated:
        assert metrics["source/forgetting"] == pytest.approx(before - metrics["source/HOTA"])
    reports = [
        Motrv2Trainer(tuned, tmp_path).evaluate(
            EvalRequest(
                checkpoint=str(checkpoint), data=str(tuned.source), split="val",
                out=str(tmp_path / checkpoint.stem),
            )
        )
        for checkpoint in (pretrained, sorted((run[0] / "checkpoints").glob("*.safetensors"))[-1])
    ]  # fmt: skip
    assert [report.metrics["HOTA"] or 0 for report in reports] == pytest.approx(
        [before, validated[-1]["source/HOTA"]]
    )
    assert [report.settings["view"] for report in reports] == [
        "own classes",
        "classes before fine-tuning",
    ]


def test_nothing_frozen_moved_live_averaged_or_in_the_file(run: Run, pretrained: Path) -> None:
    report = json.loads((run[0] / "freeze_report.json").read_text())
    assert report["compared"] == ["model", "ema", "file"]
    assert report["moved_frozen"] == []
    assert {"backbone.0.body.stage1.1.running_var", "previous.class_embed.0.bias"} <= report[
        "sha256"
    ].keys()
    assert not report["sha256"].keys() & {"class_embed.0.bias", "bbox_embed.0.layers.0.weight"}
    assert report["groups"]["new"]["tensors"] == 5
    old, new = read_checkpoint(pretrained).weights, with_both_names(newest(*run))
    for name in report["sha256"]:
        assert torch.equal(old[name.removeprefix("previous.")], new[name]), name
    (told,) = (e for e in run[1] if isinstance(e, FileSaved) and e.kind == "freeze_report")
    assert told.sha256 == sha256(run[0] / "freeze_report.json")
    assert told.facts["moved_frozen"] == 0
    assert all(not e.violations for e in run[1] if isinstance(e, FreezeReported))


def test_what_was_loaded_is_told_and_written(run: Run) -> None:
    (told,) = (e for e in run[1] if isinstance(e, FileSaved) and e.kind == "load_report")
    assert (told.facts["mismatched"], told.facts["missing"]) == (4, 1)
    report = json.loads((run[0] / "load_report.json").read_text())
    assert report["mismatched"][0]["target"] == [8, 64]
    infos = [e.message for e in run[1] if isinstance(e, Noted) and e.level == "info"]
    assert any("mismatched class_embed.0.weight [1, 64] in the file" in one for one in infos)


def test_the_proof_can_fail(tuned: Motrv2Config, run: Run, tmp_path: Path) -> None:
    training = build(tuned, tmp_path)
    assert training.prove is not None
    file = sorted((run[0] / "checkpoints").glob("*.safetensors"))[-1]
    training.prove({"model": training.model}, file)
    for name in (
        "transformer.encoder.layers.0.linear1.bias",
        "backbone.0.body.stage1.1.running_mean",
    ):
        state = training.model.state_dict()
        kept = state[name][0].item()
        state[name][0] += 1e-3
        with pytest.raises(TrainingError, match=rf"{name} \(model\)"):
            training.prove({"model": training.model}, file)
        state[name][0] = kept
    assert json.loads((tmp_path / "freeze_report.json").read_text())["moved_frozen"] == [
        f"{name} (model)"
    ]


def test_a_stopped_run_continues_to_the_same_bits(tuned: Motrv2Config, tmp_path: Path) -> None:
    """Stopped within the head warm-up, in which six of eight steps lie."""
    config = tuned.replace({"source": None, "learning.head_warmup_steps": 6})
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    for folder in (whole, parted):
        folder.mkdir()
    events = trained(config, whole)[1]
    first: list[Event] = []
    Motrv2Trainer(config, parted).fit(first.append, After(1))
    halfway = newest(parted, first)
    then = trained(config, parted)[1]
    one, other = newest(whole, events), newest(parted, then)
    assert all(torch.equal(one[name], other[name]) for name in one)
    moved = {name for name, tensor in one.items() if not torch.equal(tensor, halfway[name])}
    assert any(name.startswith("track_embed.") for name in moved)
    start = build(config, tmp_path).model.state_dict()
    warmed = {name for name, tensor in halfway.items() if not torch.equal(tensor, start[name])}
    assert warmed == {
        "yolox_class_embed.weight",
        *(f"class_embed.{at}.{name}" for at in (0, 1) for name in ("weight", "bias")),
    }


def test_another_strategy_does_not_continue_a_run(tuned: Motrv2Config, tmp_path: Path) -> None:
    config = tuned.replace({"source": None})
    Motrv2Trainer(config, tmp_path).fit(lambda event: None, After(1))
    other = Motrv2Trainer(config.replace({"freeze.strategy": "minimal"}), tmp_path)
    with pytest.raises(AssayError, match=r"freeze\.strategy = moderate, now it is minimal"):
        other.fit(lambda event: None, Never())


def test_the_same_seed_trains_the_same(tuned: Motrv2Config, tmp_path: Path) -> None:
    config = tuned.replace(
        {"source": None, "clips.per_epoch": 20, "epochs": 1, "freeze.strategy": "full"}
    )
    found = []
    for folder, workers in (("a", 0), ("b", 1)):
        work = tmp_path / folder
        work.mkdir()
        events = trained(config.replace({"runner.workers": workers}), work)[1]
        found.append([m["train/loss"] for m in metrics_of(events) if "train/loss" in m])
    assert len(found[0]) == 20
    assert found[0] == found[1]


def test_two_clips_a_pass_are_two_passes_a_step(tuned: Motrv2Config, tmp_path: Path) -> None:
    config = tuned.replace({"source": None, "epochs": 1, "model.denoising": 0.0})
    found = []
    for key in ("runner.batch", "runner.accumulate"):
        work = tmp_path / key
        work.mkdir()
        found.append(metrics_of(trained(config.replace({key: 2}), work)[1]))
    assert [len(one) for one in found] == [2, 2]
    for one, other in zip(*found, strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=1e-4)


@pytest.mark.parametrize("strategy", ["moderate", "full"])
def test_half_precision_trains(tuned: Motrv2Config, tmp_path: Path, strategy: str) -> None:
    config = tuned.replace(
        {
            "source": None, "epochs": 1, "runner.amp": "bfloat16",
            "freeze.strategy": strategy, "learning.recompute": True,
        }
    )  # fmt: skip
    last = metrics_of(trained(config, tmp_path)[1])[-1]
    assert all(torch.tensor(value).isfinite() for value in last.values())


def test_wrong_data_is_told_and_refused_before_the_first_step(
    tuned: Motrv2Config, domains: dict[str, Path], tmp_path: Path
) -> None:
    """A detection database without classes, as the brief had it."""
    broken = tmp_path / "broken"
    shutil.copytree(domains["target"], broken)
    path = broken / "det_db.json"
    lines: dict[str, list[str]] = json.loads(path.read_text())
    lines.pop("_meta")
    for key, rows in lines.items():
        fields = [row.strip().split(",") for row in rows]
        lines[key] = [",".join([*row[:4], row[5]]) for row in fields]
    path.write_text(json.dumps(lines))
    events: list[Event] = []
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(DataError, match="N4"):
        Motrv2Trainer(tuned.replace({"data": broken, "source": None}), work).fit(
            events.append, Never()
        )
    (surveyed,) = (event for event in events if isinstance(event, DataSurveyed))
    assert "N4" in {finding.code for finding in surveyed.survey.findings}
    assert not any(isinstance(event, MetricsLogged) for event in events)


def test_the_export_is_the_reference_s_file(run: Run, tuned: Motrv2Config, tmp_path: Path) -> None:
    checkpoint = sorted((run[0] / "checkpoints").glob("*.safetensors"))[-1]
    out = tmp_path / "out.pth"
    request = ExportRequest(
        checkpoint=str(checkpoint), format="motrv2", out=str(out), data=str(tuned.data)
    )
    report = Motrv2Trainer(tuned, tmp_path).export(request)
    asked = EvalRequest(
        checkpoint=str(checkpoint), data=str(tuned.data), split="val", out=str(tmp_path / "scored")
    )
    scored = Motrv2Trainer(tuned, tmp_path).evaluate(asked).metrics
    assert report.reference["HOTA"] == scored["HOTA"]
    assert report.metrics.keys() == report.reference.keys()
    assert report.sha256 == sha256(out)
    assert report.difference is not None
    assert report.difference > 0, "it does not know the classes of proposals"
    assert "yolox_class_embed.weight; the file answers otherwise" in report.warnings[0]
    assert "4 tensors of the class that" in report.warnings[1]
    content = torch.load(out, weights_only=True)["model"]
    ours = with_both_names(load_weights(checkpoint)[0])
    kept = {n for n in ours if not n.startswith(("previous.", "yolox_class_embed."))}
    assert content.keys() == kept
    assert all(torch.equal(content[name], ours[name]) for name in kept)


def test_an_export_of_one_class_answers_the_same(
    pretrained: Path, smallest: Motrv2Config, tmp_path: Path
) -> None:
    out = tmp_path / "out.pth"
    request = ExportRequest(checkpoint=str(pretrained), format="motrv2", out=str(out))
    report = Motrv2Trainer(smallest, tmp_path).export(request)
    assert report.difference == 0
    assert report.warnings == (
        "without data: the outputs were compared on noise, and nothing was scored",
    )
    assert not report.metrics
    again = smallest.replace({"model.pretrained": out, "epochs": 1})
    work = tmp_path / "again"
    work.mkdir()
    assert metrics_of(trained(again, work)[1])
