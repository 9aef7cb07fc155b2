"""The evaluation of a checkpoint: its files, its numbers, its conditions, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.analysis.reports import paired_evidence
from backend.core.errors import CheckpointError, DataError
from backend.core.records import EvalReport
from backend.core.trainer import EvalRequest
from backend.datasets.temporal import read_temporal
from backend.scoring.tasks import load_evidence
from backend.scoring.temporal.soft_nms import Detections
from backend.scoring.temporal.task import TemporalOptions, match, read
from backend.trainers.adatad.checkpoint import Saved, read_checkpoint
from backend.trainers.adatad.evaluation import conditions, evaluate, predictions_of, truth_of
from tests.support import adatad_files, temporal_folders

CLASSES = ("jump", "run")
ACTIONS = [("jump", 0.5, 0.9), ("run", 0.2, 0.6), ("jump", 1.1, 1.9)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return temporal_folders.clean(tmp_path_factory.mktemp("clean") / "data")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    adatad_files.saved(path, classes=CLASSES)
    return read_checkpoint(path)


def scored(saved: Saved, data: Path, out: Path, split: str = "val", **keys: Any) -> EvalReport:
    return evaluate(saved, asked(saved, data, out, split), adatad_files.config(**keys))


def asked(saved: Saved, data: Path, out: Path, split: str = "val") -> EvalRequest:
    return EvalRequest(checkpoint=str(saved.path), data=str(data), split=split, out=str(out))


def written(folder: Path, videos: dict[str, Any], files: dict[str, int]) -> Path:
    database = {
        name: temporal_folders.entry("validation", actions) for name, actions in videos.items()
    }
    return temporal_folders.write(folder, database, files)


def test_its_files_give_the_same_numbers_again(saved: Saved, data: Path, tmp_path: Path) -> None:
    report = scored(saved, data, tmp_path / "out")
    again = read(Path(report.ground_truth), Path(report.predictions), TemporalOptions())
    assert again.scores().metrics == report.metrics
    assert again.scores().per_class == report.per_class
    kept = load_evidence(Path(report.evidence), "temporal").scores()
    assert kept.metrics == report.metrics
    assert list(report.metrics) == ["average_mAP", *(f"mAP@0.{n}" for n in range(3, 8))]
    assert (report.units, report.unit, report.split) == (1, "video", "val")
    assert report.classes == CLASSES
    assert set(report.per_class) == set(CLASSES)


def test_what_its_files_hold(saved: Saved, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    report = scored(saved, data, out)
    truth = json.loads(Path(report.ground_truth).read_text())["database"]
    assert truth == {
        "c": {
            "subset": "validation",
            "duration": 3.0,
            "annotations": [
                {"label": "jump", "segment": [0.5, 2.5]},
                {"label": "run", "segment": [1.0, 1.5]},
            ],
        }
    }
    (found,) = json.loads(Path(report.predictions).read_text())["results"].values()
    assert len(found) > 20
    scores = [one["score"] for one in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= one["segment"][0] < one["segment"][1] <= 3 for one in found)
    assert {one["label"] for one in found} == set(CLASSES)
    assert json.loads((out / "videos.json").read_text()) == {
        "root": str(data / "videos"),
        "subset": "validation",
        "classes": list(CLASSES),
        "videos": {"c": {"path": "c.mp4", "fps": 30.0, "duration": 3.0, "size": [64, 48]}},
    }


def test_a_perfect_detector_scores_one_and_a_silent_one_zero(data: Path) -> None:
    (split,) = read_temporal(data, ("training",))
    options = TemporalOptions()
    perfect = {
        video.name: Detections(video.segments, np.full(len(video.labels), 0.5), video.labels)
        for video in split.usable
    }
    silent = {
        video.name: Detections(np.empty((0, 2)), np.empty(0), np.empty(0, np.int64))
        for video in split.usable
    }
    truth = truth_of(split)
    assert match(truth, predictions_of(split, perfect), options).scores().metrics == {
        name: 1.0 for name in ("average_mAP", *(f"mAP@0.{n}" for n in range(3, 8)))
    }
    nothing = match(truth, predictions_of(split, silent), options).scores()
    assert set(nothing.metrics.values()) == {0.0}
    assert "There are no predictions to score." in nothing.warnings
    assert nothing.units == 2


def test_the_final_evaluation_has_its_own_overlap_and_says_so(
    saved: Saved, data: Path, tmp_path: Path
) -> None:
    config = adatad_files.config(inference__overlap=0.75)
    report = scored(saved, data, tmp_path, inference__overlap=0.75)
    told = conditions(saved, asked(saved, data, tmp_path), config)
    assert told.of(report)
    wanted = {"overlap": "0.75", "sigma": "0.7", "top_k": "2000", "min_score": "0.001",
              "max_segments": "2000", "per_class": "True", "align": "1",
              "tiou": "[0.3, 0.4, 0.5, 0.6, 0.7]"}  # fmt: skip
    assert wanted.items() <= report.settings.items()


def test_checkpoints_of_other_windows_and_pictures_can_be_compared(
    saved: Saved, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "wider.safetensors"
    made_by = adatad_files.config(windows__length=64, windows__stride=2, frames__size=32)
    adatad_files.saved(path, made_by, CLASSES)
    wider = read_checkpoint(path)
    assert (saved.length, wider.length, saved.size, wider.size) == (32, 64, 16, 32)
    one = scored(saved, data, tmp_path / "one")
    other = scored(wider, data, tmp_path / "other")
    first, second = paired_evidence((one, other))
    assert (first.scores().metrics, second.scores().metrics) == (one.metrics, other.metrics)


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ({"inference__overlap": 0.25}, True),
        ({"inference__sigma": 0.5}, True),
        ({"inference__min_score": 0.1}, True),
        ({"inference__top_k": 10}, True),
        ({"inference__max_segments": 10}, True),
        ({"inference__per_class": False}, True),
        ({"windows__align": 16}, True),
        ({"ignored": ()}, True),
        ({"inference__batch": 7}, False),
        ({"inference__val_overlap": 0.9}, False),
        ({"windows__length": 64, "frames__size": 32}, False),
        ({"windows__stride": 2}, False),
        ({"windows__trunc_thresh": 0.5, "windows__per_video": 2, "frames__augment": False}, False),
        ({"runner__workers": 0, "epochs": 3, "videos__threads": 1}, False),
    ],
)
def test_conditions_change_with_what_changes_numbers(
    saved: Saved, data: Path, changed: dict[str, Any], matters: bool
) -> None:
    """Windows and pictures are those that the checkpoint was trained on, whatever is asked for."""
    request = asked(saved, data, Path("out"))
    usual = conditions(saved, request, adatad_files.config())
    assert (conditions(saved, request, adatad_files.config(**changed)) != usual) is matters


def test_other_data_are_other_conditions(saved: Saved, data: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other", {"c": ACTIONS}, {"c": 90})
    config = adatad_files.config()
    here, there = (conditions(saved, asked(saved, one, tmp_path), config) for one in (data, other))
    assert here.data_digest != there.data_digest


def test_classes_that_the_checkpoint_never_knew_are_refused(saved: Saved, tmp_path: Path) -> None:
    strange = [("swim", 0.1, 0.8), ("dive", 1.0, 1.5), *ACTIONS]
    folder = written(tmp_path / "strange", {"a": strange}, {"a": 60})
    with pytest.raises(CheckpointError, match=r"2 of its classes are none .*\(dive, swim\)"):
        scored(saved, folder, tmp_path)
    report = scored(saved, folder, tmp_path / "out", classes=CLASSES)
    assert set(report.per_class) == set(CLASSES)
    assert any(one.startswith("V7: 2 of 5 annotations are of classes") for one in report.warnings)


def test_a_class_without_actions_in_the_data_does_not_count(saved: Saved, tmp_path: Path) -> None:
    folder = written(tmp_path / "half", {"a": [("jump", 0.5, 0.9)]}, {"a": 60})
    report = scored(saved, folder, tmp_path / "out")
    assert set(report.per_class) == {"jump"}
    assert report.classes == CLASSES
    assert report.metrics["average_mAP"] == report.per_class["jump"]["average_AP"]


def test_a_label_that_is_no_class_is_neither_refused_nor_scored(
    saved: Saved, tmp_path: Path
) -> None:
    folder = written(tmp_path / "vague", {"a": [("Ambiguous", 0.0, 1.0), *ACTIONS]}, {"a": 60})
    report = scored(saved, folder, tmp_path / "out")
    assert sum(row["instances"] or 0 for row in report.per_class.values()) == 3
    assert any("Ambiguous" in one for one in report.warnings)


def test_annotations_count_once_and_end_with_their_video(saved: Saved, tmp_path: Path) -> None:
    actions = [*ACTIONS, ACTIONS[0], ("run", 1.5, 2.6), ("run", 5.0, 6.0)]
    folder = written(tmp_path / "odd", {"a": actions}, {"a": 60})
    report = scored(saved, folder, tmp_path / "out")
    truth = json.loads(Path(report.ground_truth).read_text())["database"]["a"]["annotations"]
    assert len(truth) == 4
    assert {"label": "run", "segment": [1.5, 2.0]} in truth
    codes = [warning[:2] for warning in report.warnings]
    assert codes[:3] == ["V6", "V6", "V7"]


def test_a_missing_video_is_refused_or_left_out_of_everything(
    saved: Saved, tmp_path: Path
) -> None:
    folder = written(tmp_path / "lost", {"a": ACTIONS, "b": ACTIONS, "bad": ACTIONS}, {"a": 60})
    (folder / "videos/bad.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="V1: 1 of 3 videos have no file"):
        scored(saved, folder, tmp_path)
    report = scored(saved, folder, tmp_path / "out", videos__allow_missing=True)
    truth = json.loads(Path(report.ground_truth).read_text())["database"]
    found = json.loads(Path(report.predictions).read_text())["results"]
    assert (set(truth), set(found), report.units) == ({"a"}, {"a"}, 1)
    videos = json.loads((tmp_path / "out" / "videos.json").read_text())["videos"]
    assert [videos[name]["path"] for name in ("a", "b", "bad")] == ["a.mp4", None, None]
    assert [warning[:2] for warning in report.warnings][:2] == ["V1", "V2"]


def test_a_subset_without_a_usable_video_is_refused(saved: Saved, tmp_path: Path) -> None:
    folder = written(tmp_path / "broken", {"bad": ACTIONS}, {})
    (folder / "videos/bad.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="no video of 'validation' has a file in"):
        scored(saved, folder, tmp_path / "out", videos__allow_missing=True)
    assert not (tmp_path / "out").exists()


def test_a_subset_that_is_not_there_is_refused(saved: Saved, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no subset 'test'; it has training, validation"):
        scored(saved, data, tmp_path, "test")


def test_any_subset_can_be_scored_by_its_name(saved: Saved, data: Path, tmp_path: Path) -> None:
    named = scored(saved, data, tmp_path / "one", "training")
    called = scored(saved, data, tmp_path / "two", "train")
    assert named.metrics == called.metrics
    assert (named.split, called.split, named.units) == ("training", "train", 2)


def test_a_subset_without_actions_has_no_numbers_but_predictions(
    saved: Saved, tmp_path: Path
) -> None:
    folder = written(tmp_path / "quiet", {"a": []}, {"a": 60})
    report = scored(saved, folder, tmp_path / "out")
    assert set(report.metrics.values()) == {None}
    assert any("every metric is undefined" in warning for warning in report.warnings)
    assert json.loads(Path(report.predictions).read_text())["results"]["a"]
