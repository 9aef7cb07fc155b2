"""B14: experts that are used badly."""

from typing import Any

from backend.analysis.diagnostics.evidence import Evidence, evidence_of
from backend.analysis.diagnostics.rules.b14_experts import RULE
from backend.core.events import Event, ExpertsObserved, MetricsLogged, RunStarted
from backend.core.evidence import TrainingPlan
from backend.core.experts import RouterReport
from tests.support.expert_reports import report, router
from tests.support.rule_checks import clear, fired, unknown

EVEN = (0.25, 0.25, 0.25, 0.25)


def run(
    *usages: tuple[float, ...], routing: float = 0.5, planned: int = 100, **changes: Any
) -> Evidence:
    """A validation with each of these loads of four experts."""
    plan = TrainingPlan(steps=planned, steps_per_epoch=10, warmup_steps=10)
    events: list[Event] = [
        RunStarted(trainer="moe", epochs=10, headline="val/mAP", metrics=(), data=(),
                   environment={}, plan=plan)
    ]  # fmt: skip
    for place, usage in enumerate(usages, 1):
        seen = report(
            step=10 * place, experts=("a", "b", "c", "d"), k=1,
            routers=(router("token", *usage, routing=routing),),
        ).model_copy(update=changes)  # fmt: skip
        events.append(MetricsLogged(step=10 * place, epoch=place, metrics={"val/mAP": 0.1}))
        events.append(ExpertsObserved(report=seen))
    return evidence_of(events)


def test_one_expert_takes_all() -> None:
    taken = (0.82, 0.06, 0.06, 0.06)
    found = fired(RULE, run(taken, taken, taken))
    assert found.severity == "error"
    assert "sends 82% of its choices to a" in found.headline
    assert [turn.role for turn in found.advice.study] == ["balance", "top_k"]
    assert found.advice.study[0].times == (3, 10)


def test_choices_that_still_spread_are_waited_for() -> None:
    first, second, third = (
        (0.97, 0.01, 0.01, 0.01),
        (0.9, 0.04, 0.03, 0.03),
        (0.82, 0.06, 0.06, 0.06),
    )
    clear(RULE, run(first, second, third))
    assert fired(RULE, run(first, second, third, third, third)).severity == "error"
    assert fired(RULE, run(third, second, first)).severity == "error"


def test_one_of_two_experts_takes_nearly_all() -> None:
    routers = (router("token", 0.82, 0.18),)
    experts = ("a", "b")
    assert fired(RULE, run(EVEN, EVEN, EVEN, routers=routers, experts=experts)).severity == "error"
    clear(RULE, run(EVEN, EVEN, EVEN, routers=(router("token", 0.78, 0.22),), experts=experts))


def test_few_experts_do_the_work() -> None:
    two = (0.49, 0.49, 0.01, 0.01)
    assert "collapsed" not in fired(RULE, run(two, two, two)).headline
    crowded = (0.8, 0.12, 0.04, 0.04)
    assert "uses 2.0 of 4 experts" in fired(RULE, run(crowded, crowded, crowded)).headline
    clear(RULE, run(crowded, crowded, crowded, k=4))
    two = (0.55, 0.35, 0.05, 0.05)
    clear(RULE, run(two, two, two))
    assert fired(RULE, run(two, two, two, k=3)).severity == "error"


def test_a_router_that_is_sure_and_uneven_has_collapsed() -> None:
    uneven = (0.76, 0.08, 0.08, 0.08)
    assert fired(RULE, run(uneven, uneven, uneven, routing=0.05)).severity == "error"
    clear(RULE, run((0.6, 0.14, 0.13, 0.13), (0.6, 0.14, 0.13, 0.13), EVEN, routing=0.05))


def test_a_dead_expert() -> None:
    dead = (0.33, 0.33, 0.33, 0.01)
    found = fired(RULE, run(EVEN, dead, dead, dead))
    assert found.severity == "warning"
    assert "d got 1.0 %" in found.headline
    clear(RULE, run(dead, dead, EVEN))
    clear(RULE, run(dead, EVEN, dead))


def test_another_dead_expert_each_time_is_none() -> None:
    clear(RULE, run((0.33, 0.33, 0.33, 0.01), (0.33, 0.33, 0.01, 0.33), (0.33, 0.33, 0.33, 0.01)))


def test_a_load_of_more_than_four_shares() -> None:
    usage = (0.55, 0.15, *[0.05] * 6)
    experts = tuple("abcdefgh")
    found = fired(RULE, run(usage, usage, usage, experts=experts, k=2))
    assert (found.severity, "unevenly" in found.headline) == ("warning", True)
    less = (0.49, 0.16, 0.1, *[0.05] * 5)
    clear(RULE, run(less, less, less, experts=experts, k=2))


def test_routers_without_an_opinion_at_the_end() -> None:
    found = fired(RULE, run(EVEN, EVEN, EVEN, routing=0.995, planned=30))
    assert found.severity == "info"
    clear(RULE, run(EVEN, EVEN, EVEN, routing=0.995))
    clear(RULE, run(EVEN, EVEN, EVEN, routing=0.985, planned=30))


def test_too_little_is_not_evaluated() -> None:
    taken = (0.9, 0.04, 0.03, 0.03)
    unknown(RULE, run(taken, taken), "fewer than 3 validations")
    few = (router("token", *taken, tokens=999),)
    unknown(RULE, run(taken, taken, taken, routers=few), "1,000 tokens")
    unknown(RULE, run(taken, taken, taken, pruned=True), "skipped for a prompt")
    unknown(RULE, run(), "no experts were observed")
    early = run(taken, taken, taken)
    started = early.events[0]
    assert isinstance(started, RunStarted)
    cold = started.model_copy(
        update={"plan": TrainingPlan(steps=100, steps_per_epoch=10, warmup_steps=31)}
    )
    unknown(RULE, evidence_of((cold, *early.events[1:])), "warm-up")


def test_what_the_final_evaluation_says_is_no_validation() -> None:
    taken = (0.9, 0.04, 0.03, 0.03)
    told = run(EVEN, taken, taken)
    final = told.experts[-1].model_copy(update={"final": True})
    clear(RULE, evidence_of((*told.events, final)))


def test_every_router_counts_by_itself() -> None:
    def two(*usage: float) -> tuple[RouterReport, ...]:
        return router("token", *EVEN), router("query/0", *usage)

    taken = two(0.9, 0.04, 0.03, 0.03)
    found = fired(RULE, run(EVEN, EVEN, EVEN, routers=taken))
    assert "router query/0" in found.headline
