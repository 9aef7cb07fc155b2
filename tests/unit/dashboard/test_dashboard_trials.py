"""Numbers of studies."""

import pytest

from backend.core.records import StudyRecord, TrialRecord
from dashboard.trials import (
    ABSENT,
    best_so_far,
    best_trial,
    complete,
    dimensions,
    log_ticks,
    roles,
    short_names,
    states,
)
from tests.support.memory_store import filled_store


def study(*values: float | None, direction: str = "maximize") -> StudyRecord:
    trials = tuple(
        TrialRecord(
            number=i,
            state="pruned" if v is None else "complete",
            value=v,
            params={"lr0": 10.0**-i},
        )
        for i, v in enumerate(values)
    )
    return StudyRecord(
        name="s", metric="val/loss", direction=direction, target=9, trials=trials, best=0
    )


def test_best_so_far_reaches_the_last_trial() -> None:
    assert best_so_far(study(0.2, 0.1, 0.4, None)) == ([0, 1, 2, 3], [0.2, 0.2, 0.4, 0.4])
    assert best_so_far(study(0.2, 0.1, direction="minimize")) == ([0, 1], [0.2, 0.1])
    assert best_so_far(study()) == ([], [])


def test_states_are_counted_in_order() -> None:
    made = filled_store().studies()[0]
    assert states(made) == {"complete": 7, "running": 1, "pruned": 1, "failed": 1}
    assert len(complete(made)) == 7
    assert best_trial(made).number == made.best


def test_roles_are_found_by_the_end_of_the_name() -> None:
    found = roles(filled_store().studies()[0])
    assert found.rate == "optimizer.lr0"
    assert found.strategy == "freeze.strategy"
    assert found.decay == "optimizer.layer_decay"
    assert roles(study()).rate is None


def test_dimensions_are_logarithmic_categorical_and_conditional() -> None:
    by_name = {one.name: one for one in dimensions(filled_store().studies()[1])}
    assert by_name["optimizer.lr0"].log
    assert set(by_name["freeze.strategy"].labels) == {
        "full", "backbone", "backbone+neck", "head-only",
    }  # fmt: skip
    assert by_name["optimizer.layer_decay"].labels == (ABSENT, "0.65", "0.8")
    assert by_name["layer_decay"].labels == (ABSENT, "off", "on")


def test_a_parameter_that_never_varies_is_no_axis() -> None:
    assert dimensions(study(0.1)) == []


def test_names_are_short_where_that_is_clear() -> None:
    assert short_names(["a.lr0", "b.decay", "decay"]) == ["lr0", "b.decay", "decay"]


@pytest.mark.parametrize(("low", "high"), [(1e-4, 2e-2), (2e-4, 8e-4), (1.0, 1.0)])
def test_ticks_cover_the_range(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert min(ticks) <= low
    assert max(ticks) >= high
    assert ticks == sorted(ticks)
