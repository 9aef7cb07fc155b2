import copy
import io
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from backend.core.errors import DataError
from backend.scoring.evidence import Evidence
from backend.scoring.temporal.task import TASK, TemporalOptions, match, read, restore
from tests.support.segments import by_the_book, copied, dataset

SHARED = Path(__file__).parents[4] / "shared"
GOLDEN = SHARED / "golden" / "tad"
THUMOS = SHARED / "data" / "thumos14" / "thumos14_anno.json"
OPTIONS = TemporalOptions()


def truth(*annotations: tuple[str, float, float], **videos: list[tuple[str, float, float]]) -> Any:
    lists = {"a": list(annotations), **videos}
    return {
        "database": {
            name: {
                "subset": "test",
                "duration": 100,
                "annotations": [{"label": x, "segment": [s, e]} for x, s, e in items],
            }
            for name, items in lists.items()
        }
    }


def found(*items: tuple[str, float, float, float], video: str = "a") -> Any:
    return {
        "results": {
            video: [{"label": x, "segment": [s, e], "score": p} for x, s, e, p in items],
        }
    }


def golden() -> Iterator[tuple[Any, Any, Any]]:
    """Each golden case with its ground truth and predictions."""
    for case in json.loads((GOLDEN / "expected.json").read_text())["map"].values():
        gt, pred = (
            json.loads((GOLDEN / case[x]).read_text()) for x in ("ground_truth", "predictions")
        )
        yield case, gt, pred


def ap(evidence: Evidence, label: str, name: str = "AP@0.5") -> float | None:
    return evidence.scores().per_class[label][name]


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden cases are not on this machine")
def test_the_golden_case_is_met_to_1e_9() -> None:
    cases = json.loads((GOLDEN / "expected.json").read_text())["map"]
    for case in cases.values():
        scores = read(
            GOLDEN / case["ground_truth"], GOLDEN / case["predictions"], OPTIONS
        ).scores()
        expected = {f"mAP@{tiou}": value for tiou, value in case["mAP"].items()}
        expected["average_mAP"] = case["average_mAP"]
        assert scores.metrics == pytest.approx(expected, abs=1e-9)
        for label, values in case["per_class_AP"].items():
            got = [scores.per_class[label][f"AP@{tiou}"] for tiou in case["mAP"]]
            assert got == pytest.approx(values, abs=1e-9)
        instances = sum(row["instances"] or 0 for row in scores.per_class.values())
        assert instances == case["num_ground_truth"]


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden cases are not on this machine")
def test_what_must_not_count_leaves_the_golden_case_as_it_is() -> None:
    """Truths annotated twice, ambiguous or empty ones, predictions of unknown classes and videos,
    and the order of videos."""
    for case, gt, pred in golden():
        for video in gt["database"].values():
            for item in list(video["annotations"]):
                start, end = item["segment"]
                video["annotations"] += [
                    {"label": item["label"], "segment": [start + 4e-4, end - 4e-4]},
                    {"label": "Ambiguous", "segment": [start, end]},
                    {"label": item["label"], "segment": [end, start]},
                ]
        for items in pred["results"].values():
            items.append({"label": "swim", "segment": [0.0, 9.0], "score": 1.0})
        pred["results"]["elsewhere"] = next(iter(pred["results"].values()))
        gt["database"] = dict(reversed(gt["database"].items()))

        scores = match(gt, pred, OPTIONS).scores()

        assert scores.metrics["average_mAP"] == pytest.approx(case["average_mAP"], abs=1e-9)
        for tiou, value in case["mAP"].items():
            assert scores.metrics[f"mAP@{tiou}"] == pytest.approx(value, abs=1e-9)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden cases are not on this machine")
def test_one_video_of_the_golden_case_scores_alone_what_it_scores_among_others() -> None:
    for _, gt, pred in golden():
        among = match(gt, pred, OPTIONS).scores().per_unit
        assert len(among) > 1
        for name, row in among.items():
            only = {"database": {name: gt["database"][name]}}
            found = {"results": {name: pred["results"].get(name, [])}}
            alone = match(only, found, OPTIONS).scores()
            assert alone.units == 1
            assert alone.metrics == {key: row[key] for key in alone.metrics}


