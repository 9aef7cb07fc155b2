"""The numbers behind the page *Convergence*."""

import numpy as np
import pytest

from backend.analysis.diagnostics.evidence import Curve, Evidence, evidence_of
from backend.analysis.diagnostics.views import (
    MOST_CLASSES,
    bars_of,
    baselines_of,
    curve_of,
    finding_steps,
    gap_of,
    loss_parts,
    marks_of,
    network_parts,
    observed_at,
    over_time,
    ratios,
    shipping,
    with_total,
    wrong_with,
)
from backend.core.diagnosis import Diagnosis, DiagnosticFinding, Severity
from backend.core.events import Event, InputProbed, Recovered, RunFinished
from backend.core.evidence import PredictionHistogram
from backend.core.records import Checkpoint, Series
from tests.support.evidence_made import BASELINES, baselines, healthy, movement, predictions

HEALTHY = healthy()
TOLD = HEALTHY.evidence()
NAMES = sorted(HEALTHY.curves)


def curve(*values: float, every: int = 10) -> Curve:
    return Curve(np.arange(1, len(values) + 1) * every, np.array(values, float))


def test_a_curve_has_no_values_that_are_no_numbers() -> None:
    nan, inf = float("nan"), float("inf")
    series = Series(steps=(1, 2, 3, 4), values=(1.0, nan, inf, 2.0), times=(0.0,) * 4)
    made = curve_of(series)
    assert made is not None
    assert (made.steps.tolist(), made.values.tolist()) == ([1, 4], [1.0, 2.0])
    assert curve_of(Series(steps=(1,), values=(nan,), times=(0.0,))) is None
    assert curve_of(None) is None


def test_parts_of_the_loss_are_those_of_the_plan_after_the_total() -> None:
    assert loss_parts(TOLD, NAMES) == ["loss", "lcl_loss", "mlc_loss"]
    assert loss_parts(TOLD, ["train/mlc_loss", "val/edit"]) == ["mlc_loss"]


def test_without_a_plan_a_loss_is_what_is_called_one() -> None:
    foreign = ["lr/base", "train/loss_cls", "train/loss_bbox", "val/mAP", "gradient/loss/norm"]
    assert loss_parts(Evidence(()), foreign) == ["loss_bbox", "loss_cls"]


def test_a_total_that_was_not_logged_is_the_sum_where_all_parts_are() -> None:
    parts = {"train/a_loss": curve(1, 2, 3), "train/b_loss": curve(10, 20, every=20)}
    total = with_total(parts, ["a_loss", "b_loss"], "train")["loss"]
    assert (total.steps.tolist(), total.values.tolist()) == ([20], [12.0])
    logged = parts | {"train/loss": curve(7)}
    assert with_total(logged, ["loss", "a_loss"], "train")["loss"].values.tolist() == [7.0]
    assert list(with_total(parts, ["a_loss"], "train")) == ["a_loss"]
    assert with_total(parts, ["a_loss", "b_loss"], "val") == {}


def test_parts_of_the_network_stand_from_input_to_output() -> None:
    names = ["gradient/heads/norm", "gradient/encoder/mean_abs", "update/all", "update/temporal"]
    assert network_parts(TOLD, names) == ["encoder", "temporal", "heads"]
    assert network_parts(Evidence(()), names) == ["encoder", "heads", "temporal"]
    assert network_parts(TOLD, ["train/loss"]) == []


def test_baselines_are_of_the_validation_data_if_counted_there() -> None:
    assert baselines_of(TOLD, "lcl_loss") == {n: v["lcl_loss"] for n, v in BASELINES.items()}
    only = HEALTHY.surveyed(baselines=(baselines("train", {"constant": {"loss": 2.0}}),))
    assert baselines_of(only.evidence(), "loss") == {"constant": 2.0}
    assert baselines_of(only.evidence(), "lcl_loss") == {}
    assert baselines_of(Evidence(()), "loss") == {}


def test_a_gap_is_to_the_mean_training_loss_since_the_validation_before() -> None:
    train = Curve(np.array([5, 10, 15, 20]), np.array([4.0, 2.0, 1.0, 3.0]))
    found = gap_of(train, Curve(np.array([10, 20]), np.array([3.0, 3.0])), Evidence(()), "loss")
    assert found is not None
    assert (found.steps, found.gaps, found.relative) == ([10, 20], [0.0, 1.0], [0.0, 0.5])
    assert found.own is None


def test_the_gap_that_labels_explain_is_that_of_the_sharpest_baseline() -> None:
    sides = (
        baselines("train", {"constant": {"loss": 1.0}, "position": {"loss": 0.779}}),
        baselines("val", {"constant": {"loss": 2.0}, "position": {"loss": 0.783}}),
    )
    told = HEALTHY.surveyed(baselines=sides).evidence()
    found = gap_of(curve(1.0), curve(1.5), told, "loss")
    assert found is not None
    assert found.name == "position"
    assert found.own == pytest.approx(0.004)


def test_no_gap_without_both_curves_or_training_before_a_validation() -> None:
    assert gap_of(None, curve(1.0), TOLD, "loss") is None
    assert gap_of(curve(1.0), None, TOLD, "loss") is None
    late = Curve(np.array([50]), np.array([1.0]))
    assert gap_of(late, curve(1.0), TOLD, "loss") is None


