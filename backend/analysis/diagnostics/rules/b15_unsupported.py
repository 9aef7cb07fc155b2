"""B15: a gain that the comparison does not show.

The correction for the best of N trials is by the spread of seeds, ``sigma sqrt(2 ln N)``, the
expected largest of N normal draws. Without other seeds it is asked for only where the split was
the one that the search picked on: a holdout has not taken part in the choice.
"""

import math
from collections.abc import Sequence

import numpy as np

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.text import bounds, plural, significant
from backend.core.comparisons import Comparison, MetricDelta
from backend.core.diagnosis import Fact

UNITS = 10
SEEDS = 2
UNTOLD = frozenset({"seed", "name", "experiment"})
"""Config keys that make no other recipe."""
POWER = (1.96 + 0.84) ** 2
"""Of a test at 5 % that finds the difference in four of five cases."""


def judge(evidence: Evidence) -> Verdict:
    """Every comparison that claims a gain must show it."""
    if not evidence.comparisons:
        return Unknown("the run was not compared with another")
    for comparison in evidence.comparisons:
        reason = _doubt(comparison, evidence)
        if reason:
            return _fired(comparison, evidence, reason)
    return Clear()


def _doubt(comparison: Comparison, evidence: Evidence) -> str:
    """Why the claimed gain is not shown; empty if it is, or if none is claimed."""
    head, units = comparison.headline, comparison.target.units
    if _gain(head) <= 0:
        return ""
    if _same_recipe(comparison):
        return "both sides are the same config, and only the seed differs"
    if units < UNITS:
        return f"{plural(units, comparison.target.unit)} are too few; {UNITS} are the least"
    if head.low is None or head.high is None or head.low <= 0 <= head.high:
        interval = bounds(head.low, head.high)
        return f"the {comparison.confidence:.0%} interval, {interval}, includes no gain"
    return _luck(comparison, evidence)


def _gain(delta: MetricDelta) -> float:
    change = delta.delta or 0.0
    return -change if delta.direction == "minimize" else change


def _same_recipe(comparison: Comparison) -> bool:
    differing = {c.name for c in comparison.changes if c.kind == "config"}
    others = {c.kind for c in comparison.changes} & {"data", "code"}
    return "seed" in differing and differing <= UNTOLD and not others


def _luck(comparison: Comparison, evidence: Evidence) -> str:
    """Could the best of N trials be that good by its seed alone?"""
    selection = comparison.candidate.selection
    trials = max(selection.trials if selection else 1, evidence.picked_of)
    if trials < 2:
        return ""
    if len(evidence.seeds) < SEEDS:
        picked_on = comparison.target.split in {"train", "val"}
        return (
            f"it was picked as the best of {trials} trials on this very split, and there are no "
            "repeats with other seeds"
            if picked_on
            else ""
        )
    delta = _ranked(comparison, evidence)
    chance = _sigma(evidence.seeds) * math.sqrt(2 * math.log(trials))
    if delta is None or _gain(delta) >= chance:
        return ""
    return f"the best of {trials} trials gains {significant(chance).lstrip('+')} by its seed alone"


def _ranked(comparison: Comparison, evidence: Evidence) -> MetricDelta | None:
    """The difference in the metric that the seeds' values are of."""
    name = evidence.headline.partition("/")[2]
    return next((m for m in comparison.target.metrics if m.name == name), None)


def _sigma(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1))


def _fired(comparison: Comparison, evidence: Evidence, reason: str) -> Fired:
    head = comparison.headline
    claim = f"{significant(head.delta or 0.0)} in {head.name}"
    against = comparison.baseline.label
    return Fired(
        severity="warning",
        headline=f"No difference shown to {against}: {claim} is claimed, but {reason}",
        cause="the difference may be chance",
        sure="proven",
        advice=Advice(text=_repeats(comparison, evidence)),
        evidence=(
            Fact(name=f"{head.name}, candidate minus {against}", value=head.delta or 0.0),
            Fact(name="interval", value=bounds(head.low, head.high), limit="without 0"),
            Fact(name=comparison.target.unit + "s", value=float(comparison.target.units),
                 limit=float(UNITS)),
        ),
    )  # fmt: skip


def _repeats(comparison: Comparison, evidence: Evidence) -> str:
    """What would show it."""
    asked = []
    needed = comparison.headline.needed
    if needed is not None:
        asked.append(f"score about {plural(needed, comparison.target.unit)}")
    delta = _ranked(comparison, evidence)
    if len(evidence.seeds) >= SEEDS and delta is not None and _gain(delta) > 0:
        spread = _sigma(evidence.seeds) / _gain(delta)
        asked.append(f"train {max(2, math.ceil(2 * POWER * spread**2))} seeds of each side")
    else:
        asked.append("train both sides again with three seeds or more")
    return "; ".join(asked) + "; until then the difference is not shown and nothing is promoted"


RULE = Rule(
    id="B15",
    title="Claim without support",
    judge=judge,
    needs="A comparison with another checkpoint; for the best of several trials also runs with "
    "other seeds.",
    condition="A gain is claimed and its interval includes 0; or it is on fewer than 10 units; or "
    "only the seed differs; or it is under sigma sqrt(2 ln N) of the seeds when the best of N "
    "trials was picked.",
    threshold="95 % interval of the paired bootstrap over units; 10 units; sigma sqrt(2 ln N).",
    source="Paired cluster bootstrap (Efron and Tibshirani 1993); the expected maximum of N "
    "normal draws.",
    example="Two seeds of one config differ by 0.02 in event F1: no difference is shown.",
    confirm=1,
)
