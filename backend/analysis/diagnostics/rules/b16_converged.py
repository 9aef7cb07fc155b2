"""B16: the metric has settled, and nothing more is planned that could move it."""

import numpy as np

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.gains import (
    SHARE,
    Course,
    course_of,
    gain,
    rate_done,
    settled,
)
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.diagnostics.series import trend
from backend.analysis.text import plain
from backend.core.diagnosis import Fact, Shown
from backend.core.events import MetricsLogged


def judge(evidence: Evidence) -> Verdict:
    """Settled, at a rate that will not fall further, above what looking away gets."""
    course = course_of(evidence)
    if isinstance(course, Unknown):
        return course
    done = rate_done(evidence)
    if done is None:
        return Unknown("whether the learning rate falls further is not known")
    if not done or not settled(course) or not _learnt(course, evidence):
        return Clear()
    return _converged(course, evidence)


def _learnt(course: Course, evidence: Evidence) -> bool:
    """Above the trivial values that are known; without any, above nothing or its own start."""
    split, _, name = course.key.partition("/")
    known = evidence.baselines(split)
    levels = (*known.metrics.values(), *known.losses.values()) if known else ()
    trivial = [level[name] for level in levels if name in level]
    higher = evidence.direction(course.key) == "maximize"
    best = course.value(course.best)
    if higher:
        return best > max([*trivial, 0.0])
    return best < min([*trivial, course.value(0)])


def _converged(course: Course, evidence: Evidence) -> Fired:
    best, count = course.best, course.newest(SHARE)
    value, step = course.value(best), course.step(best)
    epoch = next(
        (
            e.epoch
            for e in evidence.all(MetricsLogged)
            if e.step == step and course.key in e.metrics
        ),
        None,
    )
    where = f"epoch {epoch} (step {step})" if epoch else f"step {step}"
    newest = course.curve.values[-count:]
    return Fired(
        severity="info",
        headline=f"Converged: {course.key} is {plain(value)} at {where}, and the last {count} "
        "evaluations brought nothing that counts",
        cause="the metric has settled and the learning rate has come down",
        advice=ADVICE,
        evidence=(
            Fact(name=f"best {course.key}", value=value, step=step),
            Fact(name=f"gain in the last {count} evaluations", value=gain(course),
                 limit=course.least),
            Fact(name="trend (z)", value=trend(newest), limit=1.645),
            Fact(name="mean of the last evaluations", value=float(np.mean(newest))),
        ),
        curves=(Shown(key=course.key, levels={"best": value}),),
        step=step,
    )  # fmt: skip


ADVICE = Advice(
    text="Stop here and ship the epoch that is named; what to try next is another setting, the "
    "most important of the last study first, and not more epochs",
)

RULE = Rule(
    id="B16",
    title="Converged",
    judge=judge,
    needs="The metric that ranks checkpoints, at 8 evaluations or more, and the learning rate or "
    "the end of the run.",
    condition="The last max(5, 20 %) evaluations gain no more than max(0.005, sigma) over the "
    "best up to their first, show no trend (|z| < 1.645), the learning rate is under 5 % of its "
    "peak, constant by plan or the run over, and the metric is above its trivial values.",
    threshold="0.005 of a share (0.5 points of a score to 100) or the noise; 1.645; 5 %.",
    source="Early stopping with min_delta and patience (Keras, Lightning); Mann-Kendall test.",
    example="Edit is 87.9 at step 600 and has moved within its noise since step 480.",
    confirm=1,
)
