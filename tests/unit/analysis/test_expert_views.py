"""Moments, routers and studies, as a person picks them."""

import pytest

from backend.analysis.experts.views import (
    conditions,
    find_router,
    find_top_k,
    has_experts,
    moment_of,
    moments,
    report_of,
    router_names,
    top_k_points,
    with_router,
)
from backend.core.records import StudyRecord, TrialRecord
from tests.support.expert_reports import router
from tests.support.expert_runs import Scene, expert_store, made_reports

SHORT = Scene(validations=2, tokens=200)
REPORTS = made_reports(SHORT)


def test_moments_are_the_steps_and_the_final_evaluation() -> None:
    assert moments(REPORTS) == ["50", "100", "final"]
    assert moments(REPORTS[:2]) == ["50", "100"]
    assert report_of(REPORTS, "100").solo_ap is None
    assert report_of(REPORTS, "final").solo_ap is not None
    assert report_of(REPORTS, "no such step") is REPORTS[-1]
    assert moment_of(REPORTS[:2], "final") == "100"


def test_the_last_layer_comes_first_and_stands_in_for_unknown_routers() -> None:
    report = REPORTS[0]
    assert router_names(report) == ["query/1", "query/0", "token"]
    assert find_router(report, "").name == "query/1"
    assert find_router(report, "token").name == "token"
    assert [one.name for one in with_router(report, "query/0").routers] == ["query/0"]


def test_an_unused_expert_is_not_called_dead_as_well() -> None:
    made = router("token", 0.0, 0.02, 0.98, overloaded=(2,))
    assert conditions(made) == ["unused", "dead", "overloaded"]


def test_a_dense_run_and_one_of_another_trainer_have_no_experts() -> None:
    store = expert_store(1)
    run = store.run("experts-a")
    assert has_experts(run)
    assert not has_experts(store.run("dense"))
    assert not has_experts(run.model_copy(update={"params": {"kind": "yolo"}}))


def test_finished_trials_come_with_their_cost_and_dense_ones_last() -> None:
    store = expert_store(1)
    study = store.studies()[0]
    waiting = TrialRecord(number=9, state="running", value=None, params={"moe.top_k": 1})
    lost = TrialRecord(number=10, state="complete", value=0.1, params={"moe.top_k": 1}, run="gone")
    study = study.model_copy(update={"trials": (*study.trials, waiting, lost)})
    points = top_k_points(study, store.runs())
    found = [(p.configuration, p.k) for p in points]
    assert found == [("", 1), *((c, k) for c in ("A", "B", "dense") for k in (1, 2, 3))]
    assert points[0].gflops is None
    assert [p.gflops for p in points[1:4]] == pytest.approx([1.23, 1.41, 1.59])


def test_the_study_is_the_wanted_one_or_the_newest_over_top_k() -> None:
    made = expert_store(1).studies()[0]
    older = made.model_copy(update={"name": "older"})
    other = StudyRecord(name="lr", metric="m", direction="maximize", target=1, trials=())
    assert find_top_k([other, made, older], "lr", "older") is older
    assert find_top_k([other, made, older], "gone") is made
    assert find_top_k([other]) is None
