"""Every checkpoint of a run on the same units: the best, and whether that is luck."""

from pathlib import Path

import pytest

from backend.analysis.kept import KeptCheckpoints, judge_kept
from backend.analysis.settings import ComparisonSettings
from backend.core.errors import ComparisonError
from backend.core.records import Checkpoint
from tests.support.detections import detector, ground_truth, with_evidence

FEW = ComparisonSettings(replicates=200)
TRUTH = ground_truth(images=60, seed=1)


def judge(folder: Path, *jitters: float, epochs: tuple[int, ...] = ()) -> KeptCheckpoints:
    """Checkpoints whose boxes are off by these shares, epoch by epoch."""
    scored = []
    for at, jitter in enumerate(jitters):
        report = with_evidence(folder / str(at), TRUTH, detector(TRUTH, jitter=jitter))
        epoch = epochs[at] if epochs else at + 1
        path = f"/run/step-{at}.safetensors"
        scored.append((Checkpoint(path=path, sha256="ab", step=10 * at, epoch=epoch), report))
    return judge_kept("a run", scored, FEW)


def test_the_best_is_marked_with_an_interval_that_holds_it(tmp_path: Path) -> None:
    found = judge(tmp_path, 0.3, 0.02, 0.3)
    assert [kept.best for kept in found.checkpoints] == [False, True, False]
    assert (found.best_epoch, found.best_step, found.metric) == (2, 10, "mAP50-95")
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.sentences[0].startswith("Best is epoch 2: mAP50-95 0.")
    assert "95 % over the images" in found.sentences[0]


def test_a_clear_gain_over_the_last_one_is_said_and_adjusted(tmp_path: Path) -> None:
    found = judge(tmp_path, 0.3, 0.02, 0.3)
    assert found.against_last is not None
    assert found.against_last.baseline == "epoch 3"
    assert [m.label for m in found.against_last.members] == ["epoch 1", "epoch 2"]
    assert found.sentences[1].startswith("It is better than the last one (epoch 3): +0.")
    assert "adjusted for 2 comparisons" in found.sentences[1]
    assert any("likely to be better than new data will show" in w for w in found.warnings)


def test_a_gain_within_noise_is_none(tmp_path: Path) -> None:
    found = judge(tmp_path, 0.100, 0.101)
    assert found.against_last is not None
    assert found.against_last.members[0].verdict in ("equivalent", "undecided")
    (said,) = [s for s in found.sentences if "last one" in s]
    assert "better" not in said


def test_the_last_may_be_the_best_and_the_first_of_equals_is(tmp_path: Path) -> None:
    assert judge(tmp_path, 0.3, 0.02).sentences[1] == "It is the last one."
    assert judge(tmp_path / "equal", 0.1, 0.1).best_epoch == 1


def test_one_checkpoint_is_compared_with_nothing(tmp_path: Path) -> None:
    found = judge(tmp_path, 0.1)
    assert found.against_last is None
    assert found.sentences[1] == "The run keeps no other checkpoint to compare it with."


def test_a_warning_names_the_epochs_that_it_is_of(tmp_path: Path) -> None:
    checkpoint = Checkpoint(path="/a", sha256="ab", step=1, epoch=1)
    poor = with_evidence(tmp_path / "poor", TRUTH, [])
    good = with_evidence(tmp_path / "good", TRUTH, detector(TRUTH))
    poor = poor.model_copy(update={"warnings": ("of all", "nothing found")})
    good = good.model_copy(update={"warnings": ("of all",)})
    later = checkpoint.model_copy(update={"epoch": 2})
    found = judge_kept("a run", [(checkpoint, poor), (later, good)], FEW)
    assert found.warnings[:2] == ("of all", "epoch 1: nothing found")


def test_two_checkpoints_of_an_epoch_are_told_apart(tmp_path: Path) -> None:
    found = judge(tmp_path, 0.02, 0.3, 0.3, epochs=(1, 1, 2))
    assert found.sentences[0].startswith("Best is epoch 1, step 0: ")


def test_checkpoints_scored_otherwise_are_refused(tmp_path: Path) -> None:
    one = with_evidence(tmp_path / "one", TRUTH, detector(TRUTH))
    other = one.model_copy(update={"settings": {"imgsz": "640"}})
    checkpoint = Checkpoint(path="/a", sha256="ab", step=1, epoch=1)
    with pytest.raises(ComparisonError, match="setting imgsz"):
        judge_kept("a run", [(checkpoint, one), (checkpoint, other)], FEW)


def test_without_a_value_there_is_no_best(tmp_path: Path) -> None:
    report = with_evidence(tmp_path, TRUTH, detector(TRUTH))
    unknown = report.model_copy(update={"metrics": report.metrics | {"mAP50-95": None}})
    checkpoint = Checkpoint(path="/a", sha256="ab", step=1, epoch=1)
    with pytest.raises(ComparisonError, match="undefined on holdout"):
        judge_kept("a run", [(checkpoint, unknown)], FEW)
