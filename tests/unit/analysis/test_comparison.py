from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backend.analysis.comparison import ComparisonSettings, compare, compare_reports
from backend.core.errors import ComparisonError, DataError
from backend.core.records import Comparison, EvalReport, LayerChange
from tests.support.detections import Truth, contender, detector, evaluation, ground_truth

FEW = ComparisonSettings(replicates=200)
Reports = tuple[EvalReport, EvalReport]


@pytest.fixture(scope="module")
def truth() -> Truth:
    return ground_truth(images=60, classes=3, seed=1)


@pytest.fixture(scope="module")
def reports(truth: Truth, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """A plain detector and a clearly better one."""
    folder = tmp_path_factory.mktemp("reports")
    return (
        evaluation(folder / "old", truth, detector(truth, seed=2, found=0.6, jitter=0.12)),
        evaluation(folder / "new", truth, detector(truth, seed=3, found=0.9, jitter=0.05)),
    )


def compared(target: Reports, source: Reports | None = None, **changes: Any) -> Comparison:
    return compare(
        key="compare-1",
        created=1.0,
        contenders=(contender("old"), contender("new")),
        target=target,
        source=source,
        settings=FEW.model_copy(update=changes),
    )


def test_a_clear_improvement_is_found(reports: Reports) -> None:
    data = compare_reports(*reports, settings=FEW)

    by_name = {delta.name: delta for delta in data.metrics}
    assert (data.units, data.split, data.role) == (60, "holdout", "target")
    assert list(by_name) == ["mAP50-95", "mAP50", "mAP75"]
    assert {delta.verdict for delta in data.metrics} == {"better"}
    for name, delta in by_name.items():
        assert delta.baseline == pytest.approx(reports[0].metrics[name], abs=1e-9)
        assert delta.candidate == pytest.approx(reports[1].metrics[name], abs=1e-9)
        assert delta.delta is not None
        assert delta.low is not None
        assert delta.high is not None
        assert 0 < delta.low < delta.delta < delta.high
        assert delta.wins == 1


def test_the_other_way_round_it_is_worse_by_the_same_interval(reports: Reports) -> None:
    forth = compare_reports(*reports, settings=FEW).metrics[0]
    back = compare_reports(reports[1], reports[0], settings=FEW).metrics[0]

    assert back.verdict == "worse"
    assert forth.low is not None
    assert forth.high is not None
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))
    assert back.wins == 0


def test_classes_are_compared_one_by_one(reports: Reports) -> None:
    data = compare_reports(*reports, settings=FEW)

    assert [delta.name for delta in data.per_class] == ["class 1", "class 2", "class 3"]
    for delta in data.per_class:
        assert delta.baseline == pytest.approx(reports[0].per_class[delta.name]["mAP50-95"])
        assert delta.candidate == pytest.approx(reports[1].per_class[delta.name]["mAP50-95"])


def test_a_model_is_equivalent_to_itself(reports: Reports) -> None:
    data = compare_reports(reports[0], reports[0], settings=FEW)

    for delta in (*data.metrics, *data.per_class):
        assert (delta.delta, delta.low, delta.high, delta.wins) == (0, 0, 0, 0.5)
        assert delta.verdict == "equivalent"


def test_a_wide_margin_makes_a_small_gain_equivalent(reports: Reports) -> None:
    wide = FEW.model_copy(update={"margin": 0.9})

    assert compare_reports(*reports, settings=wide).metrics[0].verdict == "equivalent"


def test_the_same_seed_gives_the_same_interval(reports: Reports) -> None:
    first, again = (compare_reports(*reports, settings=FEW) for _ in range(2))
    other = compare_reports(*reports, settings=FEW.model_copy(update={"seed": 1}))

    assert first == again
    assert first.metrics[0].low != other.metrics[0].low


def test_the_comparison_holds_all_that_it_was_made_of(reports: Reports) -> None:
    layer = LayerChange(layer="model.0", parameters=10, relative=0.1)
    result = compare(
        key="compare-1",
        created=1.0,
        contenders=(contender("old"), contender("new")),
        target=reports,
        source=(reports[1], reports[0]),
        weights=(layer,),
        settings=ComparisonSettings(replicates=150, seed=4, margin=0.02, primary="mAP50"),
    )

    assert (result.key, result.created, result.replicates, result.seed) == ("compare-1", 1, 150, 4)
    assert (result.margin, result.confidence, result.weights) == (0.02, 0.95, (layer,))
    assert result.headline == result.target.metrics[1]
    assert result.source is not None
    assert (result.target.role, result.source.role) == ("target", "source")
    assert result.source.metrics[0].verdict == "worse"
    assert Comparison.model_validate_json(result.model_dump_json()) == result


def test_an_unknown_primary_metric_is_refused(reports: Reports) -> None:
    with pytest.raises(
        ComparisonError, match="'f2' has no paired bootstrap; choose one of mAP50-"
    ):
        compared(reports, primary="f2")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"task": "tracking"}, "task (detection and tracking)"),
        ({"split": "val"}, "split (holdout and val)"),
        ({"data_digest": "e" * 64}, "data digest (" + "d" * 57),
        ({"evaluator": "another 1"}, "and another 1)"),
        ({"classes": ("a", "b")}, "classes (class 1, class 2, class 3 and a, b)"),
        ({"units": 59}, "units (60 and 59)"),
        ({"settings": {"imgsz": "640", "conf": "0.001"}}, "setting imgsz (200 and 640)"),
        ({"settings": {"imgsz": "200"}}, "setting conf (0.001 and not set)"),
    ],
)
def test_unlike_evaluations_are_refused(
    reports: Reports, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ComparisonError) as error:
        compare_reports(reports[0], reports[1].model_copy(update=change), settings=FEW)
    assert "may not be compared" in str(error.value)
    assert sentence in str(error.value)


