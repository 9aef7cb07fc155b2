"""What is said of routers: dead, collapsed, undecided and so on, and why; and the findings."""

from typing import Any

import pytest

from backend.analysis.experts import Judgement, judge
from backend.core.experts import ExpertReport
from tests.support.expert_reports import report, router

SIX = ("car", "truck", "bus", "person", "bicycle", "motorcycle")


def six(*routers_: tuple[str, tuple[float, ...], float], k: int = 2, **more: Any) -> ExpertReport:
    """A report of six experts; each router has its name, usage and routing entropy's share."""
    made = tuple(router(name, *usage, routing=routing) for name, usage, routing in routers_)
    return report(
        experts=SIX, groups=tuple((name,) for name in SIX), classes=SIX, routers=made, k=k, **more
    )


EVEN = (1 / 6,) * 6
DEAD = (0.3, 0.3, 0.2, 0.19, 0.01, 0.0)
ONE_PAIR = (0.5, 0.5, 0.0, 0.0, 0.0, 0.0)
LEANING = (0.8, 0.1, 0.04, 0.02, 0.02, 0.02)


def by_rule(found: ExpertReport) -> dict[str, Judgement]:
    return {judgement.rule: judgement for judgement in judge(found)}


def test_nothing_is_said_of_a_router_that_is_neither_uneven_nor_undecided() -> None:
    assert judge(six(("token", EVEN, 0.5), ("query/0", EVEN, 0.05))) == ()


def test_dead_experts_are_named_with_where_and_how_little() -> None:
    found = by_rule(six(("token", DEAD, 0.5), ("query/0", EVEN, 0.5), ("query/1", DEAD, 0.5)))
    assert set(found) == {"dead"}
    dead = found["dead"]
    assert dead.experts == ("bicycle", "motorcycle")
    assert dead.routers == ("token", "query/1")
    assert dead.said == (
        "bicycle got 1.0 % of the choices, far below an even share (the token router and the "
        "query router of layer 1); motorcycle was never chosen (the token router and the query "
        "router of layer 1)"
    )


def test_collapse_is_uneven_use_by_a_sure_router() -> None:
    found = by_rule(six(("token", ONE_PAIR, 0.05)))
    assert found["collapsed"].experts == ()
    assert "routing entropy 0.05, usage entropy 0.39 of ln E" in found["collapsed"].said
    assert "unbalanced" not in found, "the graver word is enough"


def test_uneven_use_by_an_unsure_router_is_not_collapse() -> None:
    found = by_rule(six(("token", LEANING, 0.5)))
    assert set(found) == {"unbalanced"}


def test_a_sure_router_that_uses_all_is_what_one_wants() -> None:
    assert "collapsed" not in by_rule(six(("query/0", EVEN, 0.01)))


@pytest.mark.parametrize(("share", "said"), [(0.94, False), (0.96, True)])
def test_a_router_near_the_bound_is_undecided(share: float, said: bool) -> None:
    assert ("undecided" in by_rule(six(("token", EVEN, share)))) is said


def test_layers_are_judged_one_by_one() -> None:
    """One collapsed layer does not hide behind the mean of the others."""
    layers = [(f"query/{i}", EVEN, 0.5) for i in range(5)]
    found = by_rule(six(*layers, ("query/5", ONE_PAIR, 0.02)))
    assert found["collapsed"].routers == ("query/5",)
    every = by_rule(six(("query/0", ONE_PAIR, 0.02), ("query/1", ONE_PAIR, 0.03)))
    assert "(every query router; routing entropy 0.02 to 0.03, usage" in every["collapsed"].said
    both = by_rule(six(("token", ONE_PAIR, 0.0), ("query/0", ONE_PAIR, 0.0)))
    assert "(the token router and the query router of layer 0; " in both["collapsed"].said


def test_every_expert_at_once_says_nothing_of_usage() -> None:
    found = by_rule(six(("token", EVEN, 0.5), k=6))
    assert set(found) == {"uninformative"}
    assert "top-k is 6 of 6" in found["uninformative"].said


def test_experts_that_a_prompt_skipped_are_not_judged() -> None:
    found = by_rule(six(("token", DEAD, 0.5), ("query/0", ONE_PAIR, 0.05), pruned=True))
    assert set(found) == {"pruned"}
    assert "skipped for the prompt" in found["pruned"].said


def test_one_expert_has_no_entropy_to_judge() -> None:
    alone = report(experts=("a",), groups=(("x", "y"),), routers=(router("token", 1.0),))
    assert set(by_rule(alone)) == {"uninformative"}


def test_an_empty_pass_is_not_judged() -> None:
    nothing = router("token", 0.5, 0.5).model_copy(
        update={"routing_entropy": float("nan"), "usage_entropy": float("nan")}
    )
    assert judge(report(routers=(nothing,))) == ()


def test_overloaded_and_dropped_are_told_last() -> None:
    full = router("token", *LEANING, overloaded=(0,), dropped=0.125)
    found = judge(report(experts=SIX, routers=(full,)))
    assert [judgement.rule for judgement in found] == ["unbalanced", "overloaded", "dropped"]
    assert (
        found[1].said
        == "car got 80.0 % of the choices, far above an even share (the token router)"
    )
    assert "up to 12.5 % of the choices" in found[2].said
