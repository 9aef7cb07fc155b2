"""B05: the training loss leaves its best value behind and rises."""

import numpy as np

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Curve, Evidence, Floats
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import ema, loss_at_evaluations, noise
from backend.analysis.text import number
from backend.core.diagnosis import Fact, Shown

POINTS = 5
WORSE = 1.5
NOISY = 4.0
"""Sigmas of noise that a rise must pass."""
WRECKED = 10.0
"""Times the first loss."""


def judge(evidence: Evidence) -> Verdict:
    """The training loss at the evaluations, smoothed; and the raw one against its start."""
    loss = loss_at_evaluations(evidence, "train")
    if loss is None or len(loss) < POINTS:
        return Unknown(f"needs a training loss at {POINTS} evaluations")
    smooth = ema(loss.values)
    best, last, sigma = float(smooth.min()), float(smooth[-1]), noise(loss.values)
    wrecked = float(loss.values[-1]) > WRECKED * float(loss.values[0]) > 0
    if wrecked or (_rose(smooth) and last - best > NOISY * sigma):
        return _diverged(evidence, loss, smooth, sigma)
    return Clear()


def _rose(smooth: Floats) -> bool:
    """Does it stand far above its best, and did it rise to there? One that has diverged and lies
    still is not well."""
    far = smooth > WORSE * np.minimum.accumulate(smooth)
    begin = len(far) - int(np.argmin(far[::-1])) if far[-1] else len(far)
    ups = np.diff(smooth) > 0
    return any(int(ups[max(0, place - 3) : place].sum()) >= 2 for place in range(begin, len(far)))


def _diverged(evidence: Evidence, loss: Curve, smooth: np.ndarray, sigma: float) -> Fired:
    place = int(np.argmin(smooth))
    best, last, step = float(smooth[place]), float(smooth[-1]), int(loss.steps[-1])
    return Fired(
        severity="error",
        headline=f"The training loss rose from {number(best)} at step {int(loss.steps[place])} to "
        f"{number(last)} at step {step}.",
        cause="the training diverges: its steps are too large",
        advice=ADVICE,
        evidence=(
            Fact(name="smoothed training loss", value=last, limit=WORSE * best, step=step),
            Fact(name="rise over the noise", value=last - best, limit=NOISY * sigma, step=step),
            Fact(name="first training loss", value=float(loss.values[0]), step=int(loss.steps[0])),
        ),
        curves=(Shown(key="train/loss", levels={"best": best}),)
        if evidence.curve("train/loss") is not None
        else (),
    )


ADVICE = Advice(
    "Go on from the best checkpoint at a third of the learning rate, clip the gradient, and warm "
    "up longer.",
    change=(Turn("lr", times=(1 / 3,)), Turn("clip", values=(1.0,))),
    study=(Turn("lr", times=(1 / 3, 0.1)), Turn("warmup", times=(1.0, 3.0))),
)

RULE = Rule(
    id="B05",
    title="The loss diverges",
    judge=judge,
    needs=f"The training loss at {POINTS} evaluations.",
    condition="The smoothed training loss is far above its best and rose to there, or the loss is "
    "far above its first value.",
    threshold="1.5 times the best, 2 of 3 steps up since it is, and more than 4 sigma of noise; "
    "or 10 times the first",
    source="specs/mdfed.md 8 and 9: no false alarm in 1,500 runs, 100 % of 500 faulty ones",
    example="The loss falls to 0.42 by step 120 and stands at 0.90 by step 200.",
    explains=below("B05"),
)
