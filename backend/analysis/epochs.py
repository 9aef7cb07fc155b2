"""Two epochs of one training, from nothing but the curve.

An epoch is one number per metric. It says nothing of single videos or images, so no interval
over them exists; what the curve does have is a trend (Theil-Sen's slope) and a scatter about it.
A difference decides only if it exceeds both that scatter and a margin of practical importance.
"""

import math
from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
from scipy import stats

from backend.analysis import text
from backend.core.comparisons import Verdict
from backend.core.errors import ComparisonError
from backend.core.events import Envelope, MetricsLogged, RunStarted
from backend.core.records import Direction, Record

WINDOW = 12
"""Measured epochs that the trend is taken from: those up to the later one."""

ENOUGH = 8
"""With fewer measured epochs the scatter is too uncertain to decide anything."""

CONFIDENCE = 0.95
MARGIN = 0.01

Curve = Mapping[int, float]
"""A metric's value by epoch."""


class EpochChange(Record):
    """One metric at two epochs; all None where it was not measured at one of them.

    ``slope`` is per epoch, over the ``measured`` epochs ``window[0]`` to ``window[1]``, with its
    interval; ``scatter`` is the standard deviation about that line. ``limit`` is what two epochs
    of such scatter differ by in 5 % of cases. ``share``: a value from 0 to 1. ``against``: it
    moved in the other direction than the headline.
    """

    name: str
    direction: Direction | None
    first: float | None
    second: float | None
    delta: float | None
    improved: bool | None
    against: bool = False
    share: bool = False
    measured: int
    window: tuple[int, int] | None = None
    slope: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None
    scatter: float | None = None
    limit: float | None = None


class EpochComparison(Record):
    """What a curve says of two of its epochs. ``sentences`` hold no more than it does."""

    run: str
    first: int
    second: int
    headline: str
    margin: float
    verdict: Verdict
    metrics: tuple[EpochChange, ...]
    sentences: tuple[str, ...]


def curves_of(envelopes: Iterable[Envelope]) -> tuple[dict[str, dict[int, float]], RunStarted]:
    """The last value of each epoch by metric, and how the run was started.

    Raises ComparisonError for a run that never started.
    """
    curves: dict[str, dict[int, float]] = {}
    started: RunStarted | None = None
    for envelope in envelopes:
        match envelope.event:
            case RunStarted() as event:
                started = event
            case MetricsLogged(epoch=epoch, metrics=metrics):
                for key, value in metrics.items():
                    if not key.startswith("best/"):
                        curves.setdefault(key, {})[epoch] = value
            case _:
                pass
    if started is None:
        raise ComparisonError("the run has no first event, so it has no epochs to compare")
    return curves, started


def directions_of(started: RunStarted, keys: Iterable[str]) -> dict[str, Direction | None]:
    """The direction of each metric as the run declares it."""
    declared = {spec.name: spec.direction for spec in started.metrics}
    return {key: declared.get(key.split("/", 1)[1]) for key in keys}


def metric_named(wanted: str, keys: Iterable[str]) -> str:
    """The key that a person means, who may leave the split out. Raises ComparisonError."""
    known = sorted(keys)
    found = [key for key in known if wanted in (key, key.split("/", 1)[1])]
    if not found:
        raise ComparisonError(f"no metric '{wanted}' in the run; there is: {', '.join(known)}")
    return found[-1]


def compare_epochs(
    curves: Mapping[str, Curve],
    directions: Mapping[str, Direction | None],
    epochs: tuple[int, int],
    *,
    headline: str,
    run: str = "",
    margin: float = MARGIN,
) -> EpochComparison:
    """What the curves of one run say of ``epochs`` (old, new).

    ``margin``: the difference in the headline metric below which two epochs are not called
    different; only for shares. Raises ComparisonError if nothing was measured at both.
    """
    first, second = epochs
    changes = [
        _change(name, curves[name], directions.get(name), epochs) for name in sorted(curves)
    ]
    both = [change for change in changes if change.delta is not None]
    if first == second or not both:
        raise ComparisonError(_nothing(curves, epochs, run))
    head = next((change for change in both if change.name == headline), None)
    if head is not None and head.improved is not None:
        changes = [
            change.model_copy(update={"against": True})
            if change.improved is (not head.improved)
            else change
            for change in changes
        ]
    changes.sort(key=lambda change: (change.name != headline, _order(change.name)))
    verdict = _verdict(head, margin)
    return EpochComparison(
        run=run,
        first=first,
        second=second,
        headline=headline,
        margin=margin,
        verdict=verdict,
        metrics=tuple(changes),
        sentences=tuple(_sentences(head, changes, epochs, verdict, margin)),
    )


def _order(name: str) -> tuple[bool, str]:
    return not name.startswith(("val/", "test/")), name


def _nothing(curves: Mapping[str, Curve], epochs: tuple[int, int], run: str) -> str:
    known = sorted({epoch for curve in curves.values() for epoch in curve})
    if epochs[0] == epochs[1]:
        return f"epoch {epochs[0]} against itself; name two epochs"
    there = f"{known[0]} to {known[-1]}" if known else "none"
    return (
        f"run {run}: no metric was measured at both epoch {epochs[0]} and epoch {epochs[1]}; "
        f"its epochs: {there}"
    )


