"""A checkpoint's evaluation: numbers, files, conditions, and what stands next to them."""

import json
from pathlib import Path

import numpy as np
import pytest

from backend.core.errors import CheckpointError, ConfigError, DataError
from backend.core.events import TracksObserved
from backend.core.evidence import TracksSeen
from backend.core.records import EvalReport
from backend.core.trainer import EvalRequest
from backend.scoring.tasks import load_evidence
from backend.scoring.tracking.task import TrackingOptions, read
from backend.trainers.motrv2.evaluation import conditions, evaluate, final_events, read_split
from backend.trainers.motrv2.model.previous import Previous
from tests.support.motrv2_tracking import EIGHT, config_of, data_of, handset, saved_of
from tests.support.tracking_folders import clean, folders, rows_of, sequence, write_rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an ignored box of every class, and a sequence ``e`` without boxes and detections."""
    root = data_of(tmp_path_factory.mktemp("evaluated") / "data")
    for folder in folders(root):
        rows = rows_of(folder)
        write_rows(folder, [*rows, *([1, 90 + at, 5, 5, 9, 9, 0, at, 1] for at in range(1, 9))])
    sequence(root / "val" / "e", 7)
    write_rows(root / "val" / "e", [])
    return root


def asked(root: Path, out: Path, split: str = "val") -> EvalRequest:
    return EvalRequest(checkpoint="hand.safetensors", data=str(root), split=split, out=str(out))


@pytest.fixture(scope="module")
def report(root: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalReport:
    out = tmp_path_factory.mktemp("out")
    return evaluate(saved_of(handset(), step=7), asked(root, out), config_of(root), ("a", "b"))


def test_a_head_whose_sixth_class_fires_tracks_and_writes_class_6(report: EvalReport) -> None:
    rows = (Path(report.predictions) / "c.txt").read_text().splitlines()
    assert rows
    for row in rows:
        frame, one, *box, score, label, last, very_last = row.split(",")
        assert (label, last, very_last) == ("6", "-1", "-1")
        assert 1 <= int(frame) <= 12
        assert int(one) >= 1
        assert all(len(value.partition(".")[2]) <= 2 for value in box)
        assert float(score) == pytest.approx(0.952574, abs=1e-6)
    assert report.metrics["cls_HOTA"] == pytest.approx(report.metrics["HOTA"])
    assert report.metrics["HOTA"] is not None
    assert report.metrics["HOTA"] > 0.05
    assert report.metrics["class_accuracy"] == 1.0


def test_a_sequence_without_tracks_has_an_empty_file(report: EvalReport) -> None:
    assert (Path(report.predictions) / "e.txt").read_text() == ""
    assert (Path(report.ground_truth) / "e" / "gt" / "gt.txt").read_text() == ""


def test_the_files_are_scored_alike(report: EvalReport) -> None:
    read_again = read(Path(report.ground_truth), Path(report.predictions), TrackingOptions())
    scores = read_again.scores()
    for name, value in scores.metrics.items():
        assert report.metrics[name] == pytest.approx(value, abs=1e-12), name
    assert scores.per_class["u"]["HOTA"] == pytest.approx(report.per_class["u"]["HOTA"])
    kept = load_evidence(Path(report.evidence), "tracking")
    assert kept.truth_digest == read_again.truth_digest
    assert scores.metrics["gt_dets"] == 48, "boxes of mark 0 are none to find"


def test_frames_lead_back_to_their_images(report: EvalReport, root: Path) -> None:
    told = json.loads((Path(report.ground_truth) / "sequences.json").read_text())
    assert (told["root"], told["split"]) == (str(root.absolute()), "val")
    assert told["classes"] == list(EIGHT)
    one = told["sequences"]["c"]
    assert (one["fps"], one["width"], one["height"]) == (25.0, 96, 64)
    assert list(one["frames"]) == [str(number) for number in range(1, 13)]
    assert all((root / path).is_file() for path in one["frames"].values())


def test_classes_are_reported_one_by_one(report: EvalReport) -> None:
    mine = report.per_class["u"]
    there = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "MT", "PT", "ML", "Frag")
    assert all(mine[name] is not None for name in there)
    assert mine["gt_track_length"] == 12
    boxes, ids = mine["pred_dets"], mine["pred_ids"]
    assert boxes is not None
    assert ids is not None
    assert mine["track_length"] == boxes / ids
    assert "track_length" not in report.per_class["p"]
    table = json.loads((Path(report.predictions).parent / "confusion.json").read_text())
    counts = np.array(table["counts"])
    assert counts.shape == (9, 9)
    assert counts[:-1].sum() == 48
    assert counts[5, 5] > 0


def test_what_the_tracker_did_is_kept_and_told_at_the_end(report: EvalReport) -> None:
    path = Path(report.predictions).parent / "tracks_seen.json"
    seen = TracksSeen.model_validate_json(path.read_bytes())
    assert seen.untrained == ("a", "b")
    assert [one.threshold for one in seen.swept] == [tenth / 10 for tenth in range(1, 10)]
    (event,) = final_events(report, 7)
    assert event == TracksObserved(step=7, split="val", seen=seen, final=True)


def test_the_conditions_are_those_that_the_report_tells(report: EvalReport, root: Path) -> None:
    config, facts = config_of(root), saved_of(handset())
    data = read_split(config, asked(root, root), facts)
    now = conditions(facts, data, config)
    assert now.of(report)
    settings = now.settings
    assert (settings["view"], settings["identities"]) == ("own classes", "file")
    assert (settings["score_thresh"], settings["short"], settings["label"]) == (
        "0.5",
        "64",
        "frame",
    )
    for key, value in (("tracker.score_thresh", 0.4), ("tracker.label", "vote")):
        assert not conditions(facts, data, config.replace({key: value})).of(report)
    swept = config.replace({"tracker.sweep": (0.5,)})
    assert conditions(facts, data, swept).of(report), "the sweep changes no other number"


def test_another_detector_is_another_condition_on_the_same_data(root: Path) -> None:
    config, facts = config_of(root), saved_of(handset())
    request = asked(root, root)
    with_boxes = conditions(facts, read_split(config, request, facts), config)
    plain = config.replace({"det_db.use": False})
    without = conditions(facts, read_split(plain, request, facts), plain)
    assert with_boxes.data_digest == without.data_digest
    assert without.settings["detections"] == "none"
    assert len(with_boxes.settings["detections"]) == 64


def test_data_with_the_classes_from_before_get_the_old_head(tmp_path: Path) -> None:
    source = data_of(tmp_path / "source", ("person",), 1)
    learner, old = handset(), handset(classes=1, column=0)
    heads = {n: t for n, t in old.state_dict().items() if n.startswith("class_embed.")}
    learner.previous = Previous(heads)
    saved = saved_of(learner, previous_classes=("person",))
    report = evaluate(saved, asked(source, tmp_path / "out"), config_of(source))
    assert report.classes == ("person",)
    assert report.settings["view"] == "classes before fine-tuning"
    assert report.metrics["pred_dets"]
    assert report.metrics["class_accuracy"] == 1.0


def test_a_source_without_class_names_has_the_classes_from_before(tmp_path: Path) -> None:
    source = data_of(tmp_path / "source", ("person",), 1)
    (source / "classes.json").unlink()
    saved = saved_of(handset(), previous_classes=("person",))
    named = config_of(tmp_path / "target", source=str(source), model={"pretrained": "old.pth"})
    request = asked(source, tmp_path / "out")
    data = read_split(named, request, saved)
    assert data.splits[0].classes == ("person",)
    assert conditions(saved, data, named).settings["view"] == "classes before fine-tuning"


def test_a_split_that_lacks_the_highest_classes_has_those_of_the_checkpoint(
    tmp_path: Path,
) -> None:
    root = data_of(tmp_path / "data", EIGHT, 2)
    (root / "classes.json").unlink()
    facts, config = saved_of(handset()), config_of(root)
    data = read_split(config, asked(root, tmp_path / "out"), facts)
    assert data.splits[0].classes == EIGHT


def test_data_with_classes_that_it_never_knew_are_refused(tmp_path: Path) -> None:
    other = clean(tmp_path / "data")
    with pytest.raises(CheckpointError, match=r"data: .* trained on 8 classes .*3 classes"):
        evaluate(saved_of(handset()), asked(other, tmp_path / "out"), config_of(other))
    assert not (tmp_path / "out").exists()


def test_what_may_mean_less_than_it_seems_is_said_next_to_the_metrics(tmp_path: Path) -> None:
    root = data_of(tmp_path / "data")
    (root / "manifest.json").write_text(json.dumps({"ids": "pseudo"}))
    database = {
        f"{folder.parent.name}/{folder.name}/{frame:06d}": [
            ",".join(f"{value:g}" for value in (*row[2:6], 6, 0.5 + row[1] / 100))
            for row in rows_of(folder)
            if row[0] == frame
        ]
        for folder in folders(root)
        for frame in range(1, 13)
    }
    (root / "det_db.json").write_text(json.dumps({"_meta": {"fields": "xywhcs"}, **database}))
    report = evaluate(saved_of(handset()), asked(root, tmp_path / "out"), config_of(root))
    assert report.settings["proposals"] == "oracle"
    assert report.settings["identities"] == "pseudo"
    assert any("linked by overlap" in warning for warning in report.warnings)
    assert any(warning.startswith("S2: ") for warning in report.warnings)
    recall = report.metrics["DetRe"]
    assert recall is not None
    assert recall > 0.9, "boxes at the anchors are right"


def test_data_that_would_give_wrong_numbers_are_refused(tmp_path: Path) -> None:
    root = data_of(tmp_path / "data")
    (root / "det_db.json").write_text(json.dumps({"val/elsewhere/000001": ["1,2,9,9,6,0.5"]}))
    with pytest.raises(DataError, match="N1"):
        evaluate(saved_of(handset()), asked(root, tmp_path / "out"), config_of(root))
    (root / "det_db.json").unlink()
    with pytest.raises(ConfigError, match="det_db"):
        evaluate(saved_of(handset()), asked(root, tmp_path / "out"), config_of(root))


def test_an_evaluation_leaves_nothing_of_an_earlier_one(root: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "gone.txt").write_text("1,1,1,1,9,9,1,6,-1,-1\n")
    evaluate(saved_of(handset()), asked(root, tmp_path), config_of(root))
    assert {p.name for p in (tmp_path / "predictions").iterdir()} == {"c.txt", "e.txt"}
