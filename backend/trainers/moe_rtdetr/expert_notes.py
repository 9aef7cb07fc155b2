"""What to say in words of the routers of a pass. Entropy alone is never called good."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from backend.nn.moe.statistics import RouterSummary
from backend.trainers.moe_rtdetr.spec import MoeConfig

UNEVEN, UNDECIDED, CERTAIN = 0.7, 0.95, 0.1
"""Shares of ln E: usage entropy below the first, routing entropy above or below the others."""


def routing_notes(
    routers: Mapping[str, RouterSummary], experts: Sequence[str], moe: MoeConfig, *, pruned: bool
) -> tuple[str, ...]:
    """One sentence per finding, the ones for all routers first. ``pruned``: a prompt skipped
    experts, after which their use says nothing of the routers."""
    if pruned:
        return ("experts were skipped for the prompt: usage is its doing, not the routers'",)
    notes = []
    if moe.top_k == len(experts):
        notes.append(
            f"top_k is the number of experts ({moe.top_k}): usage is even by construction and "
            "not informative"
        )
    if not moe.route_sup:
        notes.append(
            "the query routers were not supervised (moe.route_sup is 0): alignment is only what "
            "emerged"
        )
    for name, summary in routers.items():
        notes += _of_router(name, summary, experts)
    return tuple(notes)


def _of_router(name: str, summary: RouterSummary, experts: Sequence[str]) -> list[str]:
    def named(which: Literal["dead", "overloaded"], words: str) -> list[str]:
        found = [f"{experts[e]} ({summary['usage'][e]:.1%})" for e in summary[which]]
        return [f"{name}: {words}: {', '.join(found)}"] if found else []

    notes = named("dead", "dead experts, with less than a tenth of an even share of the choices")
    if summary["unused"]:
        unused = ", ".join(experts[expert] for expert in summary["unused"])
        notes.append(f"{name}: never chosen: {unused}")
    notes += named("overloaded", "overloaded experts")
    notes += [f"{name}: {words}" for words in _entropies(summary)]
    if summary["dropped"]:
        notes.append(
            f"{name}: {summary['dropped']:.1%} of the choices found no seat (moe.capacity); "
            f"{summary['stranded']} of {summary['tokens']} tokens had no expert at all"
        )
    return notes


def _entropies(summary: RouterSummary) -> list[str]:
    usage, routing = summary["usage_entropy_share"], summary["routing_entropy_share"]
    share = f"usage entropy {usage:.2f} and routing entropy {routing:.2f} of ln E"
    if not math.isfinite(usage):
        return []
    if usage < UNEVEN and routing < CERTAIN:
        return [f"collapsed: {share}"]
    if usage < UNEVEN:
        return [f"unbalanced: {share}"]
    return [f"undecided: {share}"] if routing > UNDECIDED else []