@pytest.mark.parametrize("decimals", [6, 1])
@pytest.mark.parametrize("seed", range(5))
def test_the_metrics_are_those_of_the_definition(seed: int, decimals: int) -> None:
    gt, pred = dataset(videos=12, classes=3, seed=seed, decimals=decimals)

    scores = match(gt, pred, OPTIONS).scores()

    means = []
    for tiou in OPTIONS.tiou:
        expected = by_the_book(gt, pred, tiou)
        got = {label: row[f"AP@{tiou}"] for label, row in scores.per_class.items()}
        assert got == pytest.approx(expected, abs=1e-12)
        means.append(sum(expected.values()) / len(expected))
        assert scores.metrics[f"mAP@{tiou}"] == pytest.approx(means[-1], abs=1e-12)
    assert scores.metrics["average_mAP"] == pytest.approx(sum(means) / len(means), abs=1e-12)
    assert scores.units == 12


def test_a_prediction_whose_best_segment_is_taken_takes_the_next_one() -> None:
    gt = truth(("run", 0, 10), ("run", 4, 14))
    pred = found(("run", 0, 10, 0.9), ("run", 1, 11, 0.8), ("run", 1, 11, 0.7))

    flags = match(gt, pred, TemporalOptions(tiou=(0.5, 0.7)))

    assert flags.found.hits.tolist() == [[True, True, False], [True, False, False]]
    assert ap(flags, "run") == 1
    assert ap(flags, "run", "AP@0.7") == 0.5


def test_an_iou_at_the_threshold_is_a_match() -> None:
    evidence = match(truth(("run", 0, 10)), found(("run", 0, 5, 0.9)), OPTIONS)

    assert [ap(evidence, "run", f"AP@{tiou}") for tiou in OPTIONS.tiou] == [1, 1, 1, 0, 0]


def test_segments_are_not_matched_across_classes_or_videos() -> None:
    gt = truth(("run", 0, 10), b=[("jump", 0, 10)])
    pred = found(("jump", 0, 10, 0.9))
    pred["results"] |= found(("run", 0, 10, 0.9), video="b")["results"]

    assert match(gt, pred, OPTIONS).scores().metrics["average_mAP"] == 0


def test_a_repeated_annotation_counts_once() -> None:
    gt = truth(("run", 0, 10), ("run", 0.0009, 10.001), ("jump", 0, 10), ("run", 0.002, 10))

    evidence = match(gt, found(("run", 0, 10, 0.9), ("jump", 0, 10, 0.9)), OPTIONS)

    assert evidence.scores().per_class["run"]["instances"] == 2
    assert ap(evidence, "run") == 0.5
    assert ap(evidence, "jump") == 1
    assert "1 annotation left out as duplicate." in evidence.warnings


def test_a_prediction_that_runs_backwards_is_a_false_positive() -> None:
    gt = truth(("run", 0, 10))
    right = found(("run", 0, 10, 0.5))
    for start, end in ((9.0, 1.0), (5.0, 5.0), (10.0, 0.0)):
        evidence = match(gt, found(("run", start, end, 0.9), ("run", 0, 10, 0.5)), OPTIONS)
        assert ap(match(gt, right, OPTIONS), "run") == 1
        assert ap(evidence, "run") == 0.5
        assert any("counted as false positive" in text for text in evidence.warnings)


def test_unknown_classes_and_videos_change_no_number() -> None:
    gt, pred = dataset(videos=6, classes=2, seed=3)
    more = copy.deepcopy(pred)
    more["results"]["elsewhere"] = pred["results"]["video 000"]
    more["results"]["video 001"] += found(("swim", 0, 10, 0.99), ("Ambiguous", 0, 1, 1))[
        "results"
    ]["a"]

    plain, noisy = (match(gt, p, OPTIONS).scores() for p in (pred, more))

    assert noisy.metrics == plain.metrics
    assert noisy.per_class == plain.per_class
    assert any("'Ambiguous', 'swim'" in text for text in noisy.warnings)
    assert any("does not list: 'elsewhere'" in text for text in noisy.warnings)


def test_without_predictions_the_metrics_are_zero() -> None:
    scores = match(truth(("run", 0, 10)), {"results": {}}, OPTIONS).scores()

    assert scores.metrics == dict.fromkeys(scores.metrics, 0.0)
    assert list(scores.metrics) == ["average_mAP", *(f"mAP@{t}" for t in OPTIONS.tiou)]
    assert "There are no predictions to score." in scores.warnings


