"""B10: a part of the network gets next to no gradient."""

from collections.abc import Mapping

import numpy as np

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Curve, Evidence, Floats
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.diagnostics.series import rate_share, tail, warm
from backend.analysis.diagnostics.tracking import idle_parts
from backend.core.diagnosis import Fact, Shown

VANISHED = 1e-7
"""Mean absolute gradient; SageMaker Debugger's VanishingGradient."""
FADED = 1e-4
"""Of the last part's gradient, in the first part."""
CHECKS = 3


def judge(evidence: Evidence) -> Verdict:
    """Three looks in a row at every part that trains."""
    found = {
        key: warm(evidence, curve)
        for key, curve in evidence.curves.items()
        if key.startswith("gradient/") and key.endswith("/mean_abs")
    }
    if not found:
        return Unknown("no gradients by part of the network were logged")
    share = rate_share(evidence, next(iter(found.values())).steps)
    if share is None:
        return Unknown("no learning rate was logged")
    idle = idle_parts(evidence)
    courses = {
        part: tail(Curve(curve.steps[share > 0], curve.values[share > 0]), CHECKS)
        for key, curve in found.items()
        if (part := key.split("/")[1]) not in idle and len(curve) == len(share)
    }
    if not courses or min(len(course) for course in courses.values()) < CHECKS:
        return Unknown(f"fewer than {CHECKS} looks at the gradients after the warm-up")
    gone = [part for part, course in courses.items() if (course.values < VANISHED).all()]
    if gone:
        return _vanished(gone, courses)
    return _faded(courses)


def _vanished(gone: list[str], courses: Mapping[str, Curve]) -> Fired:
    newest = {part: float(courses[part].values[-1]) for part in gone}
    return Fired(
        severity="error",
        headline=f"The gradient has vanished in {', '.join(gone)}: its mean size is "
        f"{max(newest.values()):.1e}",
        cause="what comes back to these weights is too small to move them",
        advice=ADVICE,
        evidence=tuple(
            Fact(name=f"mean |gradient| of {part}", value=value, limit=VANISHED,
                 step=int(courses[part].steps[-1]))
            for part, value in newest.items()
        ),
        curves=tuple(_shown(part, VANISHED) for part in gone),
    )  # fmt: skip


def _faded(courses: Mapping[str, Curve]) -> Verdict:
    """The first part against the last."""
    first, *_, last = (*courses, *courses)
    ratios = _ratio(courses[first].values, courses[last].values)
    if not (ratios < FADED).all():
        return Clear()
    return Fired(
        severity="error",
        headline=f"The gradient fades on its way back: {first} gets {ratios[-1]:.1e} of what "
        f"{last} gets",
        cause="layers between the output and the first weights take the gradient away",
        advice=ADVICE,
        evidence=(
            Fact(name=f"mean |gradient| of {first} over that of {last}", value=float(ratios[-1]),
                 limit=FADED, step=int(courses[first].steps[-1])),
        ),
        curves=(_shown(first, VANISHED), _shown(last, VANISHED)),
    )  # fmt: skip


def _ratio(first: Floats, last: Floats) -> Floats:
    """Infinity where the last is 0: nothing fades that was not there."""
    return np.array([f / g if g > 0 else np.inf for f, g in zip(first, last, strict=True)])


def _shown(part: str, limit: float) -> Shown:
    return Shown(key=f"gradient/{part}/mean_abs", levels={"vanished": limit})


ADVICE = Advice(
    text="Put residual connections and normalisation between the output and that part, and use "
    "ReLU-like activations with their own initialisation; a learning rate does not help",
)

RULE = Rule(
    id="B10",
    title="Vanishing gradient",
    judge=judge,
    needs="gradient/<part>/mean_abs of each part that trains, and lr/....",
    condition="The mean absolute gradient of a part is under 1e-7 in three looks in a row, or the "
    "first part's under 1e-4 of the last part's, while the learning rate is not 0. Parts of a "
    "tracker whose gradient is exactly 0 do not count while no track begins.",
    threshold="1e-7; 1e-4; 3 looks of 3 after the warm-up.",
    source="SageMaker Debugger VanishingGradient (1e-7); the ratio is our own.",
    example="Twelve stacked layers with sigmoid activations leave the first one a gradient that "
    "is a hundred thousand times smaller than the last one's.",
    explains=below("B10"),
)
