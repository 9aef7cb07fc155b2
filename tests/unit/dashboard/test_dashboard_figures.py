"""Figures, without Dash."""

import json
import subprocess
import sys

import numpy as np
import pytest
from plotly.utils import PlotlyJSONEncoder

from backend.core.comparisons import LayerChange
from dashboard.curves import Chart, Line, Style, Zoom
from dashboard.figures import studies
from dashboard.figures.comparison import forest, interval_text, telling, weights
from dashboard.figures.curves import COLORED, curve_figure
from dashboard.figures.theme import template, templates, tokens
from dashboard.palette import GREY
from tests.support.memory_store import filled_store, made_delta

STORE = filled_store()
STUDY = STORE.studies()[1]


def made_line(i: int, soft: bool = False) -> Line:
    x = np.arange(50.0)
    style = Style(f"run{i}", f"run {i}", "#0170d9", "solid", i == 0)
    return Line(style, x, x + i, (x, x + i + 0.5) if soft else None, 50, 0)


def made_chart(n: int, soft: bool = False) -> Chart:
    return Chart("train/loss", tuple(made_line(i, soft) for i in range(n)), "Step", False)


def test_one_trace_per_run_and_the_baseline_on_top() -> None:
    figure = curve_figure(made_chart(3), "", log=False, scheme="light")
    assert [trace.name for trace in figure.data] == ["run 2", "run 1", "run 0 ★"]
    widths = [trace.line.width for trace in figure.data]
    assert widths[-1] > max(widths[:-1])


def test_raw_values_stay_faint_behind_smoothed_ones() -> None:
    figure = curve_figure(made_chart(2, soft=True), "", log=False, scheme="dark")
    assert len(figure.data) == 4
    assert [t.opacity for t in figure.data[:2]] == [0.22, 0.22]
    assert all(t.hoverinfo == "skip" for t in figure.data[:2])


def test_beyond_thirty_runs_one_grey_line_with_gaps() -> None:
    figure = curve_figure(made_chart(COLORED + 5), "", log=False, scheme="light")
    assert len(figure.data) == COLORED + 1
    rest = figure.data[0]
    assert rest.line.color == GREY
    assert rest.name == "5 more runs"
    assert int(np.isnan(rest.y).sum()) == 5


def test_a_zoom_holds_while_its_axes_do() -> None:
    zoom = Zoom((10.0, 20.0), (0.0, 1.0), "Step", False)
    kept = curve_figure(made_chart(1), "", log=False, scheme="light", zoom=zoom)
    assert tuple(kept.layout.xaxis.range) == (10.0, 20.0)
    assert tuple(kept.layout.yaxis.range) == (0.0, 1.0)
    log = curve_figure(made_chart(1), "", log=True, scheme="light", zoom=zoom)
    assert tuple(log.layout.xaxis.range) == (10.0, 20.0)
    assert log.layout.yaxis.range is None
    assert log.layout.yaxis.type == "log"


def test_axes_are_named() -> None:
    figure = curve_figure(made_chart(1), "ms", log=False, scheme="light")
    assert figure.layout.xaxis.title.text == "Step"
    assert figure.layout.yaxis.title.text == "ms"


def test_light_and_dark_differ_only_in_colour() -> None:
    light, dark = (template(s).to_plotly_json()["layout"] for s in ("light", "dark"))
    assert light.keys() == dark.keys()
    assert light["font"]["color"] != dark["font"]["color"]
    assert tokens("no such scheme") == tokens("light")
    assert json.loads(json.dumps(templates(), cls=PlotlyJSONEncoder))["dark"]["layout"]


def test_a_forest_has_a_row_per_difference_in_the_colour_of_its_verdict() -> None:
    deltas = STORE.comparisons()[0].target.metrics
    figure = forest(deltas, 0.005, "light", "r")
    rows = {name: trace for trace in figure.data for name in trace.y}
    assert set(rows) == {"mAP50-95", "mAP50", "precision", "recall"}
    assert rows["mAP50-95"].name == "better"
    assert rows["recall"].name == "undecided"
    first = rows["mAP50-95"]
    assert first.x[0] - first.error_x.arrayminus[0] == pytest.approx(deltas[0].low)
    assert first.x[0] + first.error_x.array[0] == pytest.approx(deltas[0].high)
    assert [a.text for a in figure.layout.annotations] == [interval_text(d) for d in deltas]


def test_what_was_not_measured_is_no_row() -> None:
    deltas = STORE.comparisons()[0].target.per_class
    names = {name for trace in forest(deltas, 0.0, "dark", "r").data for name in trace.y}
    assert "digit 9" not in names
    assert len(names) == 9