def test_without_ground_truth_the_metrics_are_undefined() -> None:
    evidence = match(truth(b=[]), found(("run", 0, 10, 0.9)), OPTIONS)

    scores = evidence.scores()

    assert scores.metrics == dict.fromkeys(scores.metrics, None)
    assert scores.per_class == {}
    assert scores.per_unit["b"] == dict.fromkeys(scores.metrics, None) | {"instances": 0}
    assert any("every metric is undefined" in text for text in scores.warnings)
    assert np.isnan(evidence.table(np.ones((2, 2), dtype=np.uint16))).all()
    assert evidence.carrying().tolist() == [0] * 6


def test_a_class_without_predictions_counts_as_zero_and_a_perfect_one_as_one() -> None:
    evidence = match(truth(("run", 0, 10), ("jump", 20, 30)), found(("run", 0, 10, 0.1)), OPTIONS)

    assert evidence.scores().metrics["average_mAP"] == 0.5


@pytest.mark.parametrize("decimals", [6, 1])
@pytest.mark.parametrize("seed", range(4))
def test_the_table_is_what_files_with_copied_videos_give(seed: int, decimals: int) -> None:
    gt, pred = dataset(videos=9, classes=5, seed=seed, decimals=decimals, per_video=3)
    evidence = match(gt, pred, OPTIONS)
    rng = np.random.default_rng(seed)
    counts = np.array([np.bincount(rng.integers(0, 9, 9), minlength=9) for _ in range(12)])
    counts[0] = 1
    counts[1] = np.eye(9)[4] * 3

    table = evidence.table(counts.astype(np.uint16))

    dropped = 0
    for row, drawn in zip(table, counts.tolist(), strict=True):
        replicate = match(*copied(gt, pred, drawn), OPTIONS)
        scores = replicate.scores()
        for value, column in zip(row, evidence.columns, strict=True):
            group = scores.per_class.get(column.label, {}) if column.label else scores.metrics
            expected = group.get(column.metric)
            dropped += expected is None
            assert value == pytest.approx(
                math.nan if expected is None else expected, abs=1e-12, nan_ok=True
            )
    assert dropped > 0  # some replicate had no segment of some class


def test_a_replicate_without_any_segment_is_undefined() -> None:
    evidence = match(truth(("run", 0, 10), b=[]), found(("run", 0, 10, 1)), OPTIONS)

    table = evidence.table(np.array([[0, 2], [2, 0], [0, 0]], dtype=np.uint16))

    assert np.isnan(table[[0, 2]]).all()
    assert (table[1] == 1).all()


def test_many_replicates_at_once_are_those_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = match(*dataset(videos=8, classes=3, seed=5), OPTIONS)
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (50, 8)).astype(np.uint16)
    at_once = evidence.table(counts)

    monkeypatch.setattr("backend.scoring.temporal.task._BLOCK", 200)

    np.testing.assert_array_equal(evidence.table(counts), at_once)
    one_by_one = np.concatenate([evidence.table(row[None]) for row in counts])
    np.testing.assert_array_equal(one_by_one, at_once)


def test_matching_in_blocks_is_matching_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gt, pred = dataset(videos=5, classes=1, seed=6, per_video=12)
    at_once = match(gt, pred, OPTIONS).found.hits

    monkeypatch.setattr("backend.scoring.temporal.matching._BLOCK", 30)

    np.testing.assert_array_equal(match(gt, pred, OPTIONS).found.hits, at_once)


def test_equal_scores_rank_by_their_place_in_the_list_of_their_video() -> None:
    gt = truth(("run", 0, 10), b=[("run", 0, 10)])
    pred = found(("run", 0, 10, 0.5), ("run", 50, 60, 0.5))
    pred["results"] |= found(("run", 50, 60, 0.5), ("run", 0, 10, 0.5), video="b")["results"]

    ranked = match(gt, pred, OPTIONS).found

    assert list(zip(ranked.positions, ranked.videos, strict=True)) == [
        (0, 0), (0, 1), (1, 0), (1, 1),
    ]  # fmt: skip
    assert ranked.hits[0].tolist() == [True, False, False, True]


