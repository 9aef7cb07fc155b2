"""B12: what was planned to train does not move."""

from collections.abc import Sequence

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.diagnostics.tracking import idle_parts
from backend.core.diagnosis import Fact, Shown
from backend.core.events import MovementObserved
from backend.core.evidence import GroupMovement

STILL = 1e-9
"""Relative change over an epoch that is none: far below float32's rounding."""
AT_WORK = 0.1
"""Share of the peak learning rate below which standing still is no fault."""


def judge(evidence: Evidence) -> Verdict:
    """First what the optimizer holds, which is certain; then what moved over an epoch."""
    looks = evidence.movements
    if not looks:
        return Unknown("which parameters move was not observed")
    locked = [group for group in _planned(looks[-1]) if _unreachable(group)]
    if locked:
        return _locked(locked, looks[-1])
    held = evidence.plan.held if evidence.plan else 0
    free = [look for look in looks if look.since >= held]
    span = _epoch(free, evidence.plan.steps_per_epoch if evidence.plan else 1)
    if not span:
        return Unknown("less than an epoch of movement was observed")
    idle = idle_parts(evidence)
    still = [g for g in _planned(span[-1]) if g.name not in idle and _stood(g, span)]
    return _stuck(still, span) if still else Clear()


def _planned(look: MovementObserved) -> list[GroupMovement]:
    return [group for group in look.groups if group.planned == "trainable" and group.tensors]


def _unreachable(group: GroupMovement) -> bool:
    return group.requires_grad < group.tensors or group.in_optimizer < group.tensors


def _epoch(looks: Sequence[MovementObserved], steps: int) -> list[MovementObserved]:
    """The newest looks that know a change and together cover an epoch; else none."""
    kept: list[MovementObserved] = []
    for look in reversed(looks):
        if any(group.change is None for group in _planned(look)):
            break
        kept.insert(0, look)
        if kept[-1].step - kept[0].since >= steps:
            return kept
    return []


def _stood(group: GroupMovement, span: Sequence[MovementObserved]) -> bool:
    """Did the group stand still at every look of the span, at a learning rate that counts?"""
    seen = [other for look in span for other in _planned(look) if other.name == group.name]
    return all(
        other.rate >= AT_WORK and (other.changed == 0 or (other.change or 0.0) < STILL)
        for other in seen
    )


def _locked(groups: Sequence[GroupMovement], look: MovementObserved) -> Fired:
    names = ", ".join(group.name for group in groups)
    closed = any(group.requires_grad < group.tensors for group in groups)
    cause = (
        "their requires_grad is False"
        if closed
        else "the optimizer was built without them, as it happens when it is made before they "
        "are unfrozen"
    )
    return Fired(
        severity="error",
        headline=f"Planned to train, and cannot: {names}.",
        cause=cause,
        sure="proven",
        advice=ADVICE,
        evidence=tuple(fact for group in groups for fact in _side_by_side(group, look.step)),
        step=look.step,
    )


def _side_by_side(group: GroupMovement, step: int) -> tuple[Fact, ...]:
    """The plan and the reality of a part."""
    name, planned = group.name, float(group.tensors)
    return (
        Fact(name=f"{name}: planned to train", value=planned, step=step),
        Fact(name=f"{name}: with requires_grad", value=float(group.requires_grad), limit=planned,
             step=step),
        Fact(name=f"{name}: in the optimizer", value=float(group.in_optimizer), limit=planned,
             step=step),
    )  # fmt: skip


def _stuck(groups: Sequence[GroupMovement], span: Sequence[MovementObserved]) -> Fired:
    names = ", ".join(group.name for group in groups)
    first, last = span[0].since, span[-1].step
    return Fired(
        severity="error",
        headline=f"Planned to train, and did not move from step {first} to {last}: {names}.",
        cause="no gradient reaches these parameters: the loss does not depend on them",
        sure="proven",
        advice=ADVICE,
        evidence=tuple(
            Fact(name=f"relative change of {group.name}", value=group.change or 0.0, limit=STILL,
                 step=last)
            for group in groups
        ),
        curves=tuple(Shown(key=f"update/{group.name}") for group in groups),
        step=last,
    )  # fmt: skip


ADVICE = Advice(
    text="Hold the freezing plan against what the optimizer got: set requires_grad before the "
    "optimizer is built, and look for a detach or no_grad between these parameters and the loss",
)

RULE = Rule(
    id="B12",
    title="Parameters do not move",
    judge=judge,
    needs="What moved at each validation (MovementObserved), with the plan beside it.",
    condition="Tensors that are planned to train have requires_grad False or are not in the "
    "optimizer; or a whole part changes by less than 1e-9 over an epoch while its learning rate "
    "is at least 10 % of its peak; steps of a head warm-up do not count.",
    threshold="Any tensor; 1e-9 relative over one epoch.",
    source="SageMaker Debugger UnchangedTensor; the plan beside the reality is our own.",
    example="An optimizer that is built before the encoder is unfrozen never moves it.",
    confirm=1,
    explains=below("B12"),
)
