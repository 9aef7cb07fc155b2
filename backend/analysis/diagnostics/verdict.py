"""A run in one line: converged, still improving, or not learning and why."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.gains import EVALUATIONS
from backend.analysis.text import number, plural
from backend.core.diagnosis import SEVERITIES, DiagnosticFinding

State = Literal["early", "improving", "converged", "finished", "sick"]

NOT_LEARNING = frozenset({"B01", "B02", "B03", "B04", "B05", "B06", "B08", "B09", "B10", "B12"})
"""Rules that show that nothing, or no more, is learnt."""
NOTHING_TRACKED = frozenset({"T04", "T05", "T06"})
"""Rules that show that a tracker shows next to nothing."""
LOOK = "assay check CONFIG looks at the data, a training by Assay at predictions and gradients too"
SICK = SEVERITIES.index("error")


def is_sick(finding: DiagnosticFinding) -> bool:
    """Will the run not give a useful model as it is?"""
    return SEVERITIES.index(finding.severity) >= SICK


def state_of(
    evidence: Evidence, findings: Sequence[DiagnosticFinding], early: bool = False
) -> State:
    """How the run stands; ``findings`` with the gravest first."""
    fired = {finding.rule for finding in findings}
    if findings and is_sick(findings[0]):
        return "sick"
    if early:
        return "early"
    if "B16" in fired:
        return "converged"
    if "B17" in fired:
        return "improving"
    return "finished" if evidence.finished else "early"


def verdict_line(
    evidence: Evidence,
    state: State,
    findings: Sequence[DiagnosticFinding],
    also_seen: Sequence[DiagnosticFinding],
) -> str:
    """The state in words, with the root cause named."""
    if state == "sick":
        return _illness(evidence.step, findings[0], also_seen)
    zeros = _zeros(evidence)
    if zeros and state in {"finished", "early"}:
        return f"{zeros}, and what was logged does not tell why: {LOOK}"
    best = best_said(evidence)
    if state == "converged":
        return f"converged at {best}"
    if state == "improving":
        return f"still improving: best so far at {best}"
    if state == "finished":
        return _ended(len(evidence.evaluations), best)
    if not best:
        return "nothing is evaluated yet"
    seen = plural(len(evidence.evaluations), "evaluation")
    if len(evidence.evaluations) < EVALUATIONS:
        return f"too early to tell: {seen} so far"
    return f"neither convergence nor further gain is shown after {seen}: best so far at {best}"


def _ended(evaluations: int, best: str) -> str:
    """Neither rule about the course fired; with few evaluations neither was asked."""
    said = "ended, neither convergence nor a further gain that counts is shown"
    if best and evaluations < EVALUATIONS:
        seen = plural(evaluations, "evaluation")
        said = f"ended after {seen}, too few to tell whether it has converged"
    return said + (best and f"; best at {best}")


def best_said(evidence: Evidence) -> str:
    """``epoch 14 (step 240): val/edit 87.900`` of the best evaluation; empty without one."""
    curve = evidence.curve(evidence.headline)
    if curve is None:
        return ""
    lowest = evidence.direction(evidence.headline) == "minimize"
    place = int(np.argmin(curve.values) if lowest else np.argmax(curve.values))
    step, value = int(curve.steps[place]), float(curve.values[place])
    epoch = evidence.epoch(step)
    where = f"step {step}" if epoch is None else f"epoch {epoch} (step {step})"
    return f"{where}: {evidence.headline} {number(value, 1 if abs(value) > 2 else 3)}"


def _zeros(evidence: Evidence) -> str:
    """That the headline is stuck at zero, of a run that shows too little to say why."""
    curve = evidence.curve(evidence.headline)
    if curve is None or evidence.direction(evidence.headline) == "minimize":
        return ""
    if len(curve) < EVALUATIONS or curve.values.any():
        return ""
    return f"{evidence.headline} is exactly 0 in all {len(curve)} evaluations"


def _illness(step: int, root: DiagnosticFinding, also_seen: Sequence[DiagnosticFinding]) -> str:
    said = root.cause or root.headline
    fired = {root.rule, *(finding.rule for finding in also_seen)}
    if fired & NOTHING_TRACKED:
        state = "nothing is tracked"
    elif fired & NOT_LEARNING:
        state = "not learning"
    else:
        state = "something is wrong" if step else "not worth training"
    named = "" if said.endswith(")") else f" ({root.rule})"
    return f"{state}: {said.rstrip('.')}{named}"
