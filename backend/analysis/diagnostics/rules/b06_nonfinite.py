"""B06: a value is no number."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import at
from backend.analysis.text import percent
from backend.core.diagnosis import Fact
from backend.core.events import MetricsLogged, NonfiniteSeen

SKIPPED = 0.05
"""Share of steps that a loss scaler may leave out once it has settled."""
SETTLED = 200
"""Steps in which the scaler looks for its scale."""
FILES = "input"


def judge(evidence: Evidence) -> Verdict:
    """What was seen where it arose; else in what was logged; else by the steps left out."""
    if seen := evidence.nonfinite:
        return _seen(evidence, min(seen, key=lambda event: event.step))
    if not evidence.all(MetricsLogged):
        return Unknown("nothing was logged yet")
    first = _first(evidence)
    return _logged(*first) if first else _left_out(evidence) or Clear()


def _first(evidence: Evidence) -> tuple[int, str, float] | None:
    """The first loss or metric that is no number; of a repeated step the last value counts.

    The norm of a gradient is infinite now and then while a loss scaler looks for its scale: B11.
    """
    declared = {m.name for m in evidence.started.metrics} if evidence.started else set()
    broken = (
        (step, key, value)
        for (step, key), value in evidence.broken.items()
        if "loss" in key or key.partition("/")[2] in declared
    )
    return min(broken, default=None)


def _seen(evidence: Evidence, first: NonfiniteSeen) -> Fired:
    samples = f", in the step of {', '.join(first.samples[:8])}" if first.samples else ""
    damaged = first.where == FILES or _damaged(evidence)
    return Fired(
        severity="stop",
        headline=f"At step {first.step} the {first.where} '{first.name}' is no number{samples}.",
        cause="the input holds values that are no number (D02)"
        if damaged
        else f"the {first.where} '{first.name}' is no number since step {first.step}",
        sure="proven",
        advice=INPUT if damaged else RATE,
        evidence=(Fact(name=f"first {first.where}", value=first.name, step=first.step),
                  *(Fact(name="sample of that step", value=name) for name in first.samples[:8])),
        step=first.step,
    )  # fmt: skip


def _damaged(evidence: Evidence) -> bool:
    return any(q.nonfinite for q in evidence.survey.quality) if evidence.survey else False


def _logged(step: int, key: str, value: float) -> Fired:
    return Fired(
        severity="stop",
        headline=f"At step {step} {key} is {value}.",
        cause=f"{key} is no number since step {step}",
        sure="proven",
        advice=RATE,
        evidence=(Fact(name=key, value=str(value), step=step),),
        step=step,
    )


def _left_out(evidence: Evidence) -> Fired | None:
    """Steps that were left out because their gradient overflowed, after the first 200."""
    curve = evidence.curve("train/steps_left_out")
    if curve is None or evidence.step <= SETTLED:
        return None
    early = float(curve.values[curve.steps <= SETTLED].max(initial=0.0))
    last = float(at(curve, curve.steps[-1:])[0])
    share = (last - early) / (evidence.step - SETTLED)
    if share <= SKIPPED:
        return None
    return Fired(
        severity="stop",
        headline=f"{percent(share, 1)} of the steps after step {SETTLED} were left out: their "
        "gradient was no number.",
        cause="gradients overflow",
        advice=RATE,
        evidence=(Fact(name="steps left out", value=share, limit=SKIPPED, step=evidence.step),),
        step=evidence.step,
    )


RATE = Advice(
    "Lower the learning rate to a tenth and clip the gradient; else train without float16.",
    change=(Turn("lr", times=(0.1,)), Turn("clip", values=(1.0,))),
    study=(Turn("lr", times=(0.1, 0.01)),),
)
INPUT = Advice(
    "Look at the named inputs and extract them again: no setting helps while they are no numbers."
)

RULE = Rule(
    id="B06",
    title="A value is no number",
    judge=judge,
    needs="Anything that was logged; where the first such value arose (NonfiniteSeen).",
    condition="An input, loss, gradient, parameter or metric is NaN or infinite, or the loss "
    "scaler leaves out too many steps.",
    threshold="any; 5 % of the steps after the first 200 left out",
    source="specs/mdfed.md 3.2: the public code drops the NaN and trains on",
    example="At step 17 the loss 'lcl_loss' is no number, in the step of clip12.",
    confirm=1,
    explains=below("B06"),
)
