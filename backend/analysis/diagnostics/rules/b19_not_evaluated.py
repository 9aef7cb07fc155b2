"""B19: nothing was, or will be, evaluated."""

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.core.diagnosis import Fact


def judge(evidence: Evidence) -> Verdict:
    """By the plan before the first step, by what came of it at the end."""
    plan = evidence.plan
    if evidence.evaluations:
        return Clear()
    if plan and plan.validations == 0 and plan.first_validation is None:
        return _never(evidence, "No evaluation is due before the training ends", plan.steps)
    if evidence.finished and plan and evidence.step < (plan.first_validation or 0):
        return Unknown("the run was stopped before its first evaluation was due")
    if evidence.finished and evidence.headline and evidence.step:
        return _never(evidence, f"The training ended at step {evidence.step}", evidence.step)
    if plan and plan.first_validation is not None:
        return Clear()
    return Unknown("it is not known when evaluations are due")


def _never(evidence: Evidence, why: str, steps: int) -> Fired:
    key = evidence.headline or "the metric"
    return Fired(
        severity="error",
        headline=f"{why}, and {key} was never evaluated: it is absent, not zero.",
        cause="no evaluation runs: the first one is due after the training's end",
        sure="proven",
        advice=ADVICE,
        evidence=(
            Fact(name="evaluations", value=0.0, limit=1.0),
            Fact(name="steps of the training", value=float(steps)),
        ),
        step=evidence.step,
    )


ADVICE = Advice(
    "Evaluate from the start, once in each epoch.",
    change=(Turn("validation_begin", values=(0,)), Turn("validation_interval", values=(1,))),
)

RULE = Rule(
    id="B19",
    title="Nothing was evaluated",
    judge=judge,
    needs="The plan, or the end of the training.",
    condition="No evaluation is due before the training ends, or it ended without one.",
    threshold="none",
    source="specs/mdfed.md 3.3: the public code logs 0 before its first evaluation",
    example="Evaluations begin at epoch 20 of 10.",
    confirm=1,
    explains=("B01", "B16", "B17", "B18"),
)