def test_all_that_differs_is_said_at_once(reports: Reports) -> None:
    other = reports[1].model_copy(update={"split": "val", "units": 3})
    with pytest.raises(ComparisonError, match=r"differ in split .*, units "):
        compare_reports(reports[0], other)


def test_another_task_has_no_bootstrap_yet(reports: Reports) -> None:
    tracking = [report.model_copy(update={"task": "tracking"}) for report in reports]
    with pytest.raises(ComparisonError, match="no paired bootstrap for the task 'tracking'"):
        compare_reports(*tracking)


def test_a_report_without_predictions_is_refused(reports: Reports) -> None:
    bare = reports[1].model_copy(update={"predictions": ""})
    with pytest.raises(
        ComparisonError, match=r"the candidate's evaluation .* keeps no predictions"
    ):
        compare_reports(reports[0], bare)


def test_a_lost_file_is_named(reports: Reports, tmp_path: Path) -> None:
    lost = reports[1].model_copy(update={"predictions": str(tmp_path / "gone.json")})
    with pytest.raises(DataError, match=r"gone\.json: no such file"):
        compare_reports(reports[0], lost)


def test_files_that_do_not_give_the_reported_score_are_refused(reports: Reports) -> None:
    stale = reports[1].model_copy(update={"predictions": reports[0].predictions})
    with pytest.raises(ComparisonError, match=r"says mAP50-95 0\.\d+, but .* gives 0\.\d+"):
        compare_reports(reports[0], stale)


@pytest.mark.parametrize(
    ("part", "said"), [("annotations", "different annotations"), ("images", "different images")]
)
def test_ground_truth_that_differs_under_one_digest_is_refused(
    tmp_path: Path, truth: Truth, part: str, said: str
) -> None:
    other = ground_truth(images=60, classes=3, seed=9)
    if part == "images":
        other = truth | {"images": [*truth["images"][:-1], {"id": 99}]}
        keep = [a for a in truth["annotations"] if a["image_id"] != 60]
        truth = truth | {"annotations": keep}
        other = other | {"annotations": keep}
    sides = [evaluation(tmp_path / n, t, []) for n, t in (("old", truth), ("new", other))]

    with pytest.raises(ComparisonError, match=said):
        compare_reports(*sides)


def test_without_any_ground_truth_box_nothing_can_be_compared(tmp_path: Path) -> None:
    empty = evaluation(tmp_path, ground_truth(images=30, boxes=0), [])
    with pytest.raises(ComparisonError, match="no ground-truth box at all"):
        compare_reports(empty, empty)


def test_one_image_decides_nothing(tmp_path: Path) -> None:
    truth = ground_truth(images=1, classes=1, boxes=5, seed=2)
    sides = [
        evaluation(tmp_path / "old", truth, []),
        evaluation(tmp_path / "new", truth, detector(truth, found=1.0)),
    ]

    delta = compare_reports(*sides, settings=FEW).metrics[0]

    assert delta.delta is not None
    assert delta.delta > 0
    assert (delta.low, delta.high, delta.wins, delta.verdict) == (None, None, None, "undecided")


def test_a_class_that_does_not_occur_has_no_difference(tmp_path: Path) -> None:
    truth = ground_truth(images=30, classes=2)
    truth["annotations"] = [a for a in truth["annotations"] if a["category_id"] == 1]
    result = compared((report := evaluation(tmp_path, truth, detector(truth)), report))

    absent = result.target.per_class[1]
    assert (absent.baseline, absent.candidate, absent.delta, absent.low) == (None,) * 4
    assert absent.verdict == "undecided"
    assert "1 of 2 classes do not occur" in " ".join(result.warnings)


def test_what_the_numbers_do_not_say_is_warned_of(reports: Reports) -> None:
    assert compared(reports).warnings == (
        "One run per side speaks for these two weight files, not for their recipes.",
    )


def test_a_split_that_was_used_for_picking_is_warned_of(reports: Reports) -> None:
    on_val = [report.model_copy(update={"split": "val"}) for report in reports]

    assert "winner's curse" in " ".join(compared((on_val[0], on_val[1])).warnings)


def test_few_images_are_warned_of_and_still_judged(tmp_path: Path) -> None:
    truth = ground_truth(images=19, boxes=4)
    sides = (
        evaluation(tmp_path / "a", truth, []),
        evaluation(tmp_path / "b", truth, detector(truth)),
    )

    result = compared(sides, source=sides)

    assert "On the target data only 19 images carry ground truth" in " ".join(result.warnings)
    assert "On the source data only 19 images" in " ".join(result.warnings)
    assert "On the target data, baseline: There are no predictions at all." in result.warnings
    assert result.headline.verdict == "better"


def test_rare_classes_are_warned_of(tmp_path: Path) -> None:
    truth = ground_truth(images=40, classes=8, boxes=2)
    report = evaluation(tmp_path, truth, detector(truth))

    assert "8 of 8 classes occur in fewer than 20 images" in " ".join(
        compared((report, report)).warnings
    )


def test_the_same_file_on_both_sides_is_warned_of(reports: Reports) -> None:
    result = compare(
        key="k", created=0.0, contenders=(contender("a"), contender("a")), target=reports,
        settings=FEW,
    )  # fmt: skip

    assert "Both sides are the same weight file, so any difference is zero." in result.warnings


@pytest.mark.parametrize(
    "wrong", [{"confidence": 1.0}, {"replicates": 10}, {"margin": -0.1}, {"replicate": 1000}]
)
def test_settings_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ComparisonSettings(**wrong)
