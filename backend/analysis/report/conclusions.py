"""Sentences that follow from the curves of one run; each carries the numbers it rests on.

Nothing here speaks of an improvement over another run: that takes a comparison with an interval.
A curve is one number per epoch, so what it can show is a trend (Theil-Sen's slope with its
interval) and a scatter about it.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from backend.analysis import text
from backend.analysis.epochs import (
    ENOUGH,
    MARGIN,
    EpochChange,
    compare_epochs,
)
from backend.analysis.report.blocks import cell
from backend.analysis.report.course import Course, Curve
from backend.analysis.report.trends import LEAST, Trend, Watched, compared, trend_of

LATE = 3
"""Only if its best value is among so many last ones is a metric said to be still improving."""


class Remark(NamedTuple):
    """A conclusion, and what to do about it (empty: nothing). ``rule`` names what found it."""

    rule: str
    said: str
    step: str = ""


def conclude(course: Course, compared: Collection[tuple[int, int]] = ()) -> list[Remark]:
    """All that the curves of a run say. ``compared``: epochs whose checkpoints were compared."""
    curve, direction = course.finite(course.headline), course.direction(course.headline)
    remarks = []
    if curve and direction is not None:
        watched = Watched(course.headline, direction, curve, course.planned)
        remarks = [
            *about_best(watched),
            *about_trend(watched),
            *about_decline(watched),
            *about_last_two(watched, compared),
            *about_others(course),
        ]
    return [*remarks, *about_losses(course), *about_overfitting(course)]


def about_best(watched: Watched) -> list[Remark]:
    """Which epoch is best, by how little."""
    curve, best = watched.curve, watched.best
    word = "highest" if watched.direction == "maximize" else "lowest"
    said = f"The {word} {cell(watched.name)} is {text.number(curve[best], 4)}, at epoch {best}"
    if len(curve) == 1:
        return [Remark("best", f"{said}; it was measured only once.")]
    others = {epoch: value for epoch, value in curve.items() if epoch != best}
    next_best = Watched(watched.name, watched.direction, others, 0).best
    gap = abs(curve[best] - curve[next_best])
    by = f"is {text.number(gap, 4)} from it" if round(gap, 4) else "has the same to four digits"
    return [Remark("best", f"{said} ({len(curve)} measured); the next, epoch {next_best}, {by}.")]


def about_trend(watched: Watched) -> list[Remark]:
    """Still getting better, level, getting worse, or not to be told."""
    trend = trend_of(watched.name, watched.curve)
    name = cell(watched.name)
    if trend is None:
        few = text.plural(len(watched.curve), "value")
        return [Remark("few", f"With {few} of {name} there is no trend to test.")]
    good = watched.good(trend)
    if good:
        late = watched.best in list(watched.curve)[-LATE:]
        return [_improving(watched, trend) if late else _improved(watched, trend)]
    if good is False:
        return [Remark("worsening", f"{name} gets worse: {trend.said()}.")]
    span = trend.last - trend.first
    if watched.share and max(abs(trend.low), abs(trend.high)) * span < MARGIN:
        said = (
            f"{name} has levelled off: its trend is {trend.said()}, and either bound is less than "
            f"{MARGIN:g} over these epochs."
        )
        step = (
            "More epochs of this schedule are not supported by the curve; change something else."
        )
        return [Remark("level", said, step)]
    return [
        Remark(
            "unclear",
            f"Whether {name} still changes cannot be told: its trend is {trend.said()}, and the "
            "interval holds zero.",
        )
    ]


def _improved(watched: Watched, trend: Trend) -> Remark:
    after = sum(epoch > watched.best for epoch in watched.curve)
    return Remark(
        "improved",
        f"{cell(watched.name)} gets better: {trend.said()}; but none of the {after} values after "
        f"epoch {watched.best} is better than that one.",
    )


def _improving(watched: Watched, trend: Trend) -> Remark:
    name = cell(watched.name)
    gain = abs(trend.slope) * (trend.last - trend.first)
    said = f"{name} was still getting better when its record ends: {trend.said()}"
    if watched.share and gain < MARGIN:
        said += (
            f"; that is {text.number(gain, 4)} over these epochs, less than the {MARGIN:g} that "
            "counts as a difference"
        )
    left = watched.planned - trend.last
    plan = f" (epoch {trend.last} of {watched.planned} was reached)" if left > 0 else ""
    step = f"Train longer{plan}: the trend of {name} is not zero at the end."
    if left > 0 and watched.share and abs(trend.slope) * left < MARGIN:
        step = (
            f"Before training the {left} epochs that are left: even an unbroken trend would "
            f"change {name} by only {text.number(abs(trend.slope) * left, 4)}, less than the "
            f"{MARGIN:g} that counts as a difference."
        )
    return Remark("improving", f"{said}.", step)


def about_decline(watched: Watched) -> list[Remark]:
    """Overtrained: it falls after the best epoch.

    The best epoch itself is left out of that trend: it was picked for being high.
    """
    after = {epoch: value for epoch, value in watched.curve.items() if epoch > watched.best}
    trend = trend_of(watched.name, after)
    if trend is None or watched.good(trend) is not False:
        return []
    last = max(after)
    return [
        Remark(
            "overtrained",
            f"Overtrained: after its best value at epoch {watched.best} "
            f"({text.number(watched.curve[watched.best], 4)}), {cell(watched.name)} gets "
            f"worse, {trend.said()}; it is {text.number(after[last], 4)} at epoch {last}.",
            f"Use the checkpoint of epoch {watched.best}; train fewer epochs, or with more "
            "augmentation or weight decay.",
        )
    ]


def about_last_two(watched: Watched, already: Collection[tuple[int, int]] = ()) -> list[Remark]:
    """Do the last two measured epochs differ, by what the curve knows of its scatter?"""
    epochs = list(watched.curve)
    if len(epochs) < 2:
        return []
    pair = (epochs[-2], epochs[-1])
    found = compared(watched.name, watched.direction, watched.curve, pair)
    change = found.metrics[0]
    assert change.delta is not None
    by = f"{cell(watched.name)} by {_signed(change.delta)}"
    if found.verdict != "undecided":
        said = f"Epoch {pair[1]} differs from epoch {pair[0]} in {by}, more than epochs scatter"
        return [Remark("differ", f"{said} ({text.number(change.limit, 4)}).")]
    reasons = _undecided(watched, change)
    step = (
        f"To choose between epochs {pair[0]} and {pair[1]}, compare both checkpoints on the "
        "same units with `assay compare`, which gives an interval."
    )
    return [
        Remark(
            "same",
            f"Epochs {pair[0]} and {pair[1]} cannot be told apart by these numbers: they differ "
            f"in {by}{', ' if reasons else ''}{' and '.join(reasons)}.",
            "" if {pair, pair[::-1]} & set(already) else step,
        )
    ]


def _undecided(watched: Watched, change: EpochChange) -> list[str]:
    size = abs(change.delta or 0.0)
    reasons = []
    if watched.share and size <= MARGIN:
        reasons.append(f"less than the {MARGIN:g} that counts as a difference")
    if change.limit is not None and size <= change.limit:
        reasons.append(
            f"no more than two epochs of this scatter differ by ({text.number(change.limit, 4)})"
        )
    if change.measured < ENOUGH:
        reasons.append(f"{change.measured} measured epochs are too few to know the scatter")
    return reasons


def about_others(course: Course) -> list[Remark]:
    """Metrics that moved against the headline between its last two measured epochs."""
    epochs = list(course.finite(course.headline))[-2:]
    if len(epochs) < 2:
        return []
    pair = (epochs[0], epochs[1])
    keys = {course.headline, *course.keys(losses=False, split="val/")}
    curves = {key: course.finite(key) for key in keys}
    directions = {key: course.direction(key) for key in curves}
    found = compare_epochs(curves, directions, pair, headline=course.headline)
    moved = [
        f"{cell(change.name)} {'rises' if change.delta > 0 else 'falls'} by "
        f"{text.number(abs(change.delta), 4)}"
        for change in found.metrics
        if change.against and change.delta is not None and round(change.delta, 4)
    ]
    if not moved:
        return []
    said = f"From epoch {pair[0]} to {pair[1]}, against {cell(course.headline)}: "
    return [Remark("against", f"{said}{', '.join(moved)}.")]


def about_losses(course: Course) -> list[Remark]:
    """How far the training losses went, where they were lowest, and what their trend is."""
    remarks = []
    for key in course.keys(losses=True, split="train/"):
        curve = course.finite(key)
        if len(curve) < 2:
            continue
        first, last = min(curve), max(curve)
        low = min(curve, key=lambda epoch: (curve[epoch], epoch))
        said = (
            f"{cell(key)} goes from {text.number(curve[first], 4)} (epoch {first}) to "
            f"{text.number(curve[last], 4)} (epoch {last})"
        )
        if low != last:
            said += f"; its lowest is {text.number(curve[low], 4)}, at epoch {low}"
        said += _flat_end(key, curve)
        remarks.append(Remark("loss", f"{said}."))
    return remarks


def _flat_end(name: str, curve: Curve) -> str:
    """Where it ends flat: within a tenth of its whole range, the last epochs without a trend."""
    whole = max(curve.values()) - min(curve.values())
    epochs = list(curve)
    for start in range(1, len(epochs) - LEAST + 1):
        end = {epoch: curve[epoch] for epoch in epochs[start:]}
        low, high = min(end.values()), max(end.values())
        if high - low > whole / 10:
            continue
        trend = trend_of(name, end)
        if trend is not None and trend.up is None:
            return (
                f"; from epoch {epochs[start]} on it stays between {text.number(low, 4)} and "
                f"{text.number(high, 4)}, and no trend is shown over epochs {trend.first} to "
                f"{trend.last}"
            )
    return ""


def about_overfitting(course: Course) -> list[Remark]:
    """A validation loss that rises while the training loss of the same name falls."""
    remarks = []
    for key in course.keys(losses=True, split="val/"):
        twin = f"train/{key.partition('/')[2]}"
        validation = trend_of(key, course.finite(key))
        training = trend_of(twin, course.finite(twin))
        if validation is None or training is None:
            continue
        if validation.up is True and training.up is False:
            said = (
                f"Overfitting: {cell(key)} rises, {validation.said()}, while "
                f"{cell(twin)} falls, {training.said()}."
            )
            step = "Train with more data, more augmentation, more frozen layers or fewer epochs."
            remarks.append(Remark("overfitting", said, step))
    return remarks


def steps_of(remarks: Iterable[Remark]) -> list[str]:
    """What to do next, each thing once."""
    return list(dict.fromkeys(remark.step for remark in remarks if remark.step))


def _signed(value: float) -> str:
    return text.signed(value, 4) if round(value, 4) else text.significant(value)
