"""B18: the loss stands still high up, while the learning rate is still at work."""

import math

import numpy as np

from backend.analysis.diagnostics.evidence import Curve, Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import (
    TRENDLESS,
    late,
    rate_share,
    slope,
    tail,
    total_loss,
    trend,
)
from backend.core.diagnosis import Fact, Shown

NEWEST = 6
SHARE = 0.2
MOVED = 0.01
RATE = 0.1
HIGH = 0.5


def judge(evidence: Evidence) -> Verdict:
    """No trend, no slope, a rate that works, and a loss that is far from good."""
    split = "val" if total_loss(evidence, "val") is not None else "train"
    curve, baselines = total_loss(evidence, split), evidence.baselines(split)
    constant = baselines.losses.get("constant", {}).get("loss") if baselines else None
    if curve is None:
        return Unknown("no loss was logged")
    if constant is None:
        return Unknown("the loss of a constant prediction is not known")
    if not late(evidence):
        return Unknown("a fifth of the planned steps is not done yet")
    count = max(NEWEST, math.ceil(SHARE * len(curve)))
    if len(curve) < count:
        return Unknown(f"fewer than {count} losses on {split}")
    newest = tail(curve, count)
    share = rate_share(evidence, newest.steps)
    if share is None:
        return Unknown("no learning rate was logged")
    if share[-1] <= RATE or not _flat(newest) or _level(newest) <= HIGH * constant:
        return Clear()
    return _fired(split, newest, constant)


def _level(curve: Curve) -> float:
    return float(np.median(curve.values))


def _moved(curve: Curve) -> float:
    """What the slope makes over the window, as a share of the level."""
    return abs(slope(curve)) * float(curve.steps[-1] - curve.steps[0]) / _level(curve)


def _flat(curve: Curve) -> bool:
    return abs(trend(curve.values)) < TRENDLESS and _moved(curve) < MOVED


def _fired(split: str, newest: Curve, constant: float) -> Fired:
    level, first, last = _level(newest), int(newest.steps[0]), int(newest.steps[-1])
    return Fired(
        severity="warning",
        headline=f"The loss stands still at {level:.3f} since step {first}, "
        f"{level / constant:.0%} of what a constant prediction gets",
        cause="the steps are too large to go deeper, or the network is too small to",
        sure="possible",
        advice=ADVICE,
        evidence=(
            Fact(name=f"median {split} loss", value=level, limit=HIGH * constant, step=last),
            Fact(name="trend (z)", value=trend(newest.values), limit=TRENDLESS),
            Fact(name="change over the window, of the level", value=_moved(newest), limit=MOVED),
        ),
        curves=(Shown(key=f"{split}/loss", levels={"constant": constant}),),
    )


ADVICE = Advice(
    text="Step the learning rate down; if the loss stays, a larger network may be needed",
    change=(Turn("lr", times=(0.3,)),),
    study=(Turn("lr", times=(0.3, 0.1)),),
)

RULE = Rule(
    id="B18",
    title="Plateau",
    judge=judge,
    needs="The loss (validation before training), lr/..., and the loss of a constant prediction.",
    condition="The last max(6, 20 %) losses have no trend (|z| < 1.645) and a Theil-Sen slope "
    "that makes less than 1 % of the level over the window, the learning rate is over 10 % of its "
    "peak, and the loss over half of the constant baseline.",
    threshold="1.645; 1 %; 10 %; 0.5 of the constant baseline; a fifth of the steps.",
    source="SageMaker Debugger LossNotDecreasing; Theil-Sen slope and Mann-Kendall test.",
    example="A network of 16 channels stays at 0.52 of a constant prediction's 0.83 for half of "
    "its steps.",
)
