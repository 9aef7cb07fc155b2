"""B07: the validation loss rises while the training loss still falls."""

import numpy as np

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Curve, Evidence, Floats
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import (
    TREND,
    TRENDLESS,
    at,
    ema,
    noise,
    tail,
    total_loss,
    trend,
)
from backend.analysis.diagnostics.trivial import blind_total
from backend.analysis.text import number
from backend.core.diagnosis import Fact, Shown

POINTS = 8
PATIENCE = 5
"""Evaluations since the best one."""
RISE = 1.1
FALL = 0.98


def judge(evidence: Evidence) -> Verdict:
    """Validation against training loss at the validations."""
    val, train = total_loss(evidence, "val"), total_loss(evidence, "train")
    if val is None or train is None or len(val) < POINTS:
        return Unknown(f"needs the training loss and the validation loss at {POINTS} evaluations")
    smooth = ema(val.values)
    best, followed = int(np.argmin(smooth)), ema(at(train, val.steps))
    if _overfits(val, smooth, best, followed):
        return _overfitting(evidence, val, smooth, best)
    return _mix(evidence, val, followed) or Clear()


def _overfits(val: Curve, smooth: Floats, best: int, train: Floats) -> bool:
    return bool(
        len(val) - 1 - best >= PATIENCE
        and np.median(val.values[-PATIENCE:]) > RISE * smooth[best]
        and trend(val.values[best:]) > TREND
        and train[-1] < FALL * train[best]
    )


def _overfitting(evidence: Evidence, val: Curve, smooth: Floats, best: int) -> Fired:
    turned, last = int(val.steps[best]), float(np.median(val.values[-PATIENCE:]))
    lowest = float(smooth[best])
    rises = _metric_rises(evidence)
    ship = _best_step(evidence) or turned
    epoch = evidence.epoch(ship)
    where = f"epoch {epoch} (step {ship})" if epoch else f"step {ship}"
    beside = ", but the metric still rises" if rises else ""
    return Fired(
        severity="info" if rises else "warning",
        headline=f"The validation loss rose from {number(lowest)} at step {turned} to "
        f"{number(last)} while the training loss still falls{beside}; the best epoch is {where}.",
        cause="the network learns its training samples by heart",
        advice=Advice(
            f"Use the checkpoint of {where}; stop there, or hold the network back: dropout, "
            "weight decay, more data.",
            change=(Turn("epochs", values=(epoch,)),) if epoch and not rises else (),
            study=(
                Turn("dropout", values=(0.1, 0.3, 0.5)),
                Turn("weight_decay", times=(1.0, 3.0, 10.0)),
            ),
        ),
        evidence=(
            Fact(name="median of the last 5 validation losses", value=last,
                 limit=RISE * lowest, step=int(val.steps[-1])),
            Fact(name="Mann-Kendall z since then", value=trend(val.values[best:]), limit=TREND),
            Fact(name="best evaluation by the metric", value=where),
        ),
        curves=(Shown(key="val/loss", levels={"best": lowest}), Shown(key="train/loss")),
    )  # fmt: skip


def _metric_rises(evidence: Evidence) -> bool:
    """Does the headline metric still get better in the newest third of the evaluations?"""
    curve = evidence.curve(evidence.headline)
    if curve is None:
        return False
    z = trend(tail(curve, max(POINTS, len(curve) // 3)).values)
    return (-z if evidence.direction(evidence.headline) == "minimize" else z) > TRENDLESS


def _best_step(evidence: Evidence) -> int | None:
    curve = evidence.curve(evidence.headline)
    if curve is None or not curve.values.any():
        return None
    lowest = evidence.direction(evidence.headline) == "minimize"
    place = np.argmin(curve.values) if lowest else np.argmax(curve.values)
    return int(curve.steps[int(place)])


def _mix(evidence: Evidence, val: Curve, train: Floats) -> Fired | None:
    """A stable gap that blind predictors have as well: the splits' labels differ, not more."""
    expected_val, expected_train = blind_total(evidence, "val"), blind_total(evidence, "train")
    if expected_val is None or expected_train is None:
        return None
    gaps = val.values - train
    recent = tail(Curve(val.steps, gaps), POINTS).values
    gap, sigma = float(np.median(recent)), noise(gaps)
    expected = expected_val - expected_train
    if gap <= 2 * sigma or abs(gap - expected) > 2 * sigma or abs(trend(recent)) > TRENDLESS:
        return None
    return Fired(
        severity="info",
        headline=f"The validation loss is {number(gap)} above the training loss, as it is for a "
        f"predictor that ignores the input ({number(expected)}): the label mix explains the gap.",
        cause="the label mix of the splits differs; this is no overfitting",
        advice=Advice("Compare each loss with the baseline of its own split."),
        evidence=(Fact(name="gap", value=gap, limit=expected, step=int(val.steps[-1])),
                  Fact(name="noise of the gap", value=sigma)),
        curves=(Shown(key="val/loss", levels={"blind": expected_val}),
                Shown(key="train/loss", levels={"blind": expected_train})),
    )  # fmt: skip


RULE = Rule(
    id="B07",
    title="Overfitting",
    judge=judge,
    needs=f"Training and validation loss at {POINTS} evaluations; baselines to explain a gap.",
    condition="The validation loss has turned and rises, while the training loss still falls. A "
    "stable gap that blind predictors have too is told of as the label mix.",
    threshold="best at least 5 evaluations ago, median of the last 5 over 1.1 times it, "
    "Mann-Kendall z over 1.96, training loss 2 % lower; info while the metric still rises",
    source="specs/mdfed.md 8 and 9: 0.33 % false alarms; SageMaker Overfit fires on noise",
    example="The validation loss rose from 0.31 to 0.45 while the training loss fell to 0.02.",
    explains=below("B07"),
)
