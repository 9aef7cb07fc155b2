from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backend.analysis.caveats import disagree
from backend.analysis.comparison import ComparisonSettings, compare, compare_reports
from backend.analysis.paired import compare_evidence
from backend.analysis.report.deltas import metrics
from backend.core.comparisons import (
    Change,
    Comparison,
    Contender,
    LayerChange,
    Selection,
)
from backend.core.errors import ComparisonError, DataError
from backend.core.records import EvalReport
from backend.scoring.detection.errors import KINDS
from backend.scoring.tasks import TASKS, save_evidence
from backend.scoring.tracking import task as tracking
from tests.support import comparisons
from tests.support.detections import (
    Truth,
    contender,
    detector,
    evaluation,
    ground_truth,
    with_evidence,
)
from tests.support.simulated import (
    Simulate,
    simulated_sequences,
    simulated_spotting,
    simulated_temporal,
    simulated_tracking,
)

FEW = ComparisonSettings(replicates=200, permutations=199)
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


def compared(
    target: Reports,
    source: Reports | None = None,
    old: Contender | None = None,
    new: Contender | None = None,
    **changes: Any,
) -> Comparison:
    return compare(
        key="compare-1",
        created=1.0,
        contenders=(old or contender("old"), new or contender("new")),
        target=target,
        source=source,
        settings=FEW.model_copy(update=changes),
    )


def test_a_clear_improvement_is_found(reports: Reports) -> None:
    data = compare_reports(*reports, settings=FEW)

    by_name = {delta.name: delta for delta in data.metrics}
    assert (data.units, data.split, data.role) == (60, "holdout", "target")
    assert list(by_name) == [spec.name for spec in TASKS["detection"].metrics]
    for name, delta in by_name.items():
        assert delta.baseline == pytest.approx(reports[0].metrics[name], abs=1e-9, nan_ok=True)
        assert delta.candidate == pytest.approx(reports[1].metrics[name], abs=1e-9, nan_ok=True)
    for name in ("mAP50-95", "mAP50", "mAP75", "recall", "f1"):
        delta = by_name[name]
        assert delta.delta is not None
        assert delta.low is not None
        assert delta.high is not None
        assert 0 < delta.low < delta.delta < delta.high
        assert (delta.wins, delta.verdict, delta.p_value) == (1, "better", 0.005)
        assert (delta.interval, delta.margin, delta.needed) == ("student", 0.01, None)


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

    for delta in (*data.metrics, *data.per_class, *data.errors):
        if delta.name != "mAP-large":  # there are no large boxes
            assert (delta.delta, delta.low, delta.high, delta.wins) == (0, 0, 0, 0.5)
            assert delta.verdict == "equivalent"
    assert data.per_unit == ()


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
        ({"unit": "video"}, "unit (image and video)"),
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


def test_a_task_that_nobody_scores_is_refused(reports: Reports) -> None:
    strange = [report.model_copy(update={"task": "captions"}) for report in reports]
    with pytest.raises(ComparisonError, match="the task 'captions' cannot be compared; choose"):
        compare_reports(*strange)


