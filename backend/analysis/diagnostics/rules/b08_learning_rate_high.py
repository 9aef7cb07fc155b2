"""B08: the learning rate is too high."""

import numpy as np

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Curve, Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import rate_share, total_loss, warm
from backend.analysis.diagnostics.trivial import learnt_since, untrained
from backend.analysis.text import number, plain
from backend.core.diagnosis import Fact, Shown

STEPS = 20
"""Optimizer steps after the warm-up."""
RATIO = 0.1
"""Update over weights, at the peak of the learning rate."""
WORSE = 1.1
"""Times the loss of a network that says nothing."""
CHANGES, AMPLITUDE, POINTS = 0.4, 0.3, 8
"""Share of sign changes, and median jump as a share of the level, over so many points."""


def judge(evidence: Evidence) -> Verdict:
    """By the size of the updates, by a loss worse than none, and by oscillation."""
    begun = evidence.plan.warmup_steps if evidence.plan else None
    if begun is None:
        return Unknown("the plan does not tell when the warm-up ends")
    if evidence.step < begun + STEPS:
        return Unknown(f"needs {STEPS} steps after the warm-up")
    looks = [_by_updates(evidence), _by_level(evidence), _by_swings(evidence)]
    found = next((look for look in looks if isinstance(look, Fired)), None)
    if found is not None:
        return found
    known = any(isinstance(look, Clear) for look in looks)
    return (
        Clear() if known else Unknown("needs update ratios, or a loss with its untrained baseline")
    )


def _by_updates(evidence: Evidence) -> Verdict:
    """The median update ratio, as it would be at the peak of the learning rate."""
    curve = evidence.curve("update/all")
    ratios = warm(evidence, curve) if curve is not None else None
    if ratios is None or len(ratios) == 0:
        return Unknown("no update ratios after the warm-up")
    shares = rate_share(evidence, ratios.steps)
    if shares is None:
        return Unknown("no learning rates")
    at_work = shares > 0.01
    if not at_work.any():
        return Unknown("no update ratios at a learning rate that counts")
    ratio = float(np.median(ratios.values[at_work] / shares[at_work]))
    if ratio <= RATIO:
        return Clear()
    fact = Fact(name="median update over weights, at the peak rate", value=ratio, limit=RATIO)
    text = f"One step changes the weights by {number(100 * ratio, 1)} % at the peak learning rate"
    return _too_high(text, fact, Shown(key="update/all", levels={"limit": RATIO}))


def _by_level(evidence: Evidence) -> Verdict:
    """A loss worse than that of a network that says nothing, from which it never recovered."""
    known = False
    for split in ("val", "train"):
        none, loss = untrained(evidence, split), total_loss(evidence, split)
        after = warm(evidence, loss) if loss is not None else None
        if none is None or after is None or len(after) == 0:
            continue
        known = True
        peak = int(np.argmax(after.values))
        if after.values[peak] > WORSE * none and not learnt_since(
            evidence, int(after.steps[peak])
        ):
            return _worse(after, peak, none, f"{split}/loss")
    return Clear() if known else Unknown("no loss with an untrained baseline")


def _worse(after: Curve, peak: int, none: float, key: str) -> Fired:
    value, step = float(after.values[peak]), int(after.steps[peak])
    return _too_high(
        f"After the warm-up {key} rose to {number(value)} at step {step}, above the "
        f"{number(none)} of an untrained network, and never came under a trivial one since",
        Fact(name=key, value=value, limit=WORSE * none, step=step),
        Shown(key=key, levels={"untrained": none}),
    )


def _by_swings(evidence: Evidence) -> Verdict:
    """The training loss jumps up and down by a large share of its level."""
    loss = total_loss(evidence, "train")
    after = warm(evidence, loss) if loss is not None else None
    if after is None or len(after) < POINTS:
        return Unknown("too few training losses after the warm-up")
    recent = after.values[-max(POINTS, len(after) // 3) :]
    jumps = np.diff(recent)
    changes = float((np.sign(jumps[1:]) * np.sign(jumps[:-1]) < 0).mean())
    level = float(np.median(recent))
    swing = float(np.median(np.abs(jumps))) / level if level > 0 else 0.0
    if changes <= CHANGES or swing <= AMPLITUDE:
        return Clear()
    fact = Fact(name="median jump as a share of the level", value=swing, limit=AMPLITUDE)
    return _too_high(
        f"The training loss jumps by {number(100 * swing, 0)} % of its level, up and down in "
        f"{number(100 * changes, 0)} % of the cases", fact, Shown(key="train/loss"),
    )  # fmt: skip


def _too_high(text: str, fact: Fact, shown: Shown) -> Fired:
    return Fired(
        severity="error",
        headline=f"{text}: the learning rate is too high.",
        cause="the learning rate is too high",
        advice=ADVICE,
        evidence=(fact,),
        curves=(shown,),
    )


ADVICE = Advice(
    "Lower the learning rate to a tenth; a longer warm-up helps where only the start is at fault.",
    change=(Turn("lr", times=(0.1,)),),
    study=(Turn("lr", times=(1 / 10, 1 / 30, 1 / 100)),),
)

RULE = Rule(
    id="B08",
    title="The learning rate is too high",
    judge=judge,
    needs=f"The plan, {STEPS} steps after the warm-up, and update ratios, or losses with the "
    "untrained baseline.",
    condition="Updates are a large share of the weights, or the loss rose above that of an "
    "untrained network and never came under a trivial one since, or it oscillates.",
    threshold=f"median update ratio over {plain(RATIO)} at the peak rate; {WORSE} times the "
    "untrained baseline; sign changes over 40 % with jumps over 30 % of the level",
    source="specs/mdfed.md 8: at lr 0.3 the ratio is 2e-3 as in a healthy run: the loss decides",
    example="At lr 0.3 the validation loss rose to 2.2, above the 1.386 of an untrained network.",
    explains=("B09", "B10", *below("B08")),
)