def test_the_largest_differences_are_kept() -> None:
    deltas = [made_delta(f"c{i}", 0.5, 0.01 * (i - 20), "undecided") for i in range(40)]
    shown = telling(deltas, most=6)
    assert len(shown) == 6
    assert [d.delta for d in shown] == sorted((d.delta for d in shown), reverse=True)
    assert min(abs(d.delta) for d in shown) >= 0.17


def test_an_interval_may_be_unknown() -> None:
    bare = made_delta("m", 0.5, 0.1, "undecided").model_copy(update={"low": None, "high": None})
    assert interval_text(bare) == "+0.1000"
    assert forest([bare], 0.0, "light", "r").data[0].error_x.array == (0.0,)


def test_counts_are_written_as_counts() -> None:
    counts = {"unit": "count", "low": -1.25, "high": 3.0}
    row = made_delta("IDSW", 12.0, 1.0, "undecided").model_copy(update=counts)
    assert interval_text(row) == "+1  [−1.2, +3]"
    (trace,) = forest([row], 0.0, "light", "r").data
    assert tuple(trace.customdata[0][:2]) == ("12", "13")
    none = row.model_copy(update={"delta": 0.0, "low": -0.04, "high": 0.04})
    assert interval_text(none) == "0  [0, 0]"


def test_intervals_wider_than_any_difference_of_shares_run_off_the_axis() -> None:
    wide = made_delta("m", 0.5, 0.1, "undecided").model_copy(update={"low": -4.0, "high": 4.2})
    assert forest([wide], 0.0, "light", "r").layout.xaxis.range == (-1.02, 1.02)
    counts = wide.model_copy(update={"baseline": 40.0, "candidate": 44.0})
    assert forest([counts], 0.0, "light", "r").layout.xaxis.range is None


def test_weights_follow_the_network() -> None:
    layers = [
        LayerChange(layer="model.0", parameters=9, relative=0.0),
        LayerChange(layer="model.1", parameters=9, relative=0.2),
        LayerChange(layer="head", parameters=9, relative=None, note="other class count"),
    ]
    (bar,) = weights(layers, "light", "r").data
    assert list(bar.x) == ["model.0", "model.1"]
    assert list(bar.y) == [0.0, 0.2]


def test_history_shows_every_trial() -> None:
    figure = studies.history(STUDY, "light")
    by_name = {trace.name: trace for trace in figure.data}
    assert list(by_name) == ["Best so far", "Complete", "Pruned", "Failed", "Running"]
    shown = sum(len(t.x) for name, t in by_name.items() if name != "Best so far")
    assert shown == len(STUDY.trials)
    assert by_name["Best so far"].line.shape == "hv"
    assert list(by_name["Failed"].customdata) == ["CUDA out of memory at batch 64"]


def test_a_pruned_trial_stands_at_its_last_value() -> None:
    trials = [t.model_copy(update={"value": 0.3}) if t.state == "pruned" else t
              for t in STUDY.trials]  # fmt: skip
    figure = studies.history(STUDY.model_copy(update={"trials": tuple(trials)}), "light")
    (pruned,) = [trace for trace in figure.data if trace.name == "Pruned"]
    assert (list(pruned.y), pruned.yaxis) == ([0.3], "y")
    (failed,) = [trace for trace in figure.data if trace.name == "Failed"]
    assert (list(failed.y), failed.yaxis) == ([0], "y2")


def test_importance_is_sorted() -> None:
    (bar,) = studies.importance(STUDY, "light").data
    assert list(bar.y) == ["layer_decay", "optimizer.lr0", "freeze.strategy"]


def test_parallel_coordinates_end_at_the_value() -> None:
    (lines,) = studies.parallel(STUDY, "dark").data
    labels = [one.label for one in lines.dimensions]
    assert labels == [
        "strategy",
        "lr0 (log)",
        "layer_decay",
        "optimizer.layer_decay",
        STUDY.metric,
    ]
    assert all(len(one["values"]) == 7 for one in lines.dimensions)
    minimized = STUDY.model_copy(update={"direction": "minimize"})
    assert studies.parallel(minimized, "dark").layout.coloraxis.reversescale is True


def test_rate_scatter_has_a_colour_per_strategy_and_a_symbol_per_decay() -> None:
    figure = studies.rate_scatter(STUDY, "light")
    strategies = [t for t in figure.data if t.legend != "legend2"]
    keys = [t.name for t in figure.data if t.legend == "legend2"]
    assert [t.name for t in strategies] == ["backbone", "backbone+neck", "full", "head-only"]
    assert keys == ["no layer decay", "decay 0.65", "decay 0.8"]
    assert sum(len(t.x) for t in strategies) == 7
    assert figure.layout.xaxis.type == "log"
    full = next(t for t in strategies if t.name == "full")
    assert len(set(full.marker.symbol)) == 3


def test_figures_import_no_dash() -> None:
    code = (
        "import sys, dashboard.figures.studies, dashboard.figures.comparison, "
        "dashboard.figures.curves; print('dash' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
