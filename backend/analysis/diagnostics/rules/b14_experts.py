"""B14: the experts of a mixture are used badly.

What is dead, overloaded or undecided is judged in ``backend.analysis.experts``, for this rule as
for the Experts page. The rule adds patience: three validations in a row must agree.
"""

import math
from collections.abc import Sequence

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.gains import over
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.experts import judge as judge_experts
from backend.core.diagnosis import Fact, Severity
from backend.core.experts import ExpertReport, RouterReport

TOKENS = 1000
VALIDATIONS = 3
ALONE = 0.8
HALF = 0.5
UNEVEN = 4.0
UNDECIDED = 0.99
SPREADS = 1.1
"""Growth of the effective number of experts over the validations looked at."""


def judge(evidence: Evidence) -> Verdict:
    """The gravest first: collapse, dead experts, uneven load, a router without an opinion."""
    told = [event.report for event in evidence.experts if not event.final]
    if not told:
        return Unknown("no experts were observed")
    if not evidence.warm:
        return Unknown("the warm-up is not over")
    newest = [_heard(report) for report in told[-VALIDATIONS:]]
    if len(newest) < VALIDATIONS or not all(report.routers for report in newest):
        return Unknown(
            f"fewer than {VALIDATIONS} validations in which a router saw {TOKENS:,} tokens"
        )
    if any(report.pruned for report in newest):
        return Unknown("experts were skipped for a prompt, so their use says nothing")
    settled = _settled(newest)
    return (
        _collapsed(settled) or _dead(settled) or _uneven(settled) or _undecided(evidence, settled)
    )


def _settled(reports: Sequence[ExpertReport]) -> list[ExpertReport]:
    """Without the routers whose choices still spread: from scratch each begins with a few experts,
    and the balance needs its time."""
    before = {router.name: math.exp(router.usage_entropy) for router in reports[0].routers}
    spreading = {
        router.name
        for router in reports[-1].routers
        if math.exp(router.usage_entropy) > SPREADS * before.get(router.name, math.inf)
    }
    return [
        report.model_copy(
            update={"routers": tuple(r for r in report.routers if r.name not in spreading)}
        )
        for report in reports
    ]


def _heard(report: ExpertReport) -> ExpertReport:
    """Only the routers that saw enough."""
    routers = tuple(router for router in report.routers if router.tokens >= TOKENS)
    return report.model_copy(update={"routers": routers})


def _collapsed(reports: Sequence[ExpertReport]) -> Fired | None:
    names = _common([_collapsing(report) for report in reports], reports[-1])
    if not names:
        return None
    return _fired(
        "error", f"The experts have collapsed: {_load(reports[-1], names)}", names, reports,
        "nearly all tokens go to the same few experts, and the others learn nothing", BALANCE,
    )  # fmt: skip


def _collapsing(report: ExpertReport) -> set[str]:
    judged = {
        name
        for found in judge_experts(report)
        if found.rule == "collapsed"
        for name in found.routers
    }
    return judged | {router.name for router in report.routers if _crowded(router, report)}


def _crowded(router: RouterReport, report: ExpertReport) -> bool:
    """By load alone; nothing to see where every expert is always chosen."""
    count, k = len(report.experts), report.k
    if k >= count:
        return False
    if k == 1 and max(router.usage) > ALONE:
        return True
    return math.exp(router.usage_entropy) < max(k, HALF * count)


def _dead(reports: Sequence[ExpertReport]) -> Fired | None:
    judged = [
        {name for found in judge_experts(report) if found.rule == "dead" for name in found.experts}
        for report in reports
    ]
    dead = [name for name in reports[-1].experts if all(name in found for found in judged)]
    if not dead:
        return None
    said = next(found.said for found in judge_experts(reports[-1]) if found.rule == "dead")
    routers = [router.name for router in reports[-1].routers if router.dead]
    return _fired(
        "warning", f"Dead experts for {VALIDATIONS} validations: {said}", routers, reports,
        "what is hardly chosen hardly learns, and is chosen less", BALANCE,
    )  # fmt: skip


