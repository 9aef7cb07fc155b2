"""Numbers for looking at a training: curves and evidence in, plain values out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backend.analysis.diagnostics.evidence import Curve, Evidence
from backend.analysis.diagnostics.series import at, noise
from backend.core.diagnosis import Diagnosis
from backend.core.events import InputProbed, PredictionsObserved
from backend.core.evidence import GroupMovement, PredictionHistogram
from backend.core.records import Checkpoint, Direction, Series

TOTAL = "loss"
LOOKED_FOR = ("position", "constant")  # baselines, the sharper first
USUAL_UPDATE = (1e-4, 1e-2)
"""Update over weights of healthy trainings at a working rate; measured ones lie at 2e-3 to 6e-3,
1e-3 is the customary aim. It falls with the learning rate."""
VANISHED = 1e-7  # mean absolute gradient; SageMaker Debugger's VanishingGradient
USED = 1.01  # loss with permuted inputs over the loss: below, the input is not used
LEAST_GAIN = 0.005  # of a headline metric, as a share of its scale
MOST_CLASSES = 30


def curve_of(series: Series | None) -> Curve | None:
    """A stored series as a curve, without what is no number; None if nothing is left."""
    if series is None:
        return None
    steps, values = np.asarray(series.steps, dtype=np.int64), np.asarray(series.values, float)
    kept = np.isfinite(values)
    return Curve(steps[kept], values[kept]) if kept.any() else None


def with_total(curves: Mapping[str, Curve], parts: Sequence[str], split: str) -> dict[str, Curve]:
    """The curves of a split's parts of the loss by part; a total that was not logged is their
    sum."""
    found = {part: curves[f"{split}/{part}"] for part in parts if f"{split}/{part}" in curves}
    if TOTAL in found or len(found) < 2:
        return found
    steps = next(iter(found.values())).steps
    for curve in found.values():
        steps = np.intersect1d(steps, curve.steps)
    if not len(steps):
        return found
    summed = np.sum([at(curve, steps) for curve in found.values()], axis=0)
    return {TOTAL: Curve(steps, summed)} | found


def loss_parts(evidence: Evidence, names: Sequence[str]) -> list[str]:
    """The parts of the loss that were logged, the total first, as they were planned.

    Of a run without a plan: every name of ``train/`` or ``val/`` that speaks of a loss.
    """
    logged = {n.partition("/")[2] for n in names if n.startswith(("train/", "val/"))}
    planned = evidence.plan.losses if evidence.plan else ()
    found = planned or sorted(name for name in logged if "loss" in name)
    return [part for part in dict.fromkeys([TOTAL, *found]) if part in logged]


def network_parts(evidence: Evidence, names: Sequence[str]) -> list[str]:
    """The parts of the network whose gradients or updates were logged, from input to output."""
    logged = {n.split("/", 1)[1].removesuffix("/norm").removesuffix("/mean_abs")
              for n in names if n.startswith(("gradient/", "update/"))} - {"all"}  # fmt: skip
    order = [group.name for moved in evidence.movements for group in moved.groups]
    order += [group.name for report in evidence.freezing for group in report.groups]
    return [part for part in dict.fromkeys([*order, *sorted(logged)]) if part in logged]


def baselines_of(evidence: Evidence, part: str) -> dict[str, float]:
    """What predictors that never look at their input get, by name: on the validation data, or on
    the training data where that is all that was counted."""
    for split in ("val", "train"):
        told = evidence.baselines(split)
        found = {name: losses[part] for name, losses in told.losses.items()
                 if part in losses} if told else {}  # fmt: skip
        if found:
            return found
    return {}


@dataclass(frozen=True)
class Gap:
    """Validation loss minus training loss at each validation, and as a share of the latter.

    ``own`` is the gap of the baseline ``name`` between the two splits: what their labels alone
    explain; None if it was not counted.
    """

    steps: list[int]
    gaps: list[float]
    relative: list[float | None]
    own: float | None
    name: str


def gap_of(train: Curve | None, val: Curve | None, evidence: Evidence, part: str) -> Gap | None:
    """The gap of a part of the loss; None without both curves.

    The training loss at a validation is the mean of what was logged since the one before.
    """
    if train is None or val is None:
        return None
    steps = val.steps.tolist()
    before = [-1, *steps[:-1]]
    means = [_mean_between(train, a, b) for a, b in zip(before, steps, strict=True)]
    rows = [(s, v - m, (v - m) / m if m else None)
            for s, v, m in zip(steps, val.values.tolist(), means, strict=True)
            if m is not None]  # fmt: skip
    if not rows:
        return None
    own, name = _own_gap(evidence, part)
    return Gap([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], own, name)


def _mean_between(curve: Curve, after: int, until: int) -> float | None:
    inside = (curve.steps > after) & (curve.steps <= until)
    return float(curve.values[inside].mean()) if inside.any() else None


def _own_gap(evidence: Evidence, part: str) -> tuple[float | None, str]:
    train, val = evidence.baselines("train"), evidence.baselines("val")
    for name in LOOKED_FOR if train and val else ():
        sides = [told.losses.get(name, {}).get(part) for told in (train, val) if told]
        if sides[0] is not None and sides[1] is not None:
            return sides[1] - sides[0], name
    return None, ""


@dataclass(frozen=True)
class Candidate:
    """An evaluation that one could ship, and why. ``epoch`` is None where it is not known."""

    why: tuple[str, ...]
    step: int
    epoch: float | None
    value: float
    loss: float | None


@dataclass(frozen=True)
class Shipping:
    """Which evaluations could be shipped, in order of steps.

    ``margin`` is what a difference must exceed to count; ``within`` are the evaluations that are
    as good as the best by it; ``scatter`` is the noise that the margin comes from. ``flat``: the
    headline metric never changed in several evaluations.
    """

    candidates: tuple[Candidate, ...]
    within: tuple[int, ...]
    margin: float
    scatter: float
    flat: bool


def shipping(
    headline: Curve | None,
    direction: Direction | None,
    loss: Curve | None,
    epochs: Mapping[int, float],
) -> Shipping | None:
    """The best evaluation by the headline metric, by validation loss, the first that is within
    noise of the best, and the last; None without a headline. ``epochs``: step to epoch."""
    if headline is None or not len(headline):
        return None
    values = headline.values if direction != "minimize" else -headline.values
    scatter = noise(headline.values)
    margin = max(scatter, LEAST_GAIN * (1 if np.abs(values).max() <= 1 else 100))
    best, near = int(np.argmax(values)), np.flatnonzero(values >= values.max() - margin)
    reasons: dict[int, list[str]] = {int(near[0]): ["first within noise of the best"]}
    reasons.setdefault(best, []).insert(0, "best by the headline metric")
    by_loss = _lowest(loss, headline)
    if by_loss is not None:
        reasons.setdefault(by_loss, []).append("lowest validation loss")
    reasons.setdefault(len(headline) - 1, []).append("last")
    steps = headline.steps.tolist()
    losses = dict(zip(loss.steps.tolist(), loss.values.tolist(), strict=True)) if loss else {}
    found = tuple(
        Candidate(tuple(why), steps[i], epochs.get(steps[i]), float(headline.values[i]),
                  losses.get(steps[i]))
        for i, why in sorted(reasons.items())
    )  # fmt: skip
    flat = len(values) > 1 and float(np.ptp(values)) == 0
    return Shipping(found, tuple(steps[int(i)] for i in near), margin, scatter, flat)


def _lowest(loss: Curve | None, headline: Curve) -> int | None:
    """The evaluation of the lowest loss, among those that have a headline value."""
    if loss is None:
        return None
    shared = np.isin(loss.steps, headline.steps)
    if not shared.any():
        return None
    step = loss.steps[shared][np.argmin(loss.values[shared])]
    return int(np.flatnonzero(headline.steps == step)[0])


@dataclass(frozen=True)
class Mark:
    """Something that happened at a step: ``kind`` and words."""

    kind: str
    step: int
    text: str


def marks_of(
    evidence: Evidence, checkpoints: Sequence[Checkpoint], best: int | None, steps: int
) -> list[Mark]:
    """Recoveries, checkpoints and the end of a run. ``best`` is the epoch of its best
    checkpoint, ``steps`` the last step that was logged."""
    found = [
        Mark("best" if c.epoch == best else "checkpoint", c.step,
             f"{'best ' if c.epoch == best else ''}checkpoint, epoch {c.epoch}")
        for c in checkpoints
    ]  # fmt: skip
    found += [Mark("recovery", told.step or 0, f"ran out of {told.kind} memory: {told.action}")
              for told in evidence.recoveries]  # fmt: skip
    end = evidence.finished
    if end is not None and end.status != "finished":
        why = f" by {end.finding}" if end.finding else f": {end.reason}" if end.reason else ""
        found.append(Mark("end", steps, f"{end.status}{why}"))
    return found


def finding_steps(diagnosis: Diagnosis | None) -> dict[int, str]:
    """Step to the rules that fired there first, in order, as far as something is wrong."""
    found: dict[int, list[str]] = {}
    for finding in diagnosis.findings if diagnosis else ():
        if finding.step and finding.severity != "info":
            found.setdefault(finding.step, []).append(finding.rule)
    return {step: ", ".join(rules) for step, rules in sorted(found.items())}


@dataclass(frozen=True)
class Bars:
    """Truth and prediction of an output, class by class in the order it was told, the background
    apart: its name, truth and prediction. ``left_out`` are the rarest classes beyond
    ``MOST_CLASSES``."""

    output: str
    names: tuple[str, ...]
    truth: tuple[int, ...]
    predicted: tuple[int, ...]
    background: tuple[str, int, int] | None
    left_out: int


def bars_of(histogram: PredictionHistogram) -> Bars:
    """A histogram as bars."""
    truth, predicted, ground = histogram.truth, histogram.predicted, histogram.background
    names = [name for name in dict.fromkeys([*truth, *predicted]) if name != ground]
    size = {name: truth.get(name, 0) + predicted.get(name, 0) for name in names}
    kept = set(sorted(names, key=lambda name: -size[name])[:MOST_CLASSES])
    shown = tuple(name for name in names if name in kept)
    return Bars(
        histogram.output, shown,
        tuple(truth.get(name, 0) for name in shown),
        tuple(predicted.get(name, 0) for name in shown),
        (ground, truth.get(ground, 0), predicted.get(ground, 0)) if ground else None,
        len(names) - len(shown),
    )  # fmt: skip


def observed_at(
    told: Sequence[PredictionsObserved], wanted: str
) -> PredictionsObserved | None:  # fmt: skip
    """What was predicted at step ``wanted``, or last for an unknown step; None without any."""
    return next((one for one in told if str(one.step) == wanted), told[-1] if told else None)


def over_time(
    told: Sequence[PredictionsObserved], output: str
) -> list[tuple[int, PredictionHistogram]]:
    """One output at each validation, with its step."""
    return [(one.step, h) for one in told for h in one.histograms if h.output == output]


def ratios(probe: InputProbed) -> dict[str, float]:
    """The loss with permuted inputs over the loss, by part; near 1 the input is not used."""
    return {part: probe.permuted[part] / loss for part, loss in probe.losses.items()
            if part in probe.permuted and loss}  # fmt: skip


def wrong_with(group: GroupMovement) -> str:
    """What contradicts the plan in how a part moved; empty if nothing does."""
    if group.planned == "frozen":
        return "moved, though it is frozen" if group.changed else ""
    if group.requires_grad < group.tensors:
        return f"{group.tensors - group.requires_grad} of {group.tensors} have no gradient"
    if group.in_optimizer < group.tensors:
        return f"{group.tensors - group.in_optimizer} of {group.tensors} are not in the optimizer"
    return "did not move" if group.changed == 0 and group.rate >= 0.1 else ""
