"""What is wrong with how experts are used, and why it is said.

Nothing is called good from an entropy: a low one may be specialisation or collapse, a high one
a fair split or a router that cannot tell tokens apart.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from backend.core.experts import ExpertReport, RouterReport

Rule = Literal[
    "pruned",
    "dead",
    "collapsed",
    "undecided",
    "unbalanced",
    "overloaded",
    "uninformative",
    "dropped",
]

UNBALANCED = 0.7  # below this share of ln E the usage is uneven
UNDECIDED = 0.95  # above this share of ln E the router treats tokens alike
COLLAPSED = 0.1  # below this share, and unbalanced, it sends every token to the same experts


@dataclass(frozen=True)
class Judgement:
    """What is the matter, in which ``routers`` and with which ``experts`` (none: with all)."""

    rule: Rule
    routers: tuple[str, ...]
    experts: tuple[str, ...]
    said: str


def judge(report: ExpertReport) -> tuple[Judgement, ...]:
    """Everything worth a mark in a report, the gravest first; each rule once. Where a prompt
    skipped experts nothing is said of their use but that."""
    if report.pruned:
        said = "experts were skipped for the prompt: their use is its doing, not the routers'"
        return (Judgement("pruned", tuple(r.name for r in report.routers), (), said),)
    judged = [
        *_listed(report, "dead", _say_dead),
        *_entropies(report),
        *_listed(report, "overloaded", _say_overloaded),
        *_dropped(report),
        *_uninformative(report),
    ]
    order = get_args(Rule)
    return tuple(sorted(judged, key=lambda judgement: order.index(judgement.rule)))


def _listed(
    report: ExpertReport,
    rule: Literal["dead", "overloaded"],
    say: Callable[[str, float, str], str],
) -> list[Judgement]:
    """Experts that a router lists under the rule, in the order of the report."""
    said, experts, routers = [], [], []
    for index, name in enumerate(report.experts):
        where = [router for router in report.routers if index in getattr(router, rule)]
        if where:
            share = sum(router.usage[index] for router in where) / len(where)
            said.append(say(name, share, _where(report, where)))
            experts.append(name)
            routers += [router.name for router in where if router.name not in routers]
    if not experts:
        return []
    return [Judgement(rule, tuple(routers), tuple(experts), "; ".join(said))]


def _say_dead(name: str, share: float, where: str) -> str:
    if share == 0:
        return f"{name} was never chosen ({where})"
    return f"{name} got {_percent(share)} of the choices, far below an even share ({where})"


def _say_overloaded(name: str, share: float, where: str) -> str:
    return f"{name} got {_percent(share)} of the choices, far above an even share ({where})"


def _entropies(report: ExpertReport) -> Iterator[Judgement]:
    """By the guidance on shares of ln E; usage says nothing where every expert is chosen."""
    bound = math.log(len(report.experts)) if report.experts else 0.0
    if bound == 0:
        return
    found: dict[Rule, list[RouterReport]] = {}
    for router in report.routers:
        routing = router.routing_entropy / bound
        uneven = report.k < len(report.experts) and router.usage_entropy / bound < UNBALANCED
        if uneven and routing < COLLAPSED:
            found.setdefault("collapsed", []).append(router)
        elif uneven:
            found.setdefault("unbalanced", []).append(router)
        if routing > UNDECIDED:
            found.setdefault("undecided", []).append(router)
    for rule, routers in found.items():
        said = _say_entropy(rule, routers, bound, _where(report, routers))
        yield Judgement(rule, tuple(router.name for router in routers), (), said)


def _say_entropy(rule: Rule, routers: Sequence[RouterReport], bound: float, where: str) -> str:
    routing = f"routing entropy {_range([r.routing_entropy / bound for r in routers])}"
    usage = f"usage entropy {_range([r.usage_entropy / bound for r in routers])}"
    if rule == "collapsed":
        return f"nearly every token goes to the same experts ({where}; {routing}, {usage} of ln E)"
    if rule == "unbalanced":
        return f"the experts are used unevenly ({where}; {usage} of ln E)"
    return f"nearly every token is treated alike ({where}; {routing} of ln E)"


def _dropped(report: ExpertReport) -> list[Judgement]:
    full = [router for router in report.routers if router.dropped > 0]
    if not full:
        return []
    share = _percent(max(router.dropped for router in full))
    said = f"up to {share} of the choices found no seat and were dropped ({_where(report, full)})"
    return [Judgement("dropped", tuple(router.name for router in full), (), said)]


def _uninformative(report: ExpertReport) -> list[Judgement]:
    count = len(report.experts)
    if report.k < count or not report.routers:
        return []
    said = (
        f"top-k is {report.k} of {count} experts, so every expert is always chosen and usage is "
        "even by construction; look at the weights instead"
    )
    return [Judgement("uninformative", tuple(r.name for r in report.routers), (), said)]


def _where(report: ExpertReport, routers: Sequence[RouterReport]) -> str:
    """``the token router``, ``the query router of layer 1``, ``every query router``."""
    queries = [router.name.partition("/")[2] for router in routers if router.name != "token"]
    parts = ["the token router"] if len(queries) < len(routers) else []
    if len(queries) == len(report.router("query")) > 1:
        parts.append("every query router")
    elif queries:
        several = len(queries) > 1
        layers = ", ".join(queries)
        parts.append(
            f"the query router{'s' if several else ''} of layer{'s' if several else ''} {layers}"
        )
    return " and ".join(parts)


def _range(shares: Sequence[float]) -> str:
    low, high = f"{min(shares):.2f}", f"{max(shares):.2f}"
    return low if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