def test_a_report_without_predictions_is_refused(reports: Reports) -> None:
    bare = reports[1].model_copy(update={"predictions": ""})
    with pytest.raises(
        ComparisonError, match=r"the evaluation of .*new.* keeps neither evidence nor predictions"
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


@pytest.mark.parametrize(("part", "said"), [("annotations", "truth digest"), ("images", "units")])
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

    with pytest.raises(ComparisonError, match=f"different ground truth .their {said} differ"):
        compare_reports(*sides)


def test_without_any_ground_truth_box_nothing_can_be_compared(tmp_path: Path) -> None:
    empty = evaluation(tmp_path, ground_truth(images=30, boxes=0), [])
    with pytest.raises(ComparisonError, match="no ground truth in any of the 30 images"):
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


def test_files_of_predictions_are_not_called_weights(reports: Reports) -> None:
    sides = [
        contender(one.predictions).model_copy(
            update={"checkpoint": contender("x").checkpoint.model_copy(
                update={"path": one.predictions, "sha256": one.predictions}
            )}
        )
        for one in reports
    ]  # fmt: skip

    assert compared(reports, old=sides[0], new=sides[1]).warnings == (
        "One run per side speaks for these two files of predictions, not for their recipes.",
    )


def test_the_best_of_many_trials_is_named(reports: Reports) -> None:
    picked = Selection(study="rates", trials=30, metric="val/mAP50-95")
    new = contender("new").model_copy(update={"selection": picked})

    warnings = compared(reports, new=new).warnings

    assert (
        "The candidate was picked as the best of 30 trials of the study 'rates' by val/mAP50-95"
        in warnings[1]
    )
    alone = picked.model_copy(update={"trials": 1})
    one = new.model_copy(update={"selection": alone})
    assert len(compared(reports, new=one).warnings) == 1


def test_what_changed_is_listed(reports: Reports) -> None:
    old, new = contender("old", lr="0.1"), contender("new", lr="0.2")

    assert compared(reports, old=old, new=new).changes == (
        Change(kind="config", name="lr", baseline="0.1", candidate="0.2"),
    )


def test_an_undecided_metric_says_how_many_images_would_decide(
    truth: Truth, tmp_path: Path
) -> None:
    sides = [evaluation(tmp_path / n, truth, detector(truth, s)) for n, s in (("a", 2), ("b", 3))]

    result = compared((sides[0], sides[1]))

    assert result.headline.verdict == "undecided"
    assert result.headline.needed is not None
    assert result.headline.needed > 60
    assert "mAP50-95 is undecided: at the spread seen here about" in result.warnings[1]
    assert "images would decide." in result.warnings[1]


def test_stored_evidence_needs_no_predictions(truth: Truth, tmp_path: Path) -> None:
    sides = [
        with_evidence(tmp_path / n, truth, detector(truth, s)) for n, s in (("a", 2), ("b", 3))
    ]
    anew = [side.model_copy(update={"evidence": ""}) for side in sides]
    gone = {"predictions": "/gone.json", "ground_truth": "/gone.json"}
    stored = [side.model_copy(update=gone) for side in sides]

    first, again = (compare_reports(*pair, settings=FEW) for pair in (anew, stored))

    assert (first.metrics, first.per_class, first.errors, first.per_unit) == (
        again.metrics,
        again.per_class,
        again.errors,
        again.per_unit,
    )


def test_evidence_that_does_not_give_the_reported_score_is_refused(
    truth: Truth, tmp_path: Path
) -> None:
    old = with_evidence(tmp_path / "a", truth, detector(truth, 2))
    new = with_evidence(tmp_path / "b", truth, detector(truth, 3))
    stale = new.model_copy(update={"evidence": old.evidence})

    with pytest.raises(ComparisonError, match=r"evidence\.npz gives 0\.\d+; evaluate it again"):
        compare_reports(old, stale)


def test_errors_are_compared_by_what_they_cost(reports: Reports) -> None:
    data = compare_reports(*reports, settings=FEW)

    costs = {delta.name: delta for delta in data.errors}
    assert list(costs) == list(KINDS)
    assert {delta.direction for delta in data.errors} == {"minimize"}
    for kind in ("localisation", "missed"):
        assert costs[kind].verdict == "better"
        change = costs[kind].delta
        assert change is not None
        assert change < 0


def test_images_are_ranked_by_what_they_gained(reports: Reports) -> None:
    data = compare_reports(*reports, settings=FEW)
    back = compare_reports(reports[1], reports[0], settings=FEW)

    changes = [unit.delta for unit in data.per_unit]
    assert data.unit_metric == "f1"
    assert len({unit.unit for unit in data.per_unit}) == len(changes) <= 20
    assert changes == sorted(changes, reverse=True)
    assert changes[9] > 0
    assert back.per_unit[-1].unit in {unit.unit for unit in data.per_unit[:10]}
    for unit in data.per_unit:
        assert unit.baseline is not None
        assert unit.candidate is not None
        assert unit.delta == unit.candidate - unit.baseline


def test_margins_are_set_per_metric(reports: Reports) -> None:
    settings = FEW.model_copy(update={"margins": {"mAP50": 0.9}})

    by_name = {d.name: d for d in compare_reports(*reports, settings=settings).metrics}

    assert (by_name["mAP50"].margin, by_name["mAP50"].verdict) == (0.9, "equivalent")
    assert (by_name["mAP75"].margin, by_name["mAP75"].verdict) == (0.01, "better")


def test_a_margin_of_an_unknown_metric_is_refused(reports: Reports) -> None:
    settings = FEW.model_copy(update={"margins": {"mAP5": 0.1}})

    with pytest.raises(ComparisonError, match="a margin for mAP5, but the metrics are mAP50-95, "):
        compare_reports(*reports, settings=settings)


def test_margins_follow_the_unit_of_a_metric() -> None:
    margins = {
        name: FEW.margin_of(TASKS[task], name)
        for task, name in (("tracking", "HOTA"), ("tracking", "IDSW"), ("spotting", "edit"))
    }

    assert margins == {"HOTA": 0.01, "IDSW": 0.0, "edit": 1.0}


@pytest.mark.parametrize(
    ("task", "simulate"),
    [
        ("tracking", simulated_tracking),
        ("temporal", simulated_temporal),
        ("spotting", simulated_spotting),
    ],
)
def test_every_task_is_compared(tmp_path: Path, task: str, simulate: Simulate) -> None:
    """A clear gain is found, less is better where it is, and nothing of it is detection's."""
    reports = []
    for side, skill in enumerate((0.5, 0.9)):
        evidence = simulate(30, skill, side)
        scores = evidence.scores()
        save_evidence(tmp_path / f"{side}.npz", task, evidence)
        made = comparisons.report(
            task=task, metrics=scores.metrics, per_class=scores.per_class, units=30,
            unit=TASKS[task].unit, evidence=str(tmp_path / f"{side}.npz"),
        )  # fmt: skip
        reports.append(made)

    result = compared((reports[0], reports[1]), primary="")

    assert result.primary == TASKS[task].primary
    assert (result.headline.verdict, result.headline.p_value) == ("better", 0.005)
    assert (result.target.unit, result.target.units) == (TASKS[task].unit, 30)
    assert len(result.target.metrics) > 4
    assert result.target.errors == ()
    assert result.target.per_unit[0].delta > 0
    for missed in (delta for delta in result.target.metrics if delta.name == "FN"):
        assert (missed.delta or 0) < 0
        assert missed.verdict == "better"
        assert missed.unit == ("count" if task == "tracking" else "")


def test_evidence_of_other_rules_is_refused() -> None:
    made = simulated_sequences(3, 0.6, 0)
    loose, strict = (tracking.match(made, threshold=threshold) for threshold in (0.5, 0.7))

    with pytest.raises(ComparisonError, match=r"may not be compared: .* thresholds"):
        compare_evidence(TASKS["tracking"], loose, strict, FEW)


def test_an_interval_that_a_permutation_test_does_not_confirm_is_warned_of() -> None:
    sure, unsure = comparisons.delta(p_value=0.02), comparisons.delta(p_value=0.2)

    assert not disagree(sure, 0.95)
    assert disagree(unsure, 0.95)
    assert not disagree(unsure.model_copy(update={"verdict": "undecided"}), 0.95)
    assert not disagree(comparisons.delta(p_value=None), 0.95)


def test_two_sequences_decide_nothing(tmp_path: Path) -> None:
    reports = []
    for side, skill in enumerate((0.5, 0.9)):
        evidence = simulated_tracking(2, skill, side)
        save_evidence(tmp_path / f"{side}.npz", "tracking", evidence)
        made = comparisons.report(
            task="tracking", metrics=evidence.scores().metrics, units=2,
            evidence=str(tmp_path / f"{side}.npz"),
        )  # fmt: skip
        reports.append(made)

    result = compared((reports[0], reports[1]), primary="")

    assert result.headline.verdict == "undecided"
    assert result.headline.p_value is None
    assert "only 2 sequences carry ground truth, which decides nothing" in result.warnings[1]
    assert "sequences would decide" in result.warnings[1]


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

    assert "Both sides are the same file, so any difference is zero." in result.warnings


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 1.0},
        {"replicates": 10},
        {"margin": -0.1},
        {"replicate": 1000},
        {"margins": {"mAP50": -0.1}},
        {"permutations": -1},
        {"interval": "exact"},
    ],
)
def test_settings_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ComparisonSettings(**wrong)


def test_the_report_shows_counts_as_whole_numbers() -> None:
    switches = comparisons.delta("IDSW", -1.0, 3.0, baseline=1.0, candidate=0.0, unit="count")
    rows = [line.split("|") for line in metrics([switches], 0.95).splitlines()]
    assert [cell.strip() for cell in rows[-1][1:6]] == ["IDSW", "1", "0", "−1", "−4 to +2"]
