"""*Studies* with two objectives: the front as a figure and as a table."""

from typing import Any

from dash import no_update

from backend.core.records import TrialRecord
from dashboard.components.front import absent, front_panel
from dashboard.figures import studies as figures
from dashboard.figures.front import pareto
from dashboard.pages import studies
from dashboard.trials import front_trials, roles
from tests.support.fronts import DOWN, FRONT, TRIALS, UP, made
from tests.support.memory_store import MemoryStore
from tests.support.shown import text_of


def store() -> MemoryStore:
    found = MemoryStore()
    found.study_list = [made()]
    return found


def traces() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for trace in pareto(made(), "light").data:
        found.setdefault(trace.name, []).append(trace)
    return found


def test_both_objectives_are_axes_and_the_front_bounds_what_was_reached() -> None:
    figure = pareto(made(), "light")
    assert figure.layout.xaxis.title.text == f"{DOWN} (lower is better)"
    assert figure.layout.yaxis.title.text == f"{UP} (higher is better)"
    (line,) = traces()["Pareto front"]
    assert list(line.x) == [-0.01, 0.05, 0.15, 0.30]
    assert list(line.y) == [0.30, 0.40, 0.55, 0.60]
    assert line.line.shape == "hv", "level first: to the right nothing better was reached"


def test_the_front_is_vivid_and_the_dominated_are_faint() -> None:
    vivid, faint = traces()["full"]
    assert [data[0] for data in vivid.customdata] == ["run-2", "run-5"]
    assert [data[0] for data in faint.customdata] == ["run-0"]
    assert faint.marker.opacity < 0.5 <= (vivid.marker.opacity or 1)
    assert vivid.marker.color == faint.marker.color
    assert [trace.showlegend for trace in (vivid, faint)] == [True, False]


def test_who_did_not_complete_stands_where_it_had_come_to() -> None:
    (failed,) = traces()["Failed"]
    assert (list(failed.x), list(failed.y)) == ([0.10], [0.20])
    assert "out of memory" in failed.customdata[0][1]
    assert "Stopped" not in traces()
    assert "1 trial ended without values and is not drawn: #7." in text_of(absent(made()))
    complete = made().model_copy(update={"trials": TRIALS[:6]})
    assert absent(complete) is None


def test_a_point_tells_all_of_its_trial_and_leads_to_its_run() -> None:
    (moderate, *_) = traces()["moderate"]
    run, told = moderate.customdata[0]
    assert run == "run-1"
    for words in (
        "Trial 1",
        "on the front",
        f"{UP} 0.4000",
        f"{DOWN} 0.0500",
        "strategy moderate",
    ):
        assert words in told


def test_the_table_is_the_front() -> None:
    assert [trial.number for trial in front_trials(made())] == list(FRONT)
    words = text_of(front_panel(made()))
    for number in (2, 5, 1, 4):
        assert f"#{number}" in words
    assert "#0" not in words
    assert f"{UP} ↑" in words
    assert f"{DOWN} ↓" in words
    assert "Compare them" in words
    assert front_panel(made().model_copy(update={"front": ()})) is None


def test_the_page_shows_front_and_both_values() -> None:
    _, _, summary, _, _, best, rows, columns = studies.describe(store(), ["both", ""])
    assert f"{UP}, maximized" in text_of(summary)
    assert f"{DOWN}, minimized" in text_of(summary)
    assert "Pareto front" in text_of(best)
    titles = [column["headerName"] for column in columns]
    assert titles[3:6] == [UP, DOWN, "Front"]
    by_number = {row["number"]: row for row in rows}
    assert (by_number[5]["value"], by_number[5]["value1"]) == (0.55, 0.15)
    assert [row["number"] for row in rows if row["front"]] == sorted(FRONT)


def test_the_charts_of_the_page() -> None:
    version = studies.notice(store(), "", "0", None)
    cards, _ = studies.draw(store(), version, "light", [])
    assert text_of(cards).count('"type": "Graph"') == 4
    assert "Click one to open its run" in text_of(cards)
    names = ("pareto", "importance", "rate", "parallel")
    shown = [{"name": f"{name} both"} for name in names]
    assert studies.draw(store(), version, "light", shown)[0] is no_update


def test_no_complete_trial_yet() -> None:
    running = TrialRecord(number=0, state="running", value=None, params={})
    young = made().model_copy(update={"trials": (running,), "front": ()})
    found = store()
    found.study_list = [young]
    cards, _ = studies.draw(found, studies.notice(found, "", "0", None), "light", [])
    assert "Needs a complete trial" in text_of(cards)


def test_importance_has_a_bar_for_each_objective() -> None:
    lower, upper = figures.importance(made(), "light").data
    assert (upper.name, lower.name) == (UP, DOWN), "drawn upwards: the first is on top"
    assert dict(zip(lower.y, lower.x, strict=True))["runner.optimizer.lr.all"] == 0.8


def test_parallel_coordinates_have_an_axis_for_each_objective() -> None:
    (lines,) = figures.parallel(made(), "light").data
    assert [one.label for one in lines.dimensions][-2:] == ["forgetting", "cls_HOTA"]


def test_parallel_axes_keep_their_distance_on_a_narrow_screen() -> None:
    """At 390 px the names of five axes lay over each other."""
    version = studies.notice(store(), "", "0", None)
    cards, _ = studies.draw(store(), version, "light", [])
    (lines,) = figures.parallel(made(), "light").data
    said = text_of(cards)
    assert f'"minWidth": "{88 * len(lines.dimensions)}px"' in said
    assert '"className": "scroll-x"' in said


def test_whole_numbers_are_not_parted_on_their_axis() -> None:
    trials = [
        t.model_copy(update={"params": {**t.params, "epochs": 1 + 2 * (t.number % 2)}})
        for t in made().trials
    ]
    (lines,) = figures.parallel(made().model_copy(update={"trials": trials}), "light").data
    ticks = {one.label: one.tickvals for one in lines.dimensions}
    assert list(ticks["epochs"]) == [1, 3]
    assert ticks["cls_HOTA"] is None


def test_the_rate_of_all_parameters_is_the_learning_rate() -> None:
    assert roles(made()).rate == "runner.optimizer.lr.all"
