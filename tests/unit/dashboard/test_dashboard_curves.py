"""From series to lines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.records import Checkpoint, Series
from dashboard.curves import (
    CHART_POINTS,
    POINTS,
    RECOVERIES,
    Selection,
    Style,
    Zoom,
    caption,
    chart,
    downsampled,
    epoch_scale,
    line,
    positions,
    smoothed,
    styles,
    time_unit,
    window,
)
from dashboard.figures.curves import traces
from dashboard.palette import DASHES, RUN_COLORS, run_color
from tests.support.memory_store import filled_store

STYLE = Style("a", "run a", "#000000", "solid", False)


def checkpoint(step: int, epoch: int) -> Checkpoint:
    return Checkpoint(path="/made/x", sha256="0", step=step, epoch=epoch)


@given(st.floats(0.01, 0.99), st.floats(-5, 5))
def test_smoothing_leaves_a_constant_alone(weight: float, level: float) -> None:
    x = np.arange(50.0)
    assert smoothed(x, np.full(50, level), weight) == pytest.approx(np.full(50, level))


def test_smoothing_starts_at_the_first_value_and_lags() -> None:
    x = np.arange(100.0)
    y = np.where(x < 50, 0.0, 1.0)
    soft = smoothed(x, y, 0.9)
    assert soft[0] == 0
    assert 0 < soft[51] < 0.9
    assert soft[-1] > 0.8


def test_smoothing_weighs_by_distance_in_x() -> None:
    """After a long gap the past counts less: that is what time-weighted means."""
    y = np.array([0.0, 0.0, 1.0])
    near = smoothed(np.array([0.0, 999.0, 1000.0]), y, 0.5)[-1]
    far = smoothed(np.array([0.0, 1.0, 1000.0]), y, 0.5)[-1]
    assert far > near


def test_smoothing_copes_with_one_place() -> None:
    assert smoothed(np.array([3.0, 3.0]), np.array([1.0, 2.0]), 0.5).tolist() == [1.0, 1.5]


def test_downsampling_keeps_a_spike() -> None:
    x = np.arange(100_000.0)
    y = np.zeros_like(x)
    y[54_321] = 9.0
    few_x, few_y = downsampled(x, y)
    assert len(few_x) <= POINTS
    assert few_y.max() == 9.0
    assert few_x[0] == 0
    assert few_x[-1] == 99_999


@pytest.mark.parametrize(
    "x",
    [
        np.zeros(5000),
        np.r_[0.0, np.ones(4999)],
        np.r_[np.arange(2500.0), 1e6 + np.arange(2500.0)],
    ],
    ids=["one place", "nearly one place", "a pause of days"],
)
def test_downsampling_gives_its_points_however_they_lie(x: np.ndarray) -> None:
    few_x, few_y = downsampled(x, np.sin(np.arange(len(x))))
    assert len(few_x) == len(few_y) == POINTS
    assert (few_x[0], few_x[-1]) == (x[0], x[-1])
    assert np.all(np.diff(few_x) >= 0)


def test_short_lines_are_not_touched() -> None:
    x = np.arange(POINTS, dtype=float)
    assert downsampled(x, x)[0] is x


@given(st.floats(-10, 110), st.floats(0, 50))
def test_a_window_holds_its_range_and_one_point_beyond(low: float, width: float) -> None:
    x = np.arange(100.0)
    part = x[window(x, low, low + width)]
    inside = x[(x >= low) & (x <= low + width)]
    assert set(inside) <= set(part)
    assert len(part) <= len(inside) + 2


def test_epochs_come_from_checkpoints() -> None:
    two = epoch_scale([checkpoint(200, 5), checkpoint(400, 10)])
    one = epoch_scale([checkpoint(400, 10)])
    assert two is not None
    assert one is not None
    assert two(np.array([40.0, 960.0])).tolist() == pytest.approx([1.0, 24.0])
    assert one(np.array([40.0])).tolist() == pytest.approx([1.0])
    assert epoch_scale([]) is None


def test_axes() -> None:
    series = Series(steps=(10, 20), values=(1.0, 2.0), times=(100.0, 160.0))
    assert positions(series, "step", 90.0, None).tolist() == [10, 20]
    assert positions(series, "time", 90.0, None).tolist() == [10, 70]
    assert positions(series, "epoch", 90.0, None) is None
    assert time_unit(30) == (1.0, "s")
    assert time_unit(7200) == (3600.0, "h")


def test_numbers_that_are_none_are_counted_and_left_out() -> None:
    drawn = line(STYLE, np.arange(4.0), (1.0, float("nan"), float("inf"), 2.0))
    assert drawn.y.tolist() == [1.0, 2.0]
    assert drawn.broken == 2


def test_few_points_are_never_smoothed() -> None:
    values = tuple(np.linspace(0, 1, 19))
    assert line(STYLE, np.arange(19.0), values, smooth=0.9).raw is None
    longer = line(STYLE, np.arange(20.0), (*values, 1.0), smooth=0.9)
    assert longer.raw is not None
    assert longer.y[-1] < longer.raw[1][-1]


def test_unsorted_steps_are_sorted() -> None:
    assert line(STYLE, np.array([2.0, 1.0]), (20.0, 10.0)).y.tolist() == [10.0, 20.0]


def selection(keys: list[str], axis: str = "step") -> tuple[Selection, dict]:
    runs = [
        run.model_copy(update={"key": key})
        for key, run in zip(keys, filled_store().runs(), strict=False)
    ]
    long = Series(
        steps=tuple(range(5000)),
        values=tuple(np.sin(np.arange(5000) / 50)),
        times=tuple(runs[0].started + np.arange(5000.0)),
    )
    data = {(key, "train/loss"): long for key in keys}
    return Selection(runs, styles(runs, keys[0]), axis, 0.0, {}), data


def test_a_chart_says_how_many_points_it_shows() -> None:
    chosen, data = selection(["a", "b"])
    made = chart(chosen, data, "train/loss")
    assert made.refinable
    assert all(one.shown <= POINTS for one in made.lines)
    assert caption(made) == "2,000 of 10,000 points shown"


def test_many_lines_share_a_budget() -> None:
    chosen, data = selection([f"run{i}" for i in range(10)])
    made = chart(chosen, data, "train/loss")
    assert sum(one.shown for one in made.lines) <= CHART_POINTS


def test_a_zoom_shows_all_points_of_its_range() -> None:
    chosen, data = selection(["a"])
    made = chart(chosen, data, "train/loss", Zoom((100.0, 400.0), None, "Step", False))
    assert caption(made) == "303 points"
    other_axis = Zoom((100.0, 400.0), None, "Epoch", False)
    assert "of 5,000" in caption(chart(chosen, data, "train/loss", other_axis))


def test_time_has_a_unit() -> None:
    chosen, data = selection(["a"], axis="time")
    made = chart(chosen, data, "train/loss")
    assert made.x_title == "Time since start (min)"
    assert made.lines[0].x[-1] == pytest.approx(4999 / 60)


def test_runs_without_the_axis_are_left_out() -> None:
    chosen, data = selection(["a"], axis="epoch")
    assert chart(chosen, data, "train/loss").lines == ()
    assert chart(chosen, {}, "train/loss").lines == ()


def test_a_runs_colour_never_changes_and_collisions_differ_by_dash() -> None:
    runs = filled_store().runs()
    made = styles(runs, runs[3].key)
    assert made[0].key == runs[3].key
    assert made[0].baseline
    assert all(one.color == run_color(one.key) for one in made)
    looks = [(one.color, one.dash) for one in made]
    assert len(set(looks)) == len(looks)
    assert run_color("test-near-domain-03") == "#d03a2a"
    assert len(set(RUN_COLORS)) == 16
    assert len(set(DASHES)) == 4


def test_a_recovery_is_a_mark_on_the_curve_of_its_run() -> None:
    chosen, data = selection(["a", "b"])
    data["b", RECOVERIES] = Series(
        steps=(-5, 100, 9000), values=(1.0, 2.0, 3.0), times=(0.0, 1.0, 2.0)
    )
    lines = {one.style.key: one for one in chart(chosen, data, "train/loss").lines}
    assert lines["a"].marks is None
    assert lines["b"].marks is not None
    x, y = lines["b"].marks
    assert x.tolist() == [0, 100]  # before the curve, on it; the last one lies beyond
    assert y == pytest.approx(np.sin(x / 50), abs=0.01)
    assert traces(list(lines.values()))[-1]["marker"]["symbol"] == "triangle-down"
    zoomed = chart(chosen, data, "train/loss", Zoom((50.0, 200.0), None, "Step", False))
    assert [one.marks[0].tolist() for one in zoomed.lines if one.marks] == [[100]]