def test_of_equally_overlapped_segments_the_last_one_is_taken() -> None:
    """As in the reference, whose ascending order of IoU is read backwards."""
    gt = truth(("run", 0, 10), ("run", 10, 20))
    pred = found(("run", 0, 20, 0.9), ("run", 0, 10, 0.8))

    assert match(gt, pred, OPTIONS).found.hits[2].tolist() == [True, True]


def test_a_row_of_ones_and_one_video_alone_are_the_scores() -> None:
    evidence = match(*dataset(videos=7, classes=3, seed=8), OPTIONS)
    scores = evidence.scores()
    names = [column.metric for column in evidence.columns if not column.label]

    everything = evidence.table(np.ones((1, 7), dtype=np.uint16))[0]
    alone = evidence.table(np.eye(7, dtype=np.uint16))

    assert everything[: len(names)].tolist() == [scores.metrics[name] for name in names]
    assert everything[len(names) :].tolist() == [
        row["average_AP"] for row in scores.per_class.values()
    ]
    assert list(scores.per_unit) == list(evidence.units)
    for row, values in zip(alone, scores.per_unit.values(), strict=True):
        expected = [math.nan if values[n] is None else values[n] for n in names]
        assert row[: len(names)] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_carrying_counts_the_videos_with_segments() -> None:
    gt = truth(("run", 0, 10), ("run", 20, 30), b=[("jump", 0, 1), ("run", 5, 9)], c=[])

    evidence = match(gt, {"results": {}}, OPTIONS)

    assert [column.label for column in evidence.columns[6:]] == ["jump", "run"]
    assert evidence.carrying().tolist() == [2] * 6 + [1, 2]


def test_a_video_of_either_model_can_be_drawn_from_joined_evidence() -> None:
    gt, pred = dataset(videos=8, classes=3, seed=1, decimals=12)
    other = dataset(videos=8, classes=3, seed=1, decimals=12)[1]
    for items in other["results"].values():
        for item in items:
            item["score"] = round(1 - item["score"] ** 2, 12)
    one, two = match(gt, pred, OPTIONS), match(gt, other, OPTIONS)
    joined = one.joined(two)
    rng = random.Random(0)

    for _ in range(5):
        second = [rng.random() < 0.5 for _ in one.units]
        counts = np.array([[not x for x in second] + second], dtype=np.uint16)
        results = {
            name: (other if swapped else pred)["results"][name]
            for name, swapped in zip(one.units, second, strict=True)
        }
        mixed = match(gt, {"results": results}, OPTIONS)
        expected = mixed.table(np.ones((1, 8), dtype=np.uint16))
        np.testing.assert_allclose(joined.table(counts), expected, atol=1e-12)

    assert joined.units == one.units + two.units
    assert joined.columns == one.columns


def test_unlike_evidence_is_not_joined() -> None:
    gt, pred = dataset(videos=4, classes=2, seed=0)
    evidence = match(gt, pred, OPTIONS)

    with pytest.raises(DataError, match="different classes or tIoU thresholds"):
        evidence.joined(match(gt, pred, TemporalOptions(tiou=(0.5,))))
    with pytest.raises(DataError, match="different classes or tIoU thresholds"):
        evidence.joined(match(truth(("run", 0, 1)), pred, OPTIONS))


@pytest.mark.parametrize("predictions", [True, False])
def test_evidence_survives_a_file_without_pickled_objects(predictions: bool) -> None:
    gt, pred = dataset(videos=5, classes=2, seed=2)
    evidence = match(gt, pred if predictions else {"results": {}}, OPTIONS)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **evidence.arrays())
    file.seek(0)

    with np.load(file, allow_pickle=False) as stored:
        back = TASK.restore(dict(stored))

    assert back.scores() == evidence.scores()
    assert back.columns == evidence.columns
    assert back.truth_digest == evidence.truth_digest
    counts = np.array([[2, 0, 1, 1, 1]], dtype=np.uint16)
    np.testing.assert_array_equal(back.table(counts), evidence.table(counts))
    assert restore(back.arrays()).scores() == evidence.scores()


def test_the_digest_is_of_the_ground_truth_only() -> None:
    gt, pred = dataset(videos=5, classes=2, seed=2)
    digest = match(gt, pred, OPTIONS).truth_digest
    backwards = {
        name: video | {"annotations": video["annotations"][::-1]}
        for name, video in reversed(gt["database"].items())
    }
    moved = copy.deepcopy(gt)
    annotated = next(v for v in moved["database"].values() if v["annotations"])
    annotated["annotations"][0]["segment"][0] += 0.5

    assert match(gt, {"results": {}}, OPTIONS).truth_digest == digest
    assert match({"database": backwards}, pred, OPTIONS).truth_digest == digest
    assert match(moved, pred, OPTIONS).truth_digest != digest


