"""B03: a loss is no better than predictors that never look at their input."""

from collections.abc import Mapping

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.predictions import said_of
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import late, window
from backend.analysis.diagnostics.trivial import (
    BEATEN,
    Standing,
    baselines_of,
    is_trivial,
    level_of,
    listed,
    standings,
)
from backend.analysis.diagnostics.weighting import weighting_of
from backend.core.diagnosis import Fact, Shown

Parts = Mapping[str, tuple[Standing, ...]]


def judge(evidence: Evidence) -> Verdict:
    """Each part of the loss on its own: the sum hides a head that learns nothing."""
    known = standings(evidence)
    if not known:
        return Unknown(
            f"needs the losses' trivial baselines and {window(evidence)} evaluations of a loss"
        )
    if not late(evidence):
        return Unknown("a fifth of the training is not done")
    trivial = {part: found for part, found in known.items() if is_trivial(found)}
    if not trivial:
        return Clear()
    learnt = {p: s for p, s in known.items() if all(x.level == "learnt" for x in s)}
    return _trivial(evidence, trivial, learnt)


def _trivial(evidence: Evidence, trivial: Parts, learnt: Parts) -> Fired:
    step, steps = evidence.step, evidence.steps or evidence.step
    one = len(trivial) == 1
    cause, advice = _next(evidence, trivial, learnt)
    beside = (
        f", while {listed(evidence, learnt)} beats them ({baselines_of(learnt)})" if learnt else ""
    )
    return Fired(
        severity="error",
        headline=f"After {step} of {steps} steps {listed(evidence, trivial)} "
        f"{'is' if one else 'are'} no better than predictors that ignore the input "
        f"({baselines_of(trivial)}){beside}{said_of(evidence)}.",
        cause=cause,
        advice=advice,
        evidence=tuple(
            Fact(name=f"{s.key} against {name}", value=s.value, limit=BEATEN * value, step=step)
            for found in trivial.values() for s in found for name, value in s.baselines.items()
        ),
        curves=tuple(
            Shown(key=s.key, levels=dict(s.baselines)) for found in trivial.values() for s in found
        ),
    )  # fmt: skip


def _next(evidence: Evidence, trivial: Parts, learnt: Parts) -> tuple[str, Advice]:
    """The level decides what is asked next."""
    weighting = weighting_of(evidence)
    constant = level_of(trivial) == "constant"
    if weighting and (learnt or (constant and weighting.explains)):
        return weighting.cause, weighting.advice
    if learnt:
        return "this head alone does not learn: the input is used by the others", HEAD
    if not constant:
        return (
            "the loss sits at the level of a predictor that knows only where events tend to be: "
            "the input is likely not used (B04 shows it)"
        ), INPUT
    return (
        "the loss sits at the level of the best constant: the learning rate is wrong, or the "
        "network has collapsed"
    ), OPTIMISATION


HEAD = Advice(
    "Look at this head's weight in the loss and at its labels; start its last layer at the rate "
    "of its classes.",
    change=(Turn("bias_init", values=(True,)),),
    study=(Turn("lr", times=(0.3, 3.0)),),
)
INPUT = Advice(
    "Look at the data path: permute the inputs (B04), and draw some as the network gets them. A "
    "study over settings does not help while the input is not used."
)
OPTIMISATION = Advice(
    "Lower the learning rate to a tenth; start the last layer at the constant's probabilities.",
    change=(Turn("lr", times=(0.1,)),),
    study=(Turn("lr", times=(0.1, 0.01)), Turn("bias_init", values=(True,))),
)

RULE = Rule(
    id="B03",
    title="The loss is trivial",
    judge=judge,
    needs="The parts of the loss, and the trivial baselines from the run's own loader.",
    condition="The lowest smoothed value of the last K evaluations is no better than a constant "
    "or position-only predictor, on validation and on training data.",
    threshold="0.97 to 1.25 of a baseline, each part of the loss on its own; K = max(3, 10 % of "
    "the evaluations), after 20 % of the steps; not of a part that was under 0.8 before (B05)",
    source="specs/mdfed.md 1 and 7; Karpathy's input-independent baseline",
    example="Heads at 0.409 and 0.383; constant 0.411 + 0.404, position 0.399 + 0.363.",
    explains=below("B03"),
)