def test_what_to_ship_is_best_first_within_noise_lowest_loss_and_last() -> None:
    headline = curve(0.1, 0.5, 0.69, 0.7, 0.697, 0.6)
    found = shipping(headline, "maximize", curve(5, 4, 3, 2, 1, 2), {40: 4.0})
    assert found is not None
    reasons = {one.step: one.why for one in found.candidates}
    assert reasons[40][0] == "best by the headline metric"
    assert "lowest validation loss" in reasons[50]
    assert reasons[60] == ("last",)
    assert found.within[0] == min(s for s, why in reasons.items() if "first within" in why[-1])
    assert next(one.epoch for one in found.candidates if one.step == 40) == 4.0
    assert next(one.epoch for one in found.candidates if one.step == 60) is None
    assert not found.flat


def test_the_best_of_a_loss_is_the_lowest() -> None:
    found = shipping(curve(3, 1, 2), "minimize", None, {})
    assert found is not None
    best = [one for one in found.candidates if "best by the headline metric" in one.why]
    assert [(one.step, one.loss) for one in best] == [(20, None)]


def test_within_noise_is_never_finer_than_half_a_hundredth_of_the_scale() -> None:
    share, points = curve(0.5, 0.6, 0.7, 0.8), curve(50, 60, 70, 80)
    margins = [shipping(c, "maximize", None, {}) for c in (share, points)]
    assert [one.margin for one in margins if one] == [0.005, 0.5]


def test_a_metric_that_never_moves_ranks_nothing() -> None:
    flat = shipping(curve(0, 0, 0), "maximize", None, {})
    assert flat is not None
    assert flat.flat
    alone = shipping(curve(0.5), "maximize", None, {})
    assert alone is not None
    assert not alone.flat
    assert shipping(None, "maximize", None, {}) is None


def test_a_loss_of_other_steps_names_no_evaluation() -> None:
    found = shipping(curve(0.1, 0.2), "maximize", curve(1.0, every=7), {})
    assert found is not None
    assert all("lowest validation loss" not in one.why for one in found.candidates)


def test_what_happened_is_marked() -> None:
    saved = [Checkpoint(path="a", sha256="", step=s, epoch=s // 10) for s in (10, 20)]
    events: list[Event] = [
        Recovered(attempt=1, step=7, phase="train", kind="device", cause="", action="batch 8 to 4",
                  requested={}, effective={}),
        RunFinished(status="stopped", finding="B05"),
    ]  # fmt: skip
    found = [(m.kind, m.step) for m in marks_of(evidence_of(events), saved, 2, 25)]
    assert found == [("checkpoint", 10), ("best", 20), ("recovery", 7), ("end", 25)]
    whole = evidence_of([RunFinished(status="finished")])
    assert marks_of(whole, [], None, 25) == []


def test_steps_are_marked_where_something_is_wrong() -> None:
    kinds: tuple[tuple[str, Severity, int], ...] = (
        ("B03", "error", 50),
        ("B01", "error", 50),
        ("B16", "info", 90),
        ("D02", "stop", 0),
    )
    findings = tuple(
        DiagnosticFinding(rule=r, title="", severity=s, headline="", step=at) for r, s, at in kinds
    )
    told = Diagnosis(step=90, state="sick", verdict="", findings=findings)
    assert finding_steps(told) == {50: "B03, B01"}
    assert finding_steps(None) == {}


def test_bars_keep_the_background_apart_and_the_rarest_out() -> None:
    counts = {"background": 900} | {f"c{i}": i for i in range(MOST_CLASSES + 2)}
    bars = bars_of(
        PredictionHistogram(
            output="x", background="background", truth=counts, predicted={"background": 999}
        )
    )
    assert bars.background == ("background", 900, 999)
    assert (len(bars.names), bars.left_out) == (MOST_CLASSES, 2)
    assert "c0" not in bars.names
    assert bars.truth[0] == 2
    assert set(bars.predicted) == {0}


def test_an_output_without_background_shows_all_classes() -> None:
    bars = bars_of(PredictionHistogram(output="x", truth={"a": 3}, predicted={"b": 1}))
    assert (bars.names, bars.truth, bars.predicted) == (("a", "b"), (3, 0), (0, 1))
    assert bars.background is None


def test_predictions_are_found_by_step_or_are_the_last() -> None:
    told = [predictions(10), predictions(20)]
    assert [observed_at(told, step).step for step in ("10", "", "15")] == [10, 20, 20]  # type: ignore[union-attr]
    assert observed_at([], "10") is None
    assert [step for step, _ in over_time(told, "event")] == [10, 20]
    assert over_time(told, "other") == []


def test_ratios_are_of_the_parts_that_were_measured_both_ways() -> None:
    probe = InputProbed(step=1, split="val", samples=50, losses={"a": 2.0, "b": 0.0, "c": 1.0},
                        permuted={"a": 3.0, "b": 1.0})  # fmt: skip
    assert ratios(probe) == {"a": 1.5}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"requires_grad": 6}, "2 of 8 have no gradient"),
        ({"in_optimizer": 7}, "1 of 8 are not in the optimizer"),
        ({"changed": 0}, "did not move"),
        ({"changed": 0, "rate": 0.01}, ""),
        ({"planned": "frozen", "requires_grad": 0, "in_optimizer": 0, "changed": 0}, ""),
        ({"planned": "frozen", "changed": 2}, "moved, though it is frozen"),
    ],
)
def test_what_contradicts_the_plan_is_said(changes: dict[str, object], said: str) -> None:
    group = movement(10, 0).groups[0].model_copy(update=changes)
    assert wrong_with(group) == said
