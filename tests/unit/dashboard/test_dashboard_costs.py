"""*Studies*: what trials took, in the table and as figures."""

from typing import Any

from backend.analysis.costs import COSTS, Cost
from backend.core.records import Costs
from dashboard.figures.front import priced
from dashboard.pages import studies
from dashboard.trial_table import columns, trial_rows
from tests.support.memory_store import MemoryStore
from tests.support.priced import TRIALS, made, trial
from tests.support.shown import text_of

BY_KEY: dict[str, Cost] = {cost.key: cost for cost in COSTS}


def traces(key: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for trace in priced(made(), BY_KEY[key], "light").data:
        found.setdefault(trace.name, []).append(trace)
    return found


def test_the_table_has_a_column_of_each_cost() -> None:
    titles = {column.get("headerName"): column["field"] for column in columns(made())}
    assert titles["Trainable parameters"] == "cost_trainable"
    assert titles["Minutes per epoch"] == "cost_minutes"
    assert titles["Peak GPU memory (GiB)"] == "cost_device"
    rows = trial_rows(made(), [])
    assert (rows[1]["cost_trainable"], rows[1]["cost_trainable_text"]) == (1_900_000, "1.9 M")
    assert (rows[6]["cost_minutes"], rows[6]["cost_minutes_text"]) == (None, "")


def test_without_costs_there_are_no_columns() -> None:
    old = made((trial(0, "full", 0.5, Costs()),))
    assert not [c for c in columns(old) if str(c["field"]).startswith("cost_")]
    assert studies.costs(old) == {}


def test_the_front_goes_from_cheap_to_good() -> None:
    (line,) = traces("minutes")["Best for its cost"]
    assert list(line.x) == [2.0, 7.0, 8.0, 10.0]
    assert list(line.y) == [0.593, 0.600, 0.628, 0.687]
    assert line.line.shape == "hv", "to the right nothing better was reached"


def test_a_point_tells_its_strategy_and_leads_to_its_run() -> None:
    (adapter,) = traces("trainable")["adapter"]
    run, told = adapter.customdata[0]
    assert run == "run-1"
    for words in ("Trial 1", "on the front", "0.6280", "parameters 1.9 M", "strategy adapter"):
        assert words in told
    (layers,) = traces("trainable")["last-layers"]
    assert layers.marker.opacity < 0.5
    assert "dominated" in layers.customdata[0][1]
    (stopped,) = traces("trainable")["Stopped"]
    assert list(stopped.y) == [0.300]
    assert "Failed" not in traces("trainable"), "it has neither a value nor costs"


def test_costs_far_apart_are_drawn_by_ratios() -> None:
    figure = priced(made(), BY_KEY["trainable"], "light")
    assert figure.layout.xaxis.type == "log"
    assert "1 M" in figure.layout.xaxis.ticktext
    assert priced(made(), BY_KEY["minutes"], "light").layout.xaxis.type != "log"


def test_the_page_draws_each_cost_in_which_trials_differ() -> None:
    same = tuple(
        one.model_copy(update={"costs": one.costs.model_copy(update={"seconds": 60.0})})
        for one in TRIALS
    )
    assert list(studies.costs(made(same))) == ["cost-trainable", "cost-device"]
    store = MemoryStore()
    store.study_list = [made()]
    shown, patches = studies.draw(store, ["modes", "digest"], "light", [])
    assert patches == []
    words = text_of(shown)
    assert "What more buys" in words
    assert "what torch allocated" in words
