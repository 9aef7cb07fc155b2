"""Two epochs of a curve: no more is said than the curve holds."""

from pathlib import Path

import numpy as np
import pytest

from backend.analysis.epochs import (
    EpochChange,
    compare_epochs,
    curves_of,
    directions_of,
    metric_named,
)
from backend.core.errors import ComparisonError
from backend.core.events import Envelope, MetricsLogged, RunStarted
from backend.core.records import Direction, MetricSpec
from backend.importers.source import Asked, described
from backend.importers.table import Columns, read
from tests.support.foreign_runs import brief_tables


def started(**directions: Direction | None) -> RunStarted:
    specs = tuple(MetricSpec(name=name, direction=way) for name, way in directions.items())
    return RunStarted(trainer="csv", epochs=9, headline="val/mAP", metrics=specs, data=(),
                      environment={})  # fmt: skip


def noisy(slope: float, noise: float, epochs: int = 40) -> dict[int, float]:
    drawn = np.random.default_rng(0).normal(0, noise, epochs)
    return {epoch: 0.3 + slope * epoch + drawn[epoch - 1] for epoch in range(1, epochs + 1)}


def head(curve: dict[int, float], first: int, second: int) -> tuple[EpochChange, str]:
    result = compare_epochs(
        {"val/mAP": curve}, {"val/mAP": "maximize"}, (first, second), headline="val/mAP"
    )
    return result.metrics[0], result.verdict


def test_the_claim_of_the_brief(tmp_path: Path) -> None:
    """+0.04 points between epochs 57 and 59, as the report has it."""
    found = described(read([brief_tables(tmp_path)], Columns(), Asked()), Asked())
    curves: dict[str, dict[int, float]] = {}
    for point in found.points:
        for key, value in point.metrics.items():
            curves.setdefault(key, {})[point.epoch] = value
    ways = {f"val/{spec.name}": spec.direction for spec in found.specs}
    ways |= {f"train/{spec.name}": spec.direction for spec in found.specs}
    result = compare_epochs(curves, ways, (57, 59), headline=found.headline, run="adatad")
    assert result.verdict == "undecided"
    average = result.metrics[0]
    assert (average.name, average.measured, average.window) == ("val/average_mAP", 6, (49, 59))
    assert average.delta == pytest.approx(0.0004)
    assert average.slope == pytest.approx(0.00015)
    assert average.slope_low is not None
    assert average.slope_high is not None
    assert average.slope_low < 0.00015 < average.slope_high
    against = {change.name: change.delta for change in result.metrics if change.against}
    assert against == {
        "val/mAP_0.6": pytest.approx(-0.0005),
        "train/cls_loss": pytest.approx(0.0008),
    }
    text = " ".join(result.sentences)
    assert "undecided. val/average_mAP is +0.040 points (68.60 % to 68.64 %)" in text
    assert "+0.015 points per epoch" in text
    assert "val/mAP_0.6 fell by 0.050 points" in text
    assert "no interval over them" in text
    assert len(result.metrics) == 9


def test_a_large_rise_is_better_and_a_large_fall_worse() -> None:
    change, verdict = head(noisy(0.005, 0.005), 1, 40)
    assert verdict == "better"
    assert change.improved
    assert head(noisy(-0.005, 0.005), 1, 40)[1] == "worse"


def test_scatter_alone_decides_rarely() -> None:
    """Without a trend, two epochs of one level: at most about 5 % are called different."""
    drawn = np.random.default_rng(1).normal(0.5, 0.05, (400, 12))
    said = [head(dict(enumerate(row.tolist(), start=1)), 11, 12)[1] for row in drawn]
    assert sum(verdict != "undecided" for verdict in said) <= 0.07 * len(said)


def test_a_difference_within_the_margin_decides_nothing() -> None:
    curve = {epoch: 0.3 + 0.0001 * epoch for epoch in range(1, 41)}
    change, verdict = head(curve, 1, 40)
    assert change.scatter == pytest.approx(0, abs=1e-9)
    assert verdict == "undecided"