def _uneven(reports: Sequence[ExpertReport]) -> Fired | None:
    uneven = [
        {router.name for router in report.routers if router.max_violation + 1 > UNEVEN}
        for report in reports
    ]
    names = _common(uneven, reports[-1])
    if not names:
        return None
    return _fired(
        "warning", f"The experts are used unevenly: {_load(reports[-1], names)}", names, reports,
        f"the busiest expert has more than {UNEVEN:g} times an even share", BALANCE,
    )  # fmt: skip


def _undecided(evidence: Evidence, reports: Sequence[ExpertReport]) -> Verdict:
    """At the end only: early on a router has no opinion yet."""
    if not over(evidence):
        return Clear()
    bound = math.log(len(reports[-1].experts)) or 1.0
    undecided = [
        {router.name for router in report.routers if router.routing_entropy / bound > UNDECIDED}
        for report in reports
    ]
    names = _common(undecided, reports[-1])
    if not names:
        return Clear()
    return _fired(
        "info", "The routers have not specialised: every token is treated alike", names, reports,
        "the routers' choice says little, so the experts are one network cut in pieces", DECIDE,
    )  # fmt: skip


def _common(found: Sequence[set[str]], newest: ExpertReport) -> list[str]:
    """Routers that every report names, in the network's order."""
    return [r.name for r in newest.routers if all(r.name in names for names in found)]


def _load(report: ExpertReport, names: Sequence[str]) -> str:
    """The worst of the named routers in words."""
    router = max((r for r in report.routers if r.name in names), key=lambda r: max(r.usage))
    expert = report.experts[router.usage.index(max(router.usage))]
    return (
        f"router {router.name} sends {max(router.usage):.0%} of its choices to {expert}, and uses "
        f"{math.exp(router.usage_entropy):.1f} of {len(report.experts)} experts"
    )


def _fired(
    severity: Severity, headline: str, names: Sequence[str], reports: Sequence[ExpertReport],
    cause: str, advice: Advice,
) -> Fired:  # fmt: skip
    newest = reports[-1]
    facts = tuple(
        Fact(name=f"{name} of router {router.name}", value=value, step=newest.step)
        for router in newest.routers
        if router.name in names
        for name, value in _numbers(router)
    )
    return Fired(
        severity=severity,
        headline=headline, advice=advice, cause=cause, evidence=facts, step=reports[0].step,
    )  # fmt: skip


def _numbers(router: RouterReport) -> tuple[tuple[str, float], ...]:
    return (
        ("largest load", max(router.usage)),
        ("effective experts", math.exp(router.usage_entropy)),
        ("routing entropy", router.routing_entropy),
    )


BALANCE = Advice(
    text="Raise the weight of the load balance (0.01 is customary), or choose one expert more",
    change=(Turn("balance", times=(3,)),),
    study=(Turn("balance", times=(3, 10)), Turn("top_k", values=(2, 3))),
)
DECIDE = Advice(text="Train for longer, or supervise the routers more strongly")

RULE = Rule(
    id="B14",
    title="Experts used badly",
    judge=judge,
    needs="What the experts did in three validations (ExpertsObserved), 1,000 tokens or more for "
    "a router.",
    condition="Collapse: nearly every token goes to the same experts, or one expert of top-1 has "
    "more than 80 % of the load, or exp(H(load)) is under max(k, E/2). Dead: an expert under a "
    "tenth of an even share. Uneven: the largest load over 4 even shares. At the end: routing "
    "entropy over 0.99 ln E.",
    threshold="0.8; max(k, E/2); 0.1 of an even share; 4; 0.99; three validations that agree.",
    source="Fedus et al. 2021 (Switch Transformers, balance weight 0.01); the judgements of the "
    "Experts page.",
    example="A router whose bias for one expert is 10 sends everything there once the balance "
    "weight is 0.",
    confirm=1,
)