def test_the_order_of_videos_in_a_file_changes_no_number() -> None:
    gt, pred = dataset(videos=9, classes=3, seed=4, decimals=1)
    turned = {"results": dict(reversed(pred["results"].items()))}

    assert match(gt, turned, OPTIONS).scores() == match(gt, pred, OPTIONS).scores()


def test_thresholds_are_settable_and_name_the_metrics() -> None:
    options = TemporalOptions(tiou=(0.75, 0.5, 0.95, 0.5))

    scores = match(truth(("run", 0, 10)), found(("run", 0, 8, 0.9)), options).scores()

    assert scores.metrics == {
        "average_mAP": pytest.approx(2 / 3),
        "mAP@0.5": 1,
        "mAP@0.75": 1,
        "mAP@0.95": 0,
    }
    assert scores.per_class["run"] == {
        "average_AP": pytest.approx(2 / 3),
        "AP@0.5": 1,
        "AP@0.75": 1,
        "AP@0.95": 0,
        "instances": 1,
    }


@pytest.mark.parametrize(("said", "meant"), [("0.3,0.5", (0.3, 0.5)), (0.5, (0.5,)), (1, (1,))])
def test_thresholds_as_a_command_line_has_them(said: Any, meant: tuple[float, ...]) -> None:
    assert TemporalOptions(tiou=said).tiou == meant


@pytest.mark.parametrize("tiou", [(), (0.0,), (1.1,), (-0.5, 0.5), (math.nan,)])
def test_thresholds_that_make_no_sense_are_refused(tiou: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="temporal IoUs above 0 and up to 1"):
        TemporalOptions(tiou=tiou)


def test_the_task_tells_what_it_measures() -> None:
    scores = match(*dataset(videos=3, classes=1, seed=0), OPTIONS).scores()

    assert TASK.name == scores.task
    assert TASK.unit == "video"
    assert TASK.primary in scores.metrics
    assert all(TASK.unit_metric in row for row in scores.per_unit.values())
    assert {spec.name for spec in TASK.metrics} == set(scores.metrics)
    assert TASK.direction("AP@0.5") == "maximize"


def _shaken(gt: Any, subset: str, seed: int) -> Any:
    """The annotations of a subset as predictions, moved by a tenth of their length."""
    rng = random.Random(seed)
    results: dict[str, list[Any]] = {}
    for name, video in gt["database"].items():
        if video["subset"] != subset:
            continue
        results[name] = []
        for item in video["annotations"]:
            start, end = item["segment"]
            by = rng.gauss(0, 0.1) * (end - start)
            score = round(max(0.0, 1 - abs(by) + rng.gauss(0, 0.3)), 4)
            results[name].append(
                {"label": item["label"], "segment": [start + by, end + by], "score": score}
            )
    return {"results": results}


@pytest.mark.skipif(not THUMOS.is_file(), reason="the THUMOS-14 annotations are not here")
def test_thumos_annotations_are_read_and_scored() -> None:
    gt = json.loads(THUMOS.read_text())

    with pytest.raises(DataError, match="test, validation; say which subset to score"):
        match(gt, {"results": {}}, OPTIONS)
    for subset, videos in (("test", 212), ("validation", 200)):
        evidence = match(gt, _shaken(gt, subset, seed=1), OPTIONS)
        scores = evidence.scores()

        assert scores.units == videos
        assert len(scores.per_class) == 20
        assert f"Scored on the subset '{subset}', the one that was predicted." in scores.warnings
        assert any("annotations labelled 'Ambiguous' left out" in w for w in scores.warnings)
        assert any("outside of the video's duration" in w for w in scores.warnings)
        values = [scores.metrics[f"mAP@{tiou}"] or 0 for tiou in OPTIONS.tiou]
        assert 0.95 < values[0] <= 1
        assert values == sorted(values, reverse=True)
        named = match(gt, _shaken(gt, subset, seed=1), TemporalOptions(subset=subset))
        assert named.scores().metrics == scores.metrics
