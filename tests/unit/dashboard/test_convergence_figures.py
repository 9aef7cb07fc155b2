"""Figures of *Convergence*: numbers in, lines, levels and marks out."""

import math
from itertools import pairwise

import numpy as np

from backend.analysis.diagnostics.views import Gap, Mark, bars_of
from backend.core.evidence import PredictionHistogram
from dashboard.curves import Style, line
from dashboard.figures import convergence as figures
from dashboard.figures import predictions
from dashboard.figures.convergence import Drawn, Timeline, Track
from dashboard.figures.judging import Steps

STYLE = Style("a", "run a", "#0170d9", "solid", False)
HOW, LOG = Drawn("light", "r"), Drawn("dark", "r", log=True)
NOWHERE = Steps()


def track(kind: str = "val", *values: float) -> Track:
    y = list(values or (3.0, 2.0, 1.0))
    return Track(line(STYLE, np.arange(1.0, len(y) + 1) * 10, y), kind)  # type: ignore[arg-type]


def test_validation_is_solid_over_dotted_training() -> None:
    figure = figures.curve([track("val"), track("train")], {}, "Loss", NOWHERE, HOW)
    assert [(t.name, t.line.dash) for t in figure.data] == [
        ("run a, training", "dot"), ("run a, validation", "solid"),
    ]  # fmt: skip
    assert not figure.layout.showlegend


def test_levels_span_the_curves_and_are_named_with_their_values() -> None:
    figure = figures.curve([track()], {"constant": 0.815, "position": 0.762}, "Loss", NOWHERE, HOW)
    levels = figure.data[1:]
    assert [level.name for level in levels] == ["constant 0.815", "position 0.762"]
    assert {tuple(level.x) for level in levels} == {(10.0, 30.0)}
    assert len({level.line.dash for level in levels}) == 2
    assert figure.layout.showlegend
    assert all(trace.showlegend is False for trace in figure.data[:1])


def test_a_log_axis_leaves_out_levels_that_it_cannot_show() -> None:
    figure = figures.curve([track()], {"no gap": 0.0, "one": 1.0}, "Loss", NOWHERE, LOG)
    assert [level.name for level in figure.data[1:]] == ["one 1"]
    assert figure.layout.yaxis.type == "log"
    assert {1.0, 2.0} <= set(figure.layout.yaxis.tickvals)


def test_nothing_but_zeros_stands_on_the_ground() -> None:
    figure = figures.curve([track("only", 0.0, 0.0)], {}, "val/edit", NOWHERE, HOW)
    assert tuple(figure.layout.yaxis.range) == (-0.05, 1)
    assert figures.curve([track()], {}, "Loss", NOWHERE, HOW).layout.yaxis.range is None


def test_levels_without_a_curve_are_not_drawn() -> None:
    assert len(figures.curve([], {"constant": 1.0}, "Loss", NOWHERE, HOW).data) == 0


def test_rules_are_marked_at_their_steps_and_near_ones_share_a_word() -> None:
    at = Steps(warm=5, findings={20: "B03", 21: "B01", 30: "B05"})
    figure = figures.curve([track()], {}, "Loss", at, HOW)
    assert [shape.x0 for shape in figure.layout.shapes] == [5, 20, 21, 30]
    assert [note.text for note in figure.layout.annotations] == ["B03, B01", "B05"]


def test_the_course_has_loss_events_and_rate_over_one_axis() -> None:
    happened = [
        Timeline("run a", "#111", [Mark("checkpoint", 10, "checkpoint, epoch 1"),
                                   Mark("recovery", 20, "ran out of device memory")]),
        Timeline("run b", "#222", []),
    ]  # fmt: skip
    rates = [("lr/all", track().line)]
    figure = figures.course([track()], {}, rates, happened, Steps(warm=10), HOW)
    marks = [t for t in figure.data if t.yaxis == "y2"]
    assert [(t.x[0], t.y[0], t.customdata[0]) for t in marks] == [
        (10, 0, "checkpoint, epoch 1"), (20, 0, "ran out of device memory"),
    ]  # fmt: skip
    assert [t.name for t in figure.data if t.yaxis == "y3"] == ["run a, lr/all"]
    rows = [figure.layout[axis].domain for axis in ("yaxis3", "yaxis2", "yaxis")]
    assert all(below[1] <= above[0] for below, above in pairwise(rows))
    assert [note.text for note in figure.layout.annotations] == ["warm-up ends"]


def test_a_course_without_a_rate_ends_at_its_events() -> None:
    figure = figures.course([track()], {}, [], [], NOWHERE, HOW)
    assert figure.layout.xaxis.anchor == "y2"
    assert "yaxis3" not in figure.layout


def test_parts_of_the_network_are_coloured_in_order_on_a_log_axis() -> None:
    lines = [("encoder", [10, 20], [1e-3, 0.0]), ("heads", [10, 20], [2e-3, 1e-5])]
    figure = figures.network(lines, "Update", (1e-4, 1e-2), {"low": 1e-6}, NOWHERE, HOW)
    first, last, _ = figure.data
    assert math.isnan(first.y[1])
    assert first.line.color != last.line.color
    band = figure.layout.shapes[0]
    assert (band.y0, band.y1) == (1e-4, 1e-2)
    assert figure.layout.yaxis.type == "log"


def test_depth_colours_are_as_many_as_parts_and_differ() -> None:
    assert [len(set(figures.depth_colors(n))) for n in (0, 1, 2, 9)] == [0, 1, 2, 9]


def test_a_gap_stands_beside_the_one_that_labels_explain() -> None:
    one = Gap([10, 20], [0.01, 0.02], [0.05, None], 0.004, "position")
    figure = figures.gap([("run a", "#111", one)], one, NOWHERE, HOW)
    assert [t.name for t in figure.data[1:]] == [
        "no gap 0", "explained by the labels (position) 0.004",
    ]  # fmt: skip
    assert list(figure.data[0].customdata[0]) == ["+5%", "0.0060"]
    assert figure.data[0].customdata[1][0] == "–"


def test_shares_are_in_percent() -> None:
    figure = figures.shares([("run a", "#111", [10], [0.95])], "Steps clipped", HOW)
    assert figure.layout.yaxis.tickformat == ".0%"
    assert figure.data[0].y == (0.95,)


HISTOGRAM = PredictionHistogram(
    output="event", background="none", truth={"none": 90, "hit": 10},
    predicted={"none": 99, "hit": 1}, quantiles={"0.5": 0.1, "1": 0.7, "0.99": 0.6}, auroc=0.9,
)  # fmt: skip


def test_truth_and_prediction_stand_side_by_side() -> None:
    truth, said = predictions.labels(bars_of(HISTOGRAM), "#111", "light", "r").data
    assert (truth.name, list(truth.x)) == ("truth", [10])
    assert (said.name, list(said.x), said.marker.color) == ("predicted", [1], "#111")


def test_scores_are_quantiles_from_the_highest_down() -> None:
    figure = predictions.scores([(10, HISTOGRAM), (20, HISTOGRAM)], "light", "r")
    assert [t.name for t in figure.data] == ["highest", "99 %", "50 %"]
    assert list(figure.data[0].y) == [0.7, 0.7]


def test_ranking_is_shown_over_chance() -> None:
    blind = HISTOGRAM.model_copy(update={"auroc": None})
    figure = predictions.ranking([("event", [(10, blind), (20, HISTOGRAM)])], "light", "r")
    assert list(figure.data[0].x) == [20]
    assert (figure.data[1].name, list(figure.data[1].y)) == ("chance 0.5", [0.5, 0.5])
