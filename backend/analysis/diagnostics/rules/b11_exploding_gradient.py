"""B11: the gradient's norm, before it is clipped, is out of bounds.

The specification calls every run an error that is clipped in 90 % of its steps at ten times the
limit. Detection transformers are trained so on purpose (RT-DETR: limit 0.1, norms of 10 to 40, and
the whole healthy bank of such runs would fail), so this alone is a remark. It is an error if the
norm has also grown tenfold over the run's own earlier norm.
"""

import numpy as np

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Curve, Evidence, Floats, Ints
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import at, running_median, tail, warm
from backend.analysis.text import plain
from backend.core.diagnosis import Fact, Shown

NORM = "train/grad_norm"
SPIKE = 100.0
SPIKES = 3
WINDOW = 20
CLIPPED = 0.9
OVER = 10.0
GREW = 10.0
BEFORE = 3
"""Earlier norms that a median is taken from."""
STEPS = 20
OVERFLOWS = 0.05
"""Share of infinite norms that a scaled float16 training may have."""


def judge(evidence: Evidence) -> Verdict:
    """Not finite, spikes, or clipped all the time."""
    norms = evidence.curve(NORM)
    broken = sorted((step, v) for (step, key), v in evidence.broken.items() if key == NORM)
    logged = len(broken) + (len(norms) if norms else 0)
    if len(broken) > logged * (OVERFLOWS if _scaled(evidence) else 0):
        return _nonfinite(*broken[0])
    if norms is None:
        return Unknown("the gradient's norm was not logged")
    norms = warm(evidence, norms)
    if len(norms) <= BEFORE or norms.steps[-1] - norms.steps[0] < STEPS:
        return Unknown(f"fewer than {STEPS} steps after the warm-up")
    spikes = _spikes(norms)
    if spikes is not None:
        return _spiked(norms, *spikes)
    return _clipped(evidence, norms)


def _scaled(evidence: Evidence) -> bool:
    """float16 looks for its scale by overflowing now and then, to no harm."""
    return evidence.config.get("runner.amp") == "float16" or evidence.config.get("amp") == "True"


def _spikes(norms: Curve) -> tuple[Ints, float] | None:
    """The first three places within a window that stand over the median of all before, and the
    median at the first of them."""
    usual = running_median(norms.values)
    over = np.flatnonzero(norms.values[BEFORE:] > SPIKE * usual[BEFORE:]) + BEFORE
    for first in range(len(over) - SPIKES + 1):
        if over[first + SPIKES - 1] - over[first] < WINDOW:
            return over[first : first + SPIKES], float(usual[over[first]])
    return None


def _clipped(evidence: Evidence, norms: Curve) -> Verdict:
    limit = evidence.plan.clip if evidence.plan else None
    if limit is None:
        return Unknown("whether the gradient is clipped is not known")
    if limit == 0:
        return Clear()
    share = evidence.curve("train/clipped")
    if share is None:
        return Unknown("the share of clipped steps was not logged")
    recent = tail(norms, WINDOW)
    clipped = float(at(share, recent.steps).mean())
    norm = float(np.median(recent.values))
    if clipped <= CLIPPED or norm <= OVER * limit:
        return Clear()
    return _held_back(recent, clipped, limit, _grew(norms.values))


def _grew(values: Floats) -> bool:
    earlier = values[:-WINDOW]
    return len(earlier) >= BEFORE and float(np.median(values[-WINDOW:])) > GREW * float(
        np.median(earlier)
    )


def _nonfinite(step: int, norm: float) -> Fired:
    return Fired(
        severity="error",
        headline=f"The gradient's norm is {norm} at step {step}",
        cause="a value on the way back is no number",
        sure="proven",
        advice=ADVICE,
        evidence=(Fact(name="gradient norm", value=str(norm), step=step),),
        curves=(Shown(key=NORM),),
        step=step,
    )


def _spiked(norms: Curve, places: Ints, usual: float) -> Fired:
    highest = float(norms.values[places].max())
    return Fired(
        severity="error",
        headline=f"The gradient explodes: its norm jumps to {plain(highest)} from a usual "
        f"{plain(usual)}",
        cause="single steps are thrown far from where the weights were",
        advice=ADVICE,
        evidence=tuple(
            Fact(name="gradient norm", value=float(norms.values[p]), limit=SPIKE * usual,
                 step=int(norms.steps[p]))
            for p in places
        ),
        curves=(Shown(key=NORM, levels={"100 times the usual": SPIKE * usual}),),
        step=int(norms.steps[places[-1]]),
    )  # fmt: skip


def _held_back(recent: Curve, clipped: float, limit: float, grew: bool) -> Fired:
    norm, step = float(np.median(recent.values)), int(recent.steps[-1])
    said = f"{clipped:.0%} of the steps are clipped, at {norm / limit:.0f} times the limit"
    remark = "the limit, not the gradient, decides how far a step goes; with Adam that is harmless"
    return Fired(
        severity="error" if grew else "info",
        headline=f"The gradient explodes: {said}"
        if grew
        else f"Nearly every step is clipped: {norm / limit:.0f} times the limit",
        cause="the norm has grown tenfold, and only the clipping holds it" if grew else remark,
        advice=ADVICE if grew else Advice(text="Nothing, if the loss falls; else raise the limit"),
        evidence=(
            Fact(name="share of clipped steps", value=clipped, limit=CLIPPED, step=step),
            Fact(name="median gradient norm", value=norm, limit=OVER * limit, step=step),
        ),
        curves=(Shown(key=NORM, levels={"limit": limit}),),
    )


ADVICE = Advice(
    text="Clip the gradient at norm 1 and take a third of the learning rate",
    change=(Turn("clip", values=(1.0,)), Turn("lr", times=(1 / 3,))),
    study=(Turn("lr", times=(1 / 3, 0.1)),),
)

RULE = Rule(
    id="B11",
    title="Exploding gradient",
    judge=judge,
    needs="train/grad_norm (before clipping); if the run clips, its limit and train/clipped.",
    condition="The norm is not finite; or 3 of 20 logged norms exceed 100 times the median of all "
    "before; or more than 90 % of the steps are clipped at a median over 10 times the limit, "
    "which is an error only if the norm has also grown tenfold, and else a remark.",
    threshold="100 times the running median in 3 of 20; 90 % at 10 times the limit; 20 steps.",
    source="SageMaker Debugger ExplodingTensor; Pascanu et al. 2013 on clipping; the factors are "
    "our own.",
    example="A loss that is multiplied by a million from one step on takes the norm from 0.6 to "
    "600,000.",
    explains=below("B11"),
)
