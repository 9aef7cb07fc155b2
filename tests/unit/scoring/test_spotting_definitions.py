import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from backend.core.errors import DataError
from backend.scoring.spotting.task import TASK, Clip, Events, SpottingOptions, match
from tests.support.event_clips import literal_metrics, made_clips

GOLDEN = Path(__file__).parents[3].parent / "shared" / "golden" / "fed"
ELEMENTS = ("near", "far", "serve", "smash")


def clip(name: str, frames: int, truth: dict[int, set[str]], found: dict[int, set[str]]) -> Clip:
    return Clip(name, frames, events(truth), events(found))


def events(said: dict[int, set[str]]) -> Events:
    bits = [[element in names for element in ELEMENTS] for names in said.values()]
    return Events(
        np.array(list(said), dtype=np.int64),
        np.array(bits, dtype=np.bool_).reshape(-1, len(ELEMENTS)),
    )


def metrics(*clips: Clip, **options: Any) -> dict[str, float | None]:
    return match(ELEMENTS, clips, SpottingOptions(**options)).scores().metrics


@pytest.mark.parametrize("seed", range(200))
def test_random_clips_score_as_section_4_says_word_by_word(seed: int) -> None:
    rng = np.random.default_rng([seed, 7])
    tolerance, f3ed = int(rng.choice([0, 1, 1, 2, 3, 12])), bool(rng.integers(2))
    clips = made_clips(seed, clips=int(rng.integers(1, 8)), rate=float(rng.choice([0.05, 0.3])))
    options = SpottingOptions(tolerance=tolerance, compat="f3ed" if f3ed else "")

    found = match(ELEMENTS, clips, options).scores().metrics

    for name, value in literal_metrics(clips, tolerance, f3ed).items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-12)), name


def golden_cases() -> list[Any]:
    if not GOLDEN.is_dir():
        return [pytest.param("", "", marks=pytest.mark.skip(reason=f"{GOLDEN} is not here"))]
    cases = json.loads((GOLDEN / "expected.json").read_text())["cases"]
    return [(case, key) for case, said in cases.items() for key in said if "_delta" in key]


@pytest.mark.parametrize(("case", "key"), golden_cases())
def test_golden_cases_of_the_public_evaluators(case: str, key: str) -> None:
    expected = json.loads((GOLDEN / "expected.json").read_text())["cases"][case]
    rule, tolerance = key.split("_delta")
    options = SpottingOptions(tolerance=int(tolerance), compat="f3ed" if rule == "f3ed" else "")
    folder = GOLDEN / case

    scores = TASK.read(folder / "truth.json", folder / "predictions.json", options).scores()

    for name, value in expected[key].items():
        value = expected["edit_mean_defined"] if value == "nan" else value
        assert scores.metrics[name] == pytest.approx(value, abs=1e-9), name
    edits = {name: values["edit"] for name, values in scores.per_unit.items()}
    assert edits == {
        name: None if value == "nan" else pytest.approx(value)
        for name, value in expected["edit_per_clip"].items()
    }
    assert scores.metrics["edit_undefined_clips"] == expected["edit_undefined_clips"]
    assert scores.units == expected["clips"]


def test_two_true_frames_near_one_detection_are_neither_right_nor_wrong() -> None:
    found = metrics(clip("a", 9, {3: {"near"}, 5: {"near"}}, {4: {"near"}}))

    assert found["precision_lcl"] == found["recall_lcl"] == found["f1_lcl"] == 0
    assert found["f1_lcl_strict"] == pytest.approx(2 / 3)


def test_a_wrong_label_beside_an_event_is_a_miss_and_only_strictly_an_error() -> None:
    truth = {3: {"near"}, 8: {"near"}}
    found = metrics(clip("a", 12, truth, {3: {"far"}, 8: {"near"}}))

    assert found["precision_event"] == pytest.approx(1.0)  # of "near"; "far" has no count at all
    assert found["recall_event"] == pytest.approx(0.5)
    assert found["f1_event_strict"] == pytest.approx((2 / 3 + 0) / 2)


def test_double_detections_are_right_twice_but_strictly_once() -> None:
    found = metrics(clip("a", 12, {5: {"near"}}, {4: {"near"}, 6: {"near"}}))

    assert found["f1_event"] == found["f1_lcl"] == pytest.approx(1.0)
    assert found["f1_event_strict"] == found["f1_lcl_strict"] == pytest.approx(2 / 3)
    assert found["duplicate_rate"] == 0.5
    assert found["mean_offset"] == -1


def test_strict_matching_takes_the_nearest_pair_first() -> None:
    """From left to right, frame 4 would take the event at 5 and leave none for 5."""
    found = metrics(clip("a", 12, {5: {"near"}}, {3: {"near"}, 5: {"near"}}), tolerance=2)

    assert found["mean_offset"] == 0


