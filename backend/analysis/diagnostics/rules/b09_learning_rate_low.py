"""B09: the learning rate is too low to get anywhere in the steps that are planned.

Losses are judged above ``NEAR`` times the constant baseline only: nearer than that a healthy run
waits too, and B03 speaks. The extrapolation is a straight line by the steps that are left, which
is more than a falling learning rate will give, so the rule errs on the side of silence.

It is a warning, as long as the run still finds something. With the leading metric at 0 the run is
lost anyway (B01), and the rule is an error, so that the cause is named and not its symptom.
"""

import numpy as np

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Curve, Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import (
    TREND,
    rate_share,
    slope,
    tail,
    total_loss,
    trend,
    warm,
)
from backend.analysis.text import plain
from backend.core.diagnosis import Fact, Severity, Shown

LEAST = 1e-5
"""Median update over weights at the full learning rate; customary is 1e-3 (Karpathy)."""
REACH = 0.97
NEAR = 1.05
POINTS = 10
PROGRESS = 0.15
AT_WORK = 0.01
"""Below this share of the peak a ratio over the share is rounding."""


def judge(evidence: Evidence) -> Verdict:
    """Updates too small for their weights, or a loss that falls and will not arrive."""
    progress = evidence.progress
    if progress is None or progress < PROGRESS:
        return Unknown(f"less than {PROGRESS:.0%} of the planned steps are done")
    updates, losses = _updates(evidence), _losses(evidence)
    if isinstance(updates, Curve) and np.median(updates.values) < LEAST:
        return _still(updates, _severity(evidence))
    if isinstance(losses, tuple):
        curve, baseline = losses
        end = _arrives(curve, evidence.steps or evidence.step)
        if _slow(curve, baseline, end):
            return _late(curve, baseline, end, _severity(evidence))
    for missing in (updates, losses):
        if isinstance(missing, Unknown):
            return missing
    return Clear()


def _updates(evidence: Evidence) -> Curve | Unknown:
    """Update ratios over the learning rate's share of its peak."""
    curve = evidence.curve("update/all")
    if curve is None:
        return Unknown("no update ratio was logged")
    curve = warm(evidence, curve)
    share = rate_share(evidence, curve.steps)
    if share is None:
        return Unknown("no learning rate was logged")
    at_work = share > AT_WORK
    if at_work.sum() < POINTS:
        return Unknown(f"fewer than {POINTS} update ratios after the warm-up")
    return Curve(curve.steps[at_work], curve.values[at_work] / share[at_work])


def _losses(evidence: Evidence) -> tuple[Curve, float] | Unknown:
    """The training loss after the warm-up, and what the best constant gets."""
    curve, baselines = total_loss(evidence, "train"), evidence.baselines("train")
    constant = baselines.losses.get("constant", {}).get("loss") if baselines else None
    if curve is None:
        return Unknown("no training loss was logged, or none since its scale settled")
    if constant is None:
        return Unknown("the loss of a constant prediction is not known")
    curve = warm(evidence, curve)
    if len(curve) < POINTS:
        return Unknown(f"fewer than {POINTS} training losses after the warm-up")
    return curve, constant


def _arrives(curve: Curve, steps: int) -> float:
    """The loss at the last step if it goes on as in the newer half."""
    newer = tail(curve, len(curve) // 2)
    return float(np.median(newer.values[-3:])) + slope(newer) * (steps - int(newer.steps[-2]))


def _slow(curve: Curve, baseline: float, end: float) -> bool:
    above = float(np.median(curve.values[-3:])) > NEAR * baseline
    return above and trend(curve.values) < -TREND and end > REACH * baseline


def _severity(evidence: Evidence) -> Severity:
    headline = evidence.curve(evidence.headline)
    lost = headline is not None and len(headline) and not headline.values.any()
    return "error" if lost else "warning"


def _still(updates: Curve, severity: Severity) -> Fired:
    ratio = float(np.median(updates.values))
    return Fired(
        severity=severity,
        headline=f"The learning rate is too low: a step changes the weights by {plain(ratio)} of "
        "their size",
        cause="steps this small do not move the weights in the time there is",
        advice=ADVICE,
        evidence=(Fact(name="update ratio at the full rate", value=ratio, limit=LEAST),),
        curves=(Shown(key="update/all", levels={"least": LEAST}),),
    )


def _late(curve: Curve, baseline: float, end: float, severity: Severity) -> Fired:
    now, step = float(curve.values[-1]), int(curve.steps[-1])
    return Fired(
        severity=severity,
        headline=f"The learning rate is too low: the loss falls steadily, but would end at "
        f"{end:.3f}, and a constant prediction gets {baseline:.3f}",
        cause="the loss goes down at every look, too slowly for the steps that are planned",
        advice=ADVICE,
        evidence=(
            Fact(name="training loss", value=now, step=step),
            Fact(name="extrapolated to the end", value=end, limit=REACH * baseline),
            Fact(name="trend (z)", value=trend(curve.values), limit=-TREND),
        ),
        curves=(Shown(key="train/loss", levels={"constant": baseline}),),
    )


ADVICE = Advice(
    text="Raise the learning rate threefold; a study of three rates finds the range that works",
    change=(Turn("lr", times=(3,)),),
    study=(Turn("lr", times=(3, 10, 30)),),
)

RULE = Rule(
    id="B09",
    title="Learning rate too low",
    judge=judge,
    needs="update/all and lr/... after the warm-up, train/loss, and the loss of a constant "
    "prediction.",
    condition="The median update of a step, at the full learning rate, is under 1e-5 of the "
    "weights; or the training loss falls steadily (Mann-Kendall z < -1.96), is more than 5 % "
    "above the constant baseline, and a straight line through its newer half ends above 0.97 of "
    "it.",
    threshold="1e-5; 0.97 of the constant baseline; 10 points after the warm-up and 15 % of the "
    "steps. An error if the leading metric is 0 as well.",
    source="Update ratio about 1e-3: Karpathy, A Recipe for Training Neural Networks; SageMaker "
    "Debugger WeightUpdateRatio; ratios are divided by the learning rate's share of its peak, "
    "because the end of a cosine brings every healthy run to 1e-8.",
    example="With 1e-5 in place of 3e-3 the loss of a skeleton network stands at 1.26 after 160 "
    "steps; a constant prediction gets 0.83.",
    explains=below("B09"),
)
