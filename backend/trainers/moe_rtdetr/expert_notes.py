"""What to say in words of the routers of a pass. Entropy alone is never called good."""

import math
from collections.abc import Mapping, Sequence

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
    def share(expert: int) -> str:
        if expert in summary["unused"]:
            return f"{experts[expert]} (never chosen)"
        return f"{experts[expert]} ({summary['usage'][expert]:.1%})"

    notes = []
    if summary["dead"]:
        dead = ", ".join(map(share, summary["dead"]))
        notes.append(f"{name}: dead experts, below a tenth of an even share of choices: {dead}")
    if summary["overloaded"]:
        notes.append(f"{name}: overloaded experts: {', '.join(map(share, summary['overloaded']))}")
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
