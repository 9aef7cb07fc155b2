"""B01: every key metric is exactly zero, and always was."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Curve, Evidence
from backend.analysis.diagnostics.predictions import (
    auroc_of,
    events_in,
    gets_better,
    predicted_in,
    said_of,
)
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import late, window
from backend.core.diagnosis import Fact, Shown

RANKING = ("ap_frame", "auroc")
"""Scores of a ranking: never zero, however blind the network is."""


def judge(evidence: Evidence) -> Verdict:
    """Zero at every evaluation although there is something to find."""
    curves = _key_metrics(evidence)
    if not curves:
        return Unknown("no metric that is better when higher was evaluated")
    if any(curve.values.any() for curve in curves.values()):
        return Clear()
    truth = events_in(evidence)
    if not truth:
        return Unknown(
            f"{_named(curves)} are 0 at every evaluation, but it is not known whether there is "
            "anything to find in validation"
        )
    needed, seen = window(evidence), min(len(curve) for curve in curves.values())
    if seen < needed or not late(evidence):
        return Unknown(f"{seen} evaluations, needs {needed} and a fifth of the training")
    return Clear() if gets_better(evidence) else _zero(evidence, curves, truth)


def _key_metrics(evidence: Evidence) -> dict[str, Curve]:
    """The headline and the metrics whose value is zero where nothing is predicted."""
    told = evidence.baselines("val")
    nothing = told.metrics.get("nothing") if told else None
    specs = evidence.started.metrics if evidence.started else ()
    names = [
        m.name for m in specs
        if m.direction == "maximize"
        and (nothing.get(m.name) == 0 if nothing else not m.name.startswith(RANKING))
    ]  # fmt: skip
    keys = [f"val/{name}" for name in names]
    if evidence.direction(evidence.headline) == "maximize":
        keys.append(evidence.headline)
    return {key: curve for key in keys if (curve := evidence.curve(key)) is not None}


def _named(curves: dict[str, Curve]) -> str:
    return ", ".join(key.partition("/")[2] for key in curves)


def _zero(evidence: Evidence, curves: dict[str, Curve], truth: int) -> Fired:
    names = _named(curves)
    count, steps = max(len(curve) for curve in curves.values()), evidence.steps or evidence.step
    auroc, predicted = auroc_of(evidence), predicted_in(evidence)
    return Fired(
        severity="error",
        headline=f"After {evidence.step} of {steps} steps {names} are exactly 0 in all {count} "
        f"evaluations, with {truth:,} to find{said_of(evidence)}.",
        cause=ELSEWHERE if predicted else "nothing that is predicted passes the threshold",
        sure="possible" if auroc is None else "likely",
        advice=COMPARE if predicted else ADVICE,
        evidence=(
            *(Fact(name=key, value=0.0, limit=0.0, step=evidence.step) for key in curves),
            Fact(name="to find in validation", value=float(truth)),
            *([Fact(name="AUROC", value=auroc)] if auroc is not None else []),
        ),
        curves=tuple(Shown(key=key) for key in curves),
    )  # fmt: skip


ELSEWHERE = "nothing that is predicted lies where the truth is"
COMPARE = Advice(
    "Draw some of the predictions and of the truth over the same inputs: times or places that are "
    "off, or another order of classes. If they lie well, nothing is learnt yet: train longer.",
)
ADVICE = Advice(
    "Lower the threshold and look at the average precision, which sees progress while the metrics "
    "are still zero.",
    change=(Turn("threshold", values=(0.3,)),),
    study=(Turn("threshold", values=(0.1, 0.2, 0.3, 0.5)),),
)

RULE = Rule(
    id="B01",
    title="The metric is stuck at zero",
    judge=judge,
    needs="The validation metrics, and how much there is to find.",
    condition="Every key metric is exactly 0 at every evaluation although there is something to "
    "find.",
    threshold="the last K = max(3, 10 % of the evaluations), after 20 % of the steps, and not "
    "while the AUROC rises by 0.05 in an evaluation or a loss falls by 3 % in K "
    "(the training loss in the first two thirds only)",
    source="specs/mdfed.md 1: all F1 and Edit at 0 while the losses look calm",
    example="Edit, event, element and frame F1 are 0 in 12 of 12 evaluations, with 155 events.",
    explains=below("B01"),
)