def test_a_tolerance_never_reaches_into_another_clip() -> None:
    clips = [
        clip("a", 3, {2: {"near"}}, {}),
        clip("b", 3, {}, {0: {"near"}}),
        clip("c", 1, {0: {"far"}}, {}),
        clip("d", 1, {}, {0: {"far"}}),
    ]

    for compat in ("", "f3ed"):
        found = metrics(*clips, tolerance=50, compat=compat)
        assert (found["f1_lcl"], found["f1_event"], found["f1_lcl_strict"]) == (0, 0, 0)
        assert found["duplicate_rate"] == 0


def test_equal_events_in_a_row_count_once_in_edit() -> None:
    found = metrics(
        clip("a", 20, {2: {"near"}, 9: {"near"}, 14: {"far"}}, {2: {"near"}, 14: {"far"}})
    )

    assert found["edit"] == 100


def test_events_without_elements_are_frames_only() -> None:
    found = metrics(clip("a", 9, {3: set()}, {3: set()}))

    assert found["f1_lcl"] == pytest.approx(1.0)
    assert found["f1_event"] is None
    assert found["edit"] is None


def test_nothing_true_and_nothing_predicted_is_undefined_and_said() -> None:
    scores = match(ELEMENTS, [clip("a", 9, {}, {}), clip("b", 5, {}, {})]).scores()

    assert scores.metrics["f1_event"] is None
    assert scores.metrics["edit"] is None
    assert scores.metrics["edit_undefined_clips"] == 2
    assert scores.metrics["mean_offset"] is scores.metrics["duplicate_rate"] is None
    assert set(scores.per_class) == set(ELEMENTS)
    assert all(values["f1"] is None for values in scores.per_class.values())
    assert all(values["f1_lcl"] is None for values in scores.per_unit.values())
    assert any("f1_event is undefined" in text for text in scores.warnings)


def test_all_background_is_zero_not_undefined() -> None:
    found = metrics(clip("a", 9, {3: {"near"}}, {}), clip("b", 9, {}, {}))

    assert [found[k] for k in ("f1_lcl", "f1_event", "f1_element", "edit")] == [0, 0, 0, 0]
    assert found["edit_undefined_clips"] == 1
    assert found["ap_frame"] is None


def test_absent_elements_count_in_one_mean_and_not_in_the_other() -> None:
    scores = match(ELEMENTS, [clip("a", 9, {3: {"near"}}, {3: {"near"}})]).scores()

    assert scores.metrics["f1_element"] == pytest.approx(1 / 4)
    assert scores.metrics["f1_element_present"] == pytest.approx(1.0)
    assert scores.per_class["near"] == {
        "precision": pytest.approx(1.0), "recall": pytest.approx(1.0), "f1": pytest.approx(1.0),
        "instances": 1,
    }  # fmt: skip
    assert scores.per_class["smash"]["f1"] is None


@pytest.mark.parametrize("seed", range(6))
def test_frame_scores_are_ranked_as_scikit_learn_ranks_them(seed: int) -> None:
    clips = made_clips(seed, clips=8)
    found = match(ELEMENTS, clips).scores().metrics
    event = np.concatenate([np.isin(np.arange(c.frames), c.truth.frames) for c in clips])
    scores = np.concatenate([c.scores for c in clips if c.scores is not None])

    assert len(np.unique(scores)) < len(scores), "ties are part of the test"
    assert found["ap_frame"] == pytest.approx(average_precision_score(event, scores), abs=1e-12)
    assert found["auroc_frame"] == pytest.approx(roc_auc_score(event, scores), abs=1e-12)


def test_frame_metrics_need_both_kinds_of_frames_and_all_scores() -> None:
    quiet = Clip("a", 3, events({}), events({}), np.array([0.1, 0.9, 0.5]))
    loud = Clip("b", 1, events({0: {"near"}}), events({}), np.array([0.2]))
    mute = clip("c", 3, {}, {})

    assert metrics(quiet)["ap_frame"] is metrics(quiet)["auroc_frame"] is None
    assert metrics(loud)["ap_frame"] == 1
    assert metrics(loud)["auroc_frame"] is None
    assert metrics(quiet, loud)["auroc_frame"] == pytest.approx(1 / 3)
    assert metrics(quiet, loud, mute)["ap_frame"] is None


def test_clips_must_be_told_apart() -> None:
    with pytest.raises(DataError, match="same name"):
        match(ELEMENTS, [clip("a", 3, {}, {}), clip("a", 3, {}, {})])
    with pytest.raises(DataError, match="at least one clip"):
        match(ELEMENTS, [])


def test_the_digest_is_of_the_truth_alone() -> None:
    truth = {3: {"near"}}
    one = match(ELEMENTS, [clip("a", 9, truth, {3: {"near"}})])
    other = match(ELEMENTS, [clip("a", 9, truth, {})])
    changed = match(ELEMENTS, [clip("a", 9, {3: {"far"}}, {})])
    moved = match(ELEMENTS, [clip("a", 9, {4: {"near"}}, {})])
    longer = match(ELEMENTS, [clip("a", 10, truth, {})])

    assert one.truth_digest == other.truth_digest
    assert len({e.truth_digest for e in (one, changed, moved, longer)}) == 4
