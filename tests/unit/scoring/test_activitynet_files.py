import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.scoring.temporal.task import TemporalOptions, match, read

OPTIONS = TemporalOptions()
RUN = {"label": "run", "segment": [1, 5]}


def video(*annotations: Any, subset: Any = "test", **facts: Any) -> Any:
    return {"subset": subset, "duration": 100.0, "annotations": list(annotations)} | facts


def truth(**videos: Any) -> Any:
    return {"database": videos or {"a": video(RUN)}}


def predicted(*items: Any, **others: Any) -> Any:
    return {"results": {"a": list(items)} | others}


def entry(**changes: Any) -> Any:
    return RUN | {"score": 0.5} | changes


def refusal(gt: Any, pred: Any, options: TemporalOptions = OPTIONS) -> str:
    with pytest.raises(DataError) as caught:
        match(gt, pred, options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "ground truth: expected an object with 'database'"),
        ({"results": {}}, "ground truth: expected an object with 'database'"),
        ({"database": {}}, "ground truth: it lists no videos"),
        (truth(a=[]), "video 'a' must be an object with subset, duration and annotations"),
        (truth(a={"annotations": []}), "video 'a' must be an object with subset"),
        (truth(a=video(subset=None)), "video 'a' must be an object with subset"),
        (truth(a={"subset": "test"}), "video 'a' must have a list of annotations"),
        (truth(a=video(annotations={})), "video 'a' must have a list of annotations"),
        (truth(a=video(RUN, duration=-3)), "video 'a': duration is -3, which is negative"),
        (truth(a=video(RUN, duration="9")), "video 'a': duration is '9'; expected a number"),
        (truth(a=video(RUN, duration=math.nan)), "video 'a': duration is nan"),
        (truth(a=video(RUN, 5)), "video 'a', entry 2: expected an object with label and segment"),
        (truth(a=video({"segment": [1, 2]})), "video 'a', entry 1: label is None"),
        (truth(a=video({"label": "", "segment": [1, 2]})), "entry 1: label is ''"),
        (truth(a=video({"label": "run"})), "entry 1: segment is None; expected [start, end]"),
    ],
)
def test_damaged_ground_truth_is_refused_in_one_sentence(data: Any, said: str) -> None:
    assert said in refusal(data, predicted())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([entry()], "predictions: expected an object with 'results'"),
        ({"database": {}}, "predictions: expected an object with 'results'"),
        ({"results": [entry()]}, "predictions: expected an object with 'results'"),
        ({"results": {"a": entry()}}, "video 'a' must have a list of predictions"),
        (predicted(entry(), "run"), "predictions: video 'a', entry 2: expected an object"),
        (predicted(RUN), "video 'a', entry 1: score is None; expected a number"),
        (predicted(entry(score="0.9")), "score is '0.9'; expected a number"),
        (predicted(entry(score=True)), "score is True; expected a number"),
        (predicted(entry(score=math.nan)), "score is nan; expected a finite number"),
        (predicted(entry(score=10**400)), "score is inf; expected a finite number"),
        (predicted(entry(label=3)), "label is 3; expected the name of a class"),
        (predicted(entry(segment=[1])), "segment is [1]; expected [start, end] in seconds"),
        (predicted(entry(segment="15")), "segment is '15'; expected [start, end] in seconds"),
        (predicted(entry(segment=[0, math.inf])), "end is inf; expected a finite number"),
        (predicted(entry(segment=[math.nan, 1])), "start is nan; expected a finite number"),
        (predicted(entry(segment=list(range(9999)))), "segment is [0, 1, 2, 3, 4, 5, ...]"),
        (predicted(v_a=[]), "predictions: 'a' and 'v_a' are one video; merge them"),
    ],
)
def test_damaged_predictions_are_refused_in_one_sentence(data: Any, said: str) -> None:
    assert said in refusal(truth(), data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[1]", "expected an object with 'results'"),
        ('{"results": {"a": [], "b": [], "a": []}}', "the key 'a' occurs twice in one object"),
        ("9" * 5000, "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)

    with pytest.raises(DataError) as caught:
        read(path, path, OPTIONS)

    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_errors_name_the_file(tmp_path: Path) -> None:
    gt, pred = tmp_path / "gt.json", tmp_path / "pred.json"
    with pytest.raises(DataError, match="no such file"):
        read(gt, pred, OPTIONS)
    gt.write_bytes(b'"\xff"')
    with pytest.raises(DataError, match=r"gt\.json: cannot be read"):
        read(gt, pred, OPTIONS)
    gt.write_text(json.dumps(truth()), encoding="utf-8-sig")  # with a byte order mark
    pred.write_text('{"results": {"a": [{"label": "run", "segment": [1, NaN], "score": 1}]}}')
    with pytest.raises(DataError, match=r"pred\.json: video 'a', entry 1: end is nan"):
        read(gt, pred, OPTIONS)
    pred.write_text(json.dumps(truth()))
    with pytest.raises(DataError, match=r"pred\.json: expected an object with 'results'"):
        read(gt, pred, OPTIONS)


def test_files_of_activitynet_1_3_are_read(tmp_path: Path) -> None:
    facts = {"url": "https://www.youtube.com/watch?v=x", "resolution": "320x240"}
    database = {
        "x1": video({"label": "Long jump", "segment": [1.5, 9]}, subset="training", **facts),
        "x2": video({"label": "Long jump", "segment": [1.5, 9]}, subset="validation", **facts),
        "x3": video(subset="testing", **facts),
    }
    gt, pred = tmp_path / "gt.json", tmp_path / "pred.json"
    gt.write_text(json.dumps({"version": "VERSION 1.3", "taxonomy": [], "database": database}))
    items = [{"label": "Long jump", "segment": [1.5, 8.8], "score": 0.3}]
    results = {"version": "VERSION 1.3", "external_data": {}, "results": {"v_x2": items}}
    pred.write_text(json.dumps(results))

    scores = read(gt, pred, OPTIONS).scores()

    assert scores.metrics["average_mAP"] == 1
    assert list(scores.per_unit) == ["x2"]
    assert scores.warnings == ("Scored on the subset 'validation', the one that was predicted.",)


def test_the_prefix_of_names_may_be_missing_in_the_predictions() -> None:
    scores = match(truth(v_a=video(RUN)), predicted(entry()), OPTIONS).scores()

    assert scores.metrics["average_mAP"] == 1


def test_numbers_of_numpy_are_numbers() -> None:
    item = entry(segment=np.array([1, 5], dtype=np.float32), score=np.float32(0.5))

    assert match(truth(), predicted(item), OPTIONS).scores().metrics["average_mAP"] == 1


def test_the_only_annotated_subset_is_scored() -> None:
    gt = truth(a=video(RUN), b=video(subset="hidden"))

    scores = match(gt, {"results": {"b": [entry()]}}, OPTIONS).scores()

    assert scores.metrics["average_mAP"] == 0
    assert "1 prediction left out for videos of other subsets: 'b'." in scores.warnings


def test_a_subset_that_is_not_clear_is_asked_for() -> None:
    gt = truth(a=video(RUN), b=video(RUN, subset="val"), c=video(RUN, subset="train"))

    assert refusal(gt, predicted(b=[])) == (
        "ground truth: the predictions cover test and val of the subsets test, train, val; "
        "say which subset to score"
    )
    assert "cover none of the subsets" in refusal(gt, {"results": {}})
    assert refusal(gt, predicted(), TemporalOptions(subset="Test")) == (
        "ground truth: no subset 'Test'; it has test, train, val"
    )
    named = match(gt, predicted(entry(), b=[]), TemporalOptions(subset="val"))
    assert named.units == ("b",)
    assert match(gt, predicted(entry()), OPTIONS).units == ("a",)


def test_another_subset_is_not_checked() -> None:
    gt = truth(a=video(RUN), b=video({"label": 3}, subset="train"))

    assert match(gt, predicted(entry()), OPTIONS).scores().metrics["average_mAP"] == 1


def test_what_is_left_out_is_counted_in_the_warnings() -> None:
    unsure = {"label": "Ambiguous", "segment": [1, 5]}
    gt = truth(
        a=video(
            RUN, unsure, unsure, RUN | {"segment": [5, 5]}, RUN | {"segment": [7, 6]}, RUN,
            RUN | {"segment": [90, 101]}, RUN | {"segment": [95, 100.0005]},
        ),
        b=video(duration=None),
    )  # fmt: skip
    pred = predicted(
        entry(), entry(segment=[-1, 5]), entry(segment=[9, 8]), entry(label="swim"), unknown=[1]
    )

    evidence = match(gt, pred, OPTIONS)

    assert evidence.warnings == (
        "2 annotations labelled 'Ambiguous' left out.",
        "1 annotation left out as duplicate.",
        "2 annotations left out for not ending after the start.",
        "1 annotation outside of the video's duration, scored as written.",
        "1 prediction left out for videos that the ground truth does not list: 'unknown'.",
        "1 prediction left out of classes without ground truth: 'swim'.",
        "1 of 2 videos are not in the predictions.",
        "1 prediction not ending after the start, counted as false positive.",
        "1 prediction outside of the video's duration, scored as written.",
    )
    assert evidence.truths.tolist() == [[3, 0]]


def test_labels_to_ignore_are_settable() -> None:
    gt = truth(a=video(RUN, {"label": "Ambiguous", "segment": [20, 25]}))

    kept = match(gt, predicted(entry()), TemporalOptions(ignore_labels=()))

    assert kept.classes == ("Ambiguous", "run")
    assert kept.scores().metrics["average_mAP"] == 0.5