def _change(
    name: str, curve: Curve, direction: Direction | None, epochs: tuple[int, int]
) -> EpochChange:
    finite = {epoch: value for epoch, value in sorted(curve.items()) if math.isfinite(value)}
    old, new = (finite.get(epoch) for epoch in epochs)
    delta = new - old if old is not None and new is not None else None
    better = None
    if delta and direction is not None:
        better = (delta > 0) == (direction == "maximize")
    change = EpochChange(
        name=name,
        direction=direction,
        first=old,
        second=new,
        delta=delta,
        improved=better,
        share=direction == "maximize" and max(map(abs, finite.values()), default=2.0) <= 1,
        measured=len(finite),
    )
    return change.model_copy(update=_trend(finite, epochs)) if delta is not None else change


def _trend(curve: Curve, epochs: tuple[int, int]) -> dict[str, object]:
    """Slope and scatter of the measured epochs before the later one, both epochs included.

    Theil-Sen's slope is the median of the slopes between all pairs (Sen, 1968); the scatter's
    limit is Student's quantile for the difference of two epochs.
    """
    early, late = sorted(epochs)
    known = [epoch for epoch in curve if epoch <= late]
    used = [epoch for epoch in known if epoch >= min(early, known[-WINDOW:][0])]
    if len(used) < 3:
        return {"measured": len(used)}
    x, y = np.array(used, dtype=float), np.array([curve[epoch] for epoch in used])
    slope, at_zero, low, high = (float(v) for v in stats.theilslopes(y, x, CONFIDENCE))
    found: dict[str, object] = {
        "measured": len(used),
        "window": (used[0], used[-1]),
        "slope": slope,
        "slope_low": low,
        "slope_high": high,
    }
    free = len(used) - 2
    if free >= 2:
        residuals = y - (at_zero + slope * x)
        scatter = float(np.sqrt(np.sum(residuals**2) / free))
        found["scatter"] = scatter
        found["limit"] = float(stats.t.ppf((1 + CONFIDENCE) / 2, free)) * math.sqrt(2) * scatter
    return found


def _verdict(head: EpochChange | None, margin: float) -> Verdict:
    if head is None or head.delta is None or head.improved is None or head.limit is None:
        return "undecided"
    needed = max(head.limit, margin if head.share else 0.0)
    if head.measured < ENOUGH or abs(head.delta) <= needed:
        return "undecided"
    return "better" if head.improved else "worse"


def _sentences(
    head: EpochChange | None,
    changes: Iterable[EpochChange],
    epochs: tuple[int, int],
    verdict: Verdict,
    margin: float,
) -> Iterable[str]:
    first, second = epochs
    if head is None or head.delta is None:
        yield (
            f"Epoch {second} against epoch {first}: undecided, because the headline metric was "
            "not measured at both."
        )
    else:
        yield (
            f"Epoch {second} against epoch {first}: {verdict}. {head.name} is "
            f"{_by(head, head.delta)} ({_at(head, head.first)} to {_at(head, head.second)})."
        )
        yield from _about_trend(head, epochs)
        yield from _about_verdict(head, verdict, margin)
    others = [change for change in changes if change.against]
    if others:
        yield "Against it: " + "; ".join(_moved(change) for change in others) + "."
    yield (
        "An epoch is one number per metric, without a result per video or image: no interval "
        "over them follows from the curve. To have one, score both checkpoints' predictions "
        "(assay import predictions) and compare them (assay compare)."
    )


def _about_trend(head: EpochChange, epochs: tuple[int, int]) -> Iterable[str]:
    if head.slope is None or head.window is None:
        yield f"With {head.measured} measured epochs there is no trend to speak of."
        return
    low, high = cast(float, head.slope_low), cast(float, head.slope_high)
    said = (
        f"Over epochs {head.window[0]} to {head.window[1]} ({head.measured} measured) its trend "
        f"is {_by(head, head.slope)} per epoch (95 % interval {_by(head, low, bare=True)} to "
        f"{_by(head, high)}), which by itself gives "
        f"{_by(head, head.slope * (epochs[1] - epochs[0]))} between the two"
    )
    if head.scatter is not None:
        said += f"; the epochs scatter by {_size(head, head.scatter)} about that line"
    yield f"{said}."


def _about_verdict(head: EpochChange, verdict: Verdict, margin: float) -> Iterable[str]:
    size = abs(cast(float, head.delta))
    if verdict != "undecided":
        yield (
            "The difference exceeds the scatter of the epochs; that is said of these two "
            "checkpoints on this validation set alone."
        )
        return
    reasons = []
    if head.improved is None and size > 0:
        reasons.append("nobody said which direction of it is better")
    if head.share and size <= margin:
        reasons.append(f"the difference is within the margin of {_size(head, margin)}")
    if head.limit is not None and size <= head.limit:
        reasons.append(
            f"it lies within what two epochs of this scatter differ by ({_size(head, head.limit)})"
        )
    if head.measured < ENOUGH:
        reasons.append(f"{head.measured} measured epochs are too few to know the scatter")
    if reasons:
        yield "Undecided, because " + ", and ".join(reasons) + "."


def _moved(change: EpochChange) -> str:
    delta = cast(float, change.delta)
    return f"{change.name} {'fell' if delta < 0 else 'rose'} by {_size(change, abs(delta))}"


def _by(change: EpochChange, value: float, bare: bool = False) -> str:
    """A difference with its sign; of a share in points."""
    number = text.significant(value * 100 if change.share else value)
    return number if bare or not change.share else f"{number} points"


def _size(change: EpochChange, value: float) -> str:
    return _by(change, value).lstrip("+")


def _at(change: EpochChange, value: float | None) -> str:
    assert value is not None
    return f"{value * 100:.2f} %" if change.share else f"{value:.4g}"