def test_few_epochs_decide_nothing() -> None:
    assert head({1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.9}, 1, 5)[1] == "undecided"
    change, verdict = head({1: 0.1, 2: 0.9}, 1, 2)
    assert (change.slope, change.scatter, verdict) == (None, None, "undecided")


def test_the_trend_is_of_the_epochs_up_to_the_later_one() -> None:
    curve = noisy(0.005, 0.001)
    change, _ = head(curve, 30, 31)
    assert change.window == (20, 31)
    assert head(curve, 2, 31)[0].window == (2, 31)
    assert head(curve, 31, 30)[0].delta == pytest.approx(-(change.delta or 0))


def test_a_metric_without_direction_is_never_better() -> None:
    result = compare_epochs({"val/x": noisy(1.0, 0.1)}, {"val/x": None}, (1, 40), headline="val/x")
    assert result.verdict == "undecided"
    assert "nobody said which direction" in " ".join(result.sentences)


def test_losses_count_in_their_direction() -> None:
    result = compare_epochs(
        {"val/loss": {e: 5.0 - 0.1 * e for e in range(1, 21)}}, {"val/loss": "minimize"}, (1, 20),
        headline="val/loss",
    )  # fmt: skip
    assert (result.verdict, result.metrics[0].share) == ("better", False)
    assert "is −1.9 (4.9 to 3)" in result.sentences[0]


def test_nan_is_not_measured() -> None:
    curves = {"val/mAP": {1: 0.1, 2: float("nan")}, "val/loss": {1: 2.0, 2: 1.0}}
    result = compare_epochs(
        curves, {"val/mAP": "maximize", "val/loss": "minimize"}, (1, 2), headline="val/mAP"
    )
    assert "not measured at both" in result.sentences[0]
    assert result.metrics[0].delta is None


def test_one_sentence_for_each_bad_question() -> None:
    with pytest.raises(ComparisonError, match="against itself"):
        head({1: 0.1, 2: 0.2}, 1, 1)
    with pytest.raises(ComparisonError, match=r"both epoch 1 and epoch 7; its epochs: 1 to 2"):
        head({1: 0.1, 2: 0.2}, 1, 7)
    with pytest.raises(ComparisonError, match="no first event"):
        curves_of([])


def test_a_metric_may_be_named_without_its_split() -> None:
    keys = ("train/loss", "val/loss", "val/mAP")
    assert metric_named("mAP", keys) == "val/mAP"
    assert metric_named("loss", keys) == "val/loss"
    assert metric_named("train/loss", keys) == "train/loss"
    with pytest.raises(ComparisonError, match="no metric 'F1' in the run; there is: train/loss"):
        metric_named("F1", keys)


def test_numbers_have_two_digits_on_both_sides_of_a_power_of_ten() -> None:
    curve = {epoch: 0.68 + epoch * 0.00001 for epoch in range(1, 30)}
    result = compare_epochs(
        {"val/mAP": curve}, {"val/mAP": "maximize"}, (5, 29), headline="val/mAP"
    )
    assert "+0.0010 points per epoch (95 % interval +0.0010 to +0.0010" in result.sentences[1]


def test_curves_hold_the_last_value_of_each_epoch() -> None:
    events = [
        started(mAP="maximize", loss="minimize"),
        MetricsLogged(step=1, epoch=1, metrics={"train/loss": 3.0}),
        MetricsLogged(step=2, epoch=1, metrics={"train/loss": 2.0, "val/mAP": 0.1}),
        MetricsLogged(step=2, epoch=1, metrics={"best/val/mAP": 0.1}),
    ]
    curves, run = curves_of(Envelope(seq=i, time=i, event=e) for i, e in enumerate(events))
    assert curves == {"train/loss": {1: 2.0}, "val/mAP": {1: 0.1}}
    assert directions_of(run, curves) == {"train/loss": "minimize", "val/mAP": "maximize"}
