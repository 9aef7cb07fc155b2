"""From a stored series to the points of a line: axis, smoothing, downsampling, zoom."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tsdownsample import MinMaxLTTBDownsampler

from backend.core.records import Checkpoint, Run, Series
from dashboard.formatting import count
from dashboard.palette import DASHES, run_color
from dashboard.view import Axis

Floats = NDArray[np.float64]
POINTS = 1000  # a line at most; more is invisible at chart width and slow to draw
CHART_POINTS = 6000  # all lines of a chart together, with
_FEWEST = 300  # at least so many each
SMOOTHABLE = 20  # a line with fewer points is shown as it was measured
RECOVERIES = "hardware/recoveries"  # a point where memory ran out and training went on lower
AXIS_TITLES: dict[Axis, str] = {"step": "Step", "epoch": "Epoch", "time": "Time since start"}
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_RESOLUTION = 1000  # the smoothing weight applies per thousandth of the x range


class Zoom(NamedTuple):
    """Ranges that a person chose, with the axes for which they hold.

    ``y`` is in powers of ten on a logarithmic axis, as Plotly counts there.
    """

    x: tuple[float, float] | None
    y: tuple[float, float] | None
    x_title: str
    log: bool


@dataclass(frozen=True)
class Style:
    """How one run is drawn on every chart of a page."""

    key: str
    name: str
    color: str
    dash: str
    baseline: bool


@dataclass(frozen=True)
class Line:
    """One run on one chart. ``raw`` is what was logged, where ``y`` is smoothed.

    ``total`` counts the points in the visible range before downsampling, ``broken`` those of
    the whole series that are not numbers. ``marks`` are points of the line at which the run
    recovered from running out of memory.
    """

    style: Style
    x: Floats
    y: Floats
    raw: tuple[Floats, Floats] | None
    total: int
    broken: int
    marks: tuple[Floats, Floats] | None = None

    @property
    def shown(self) -> int:
        """Points drawn."""
        return len(self.x)


def styles(runs: Sequence[Run], baseline: str) -> list[Style]:
    """One style per run, the baseline first; runs whose colours collide differ by dash."""
    seen: dict[str, int] = {}
    result = []
    for run in sorted(runs, key=lambda run: run.key != baseline):
        color = run_color(run.key)
        dash = DASHES[seen.get(color, 0) % len(DASHES)]
        seen[color] = seen.get(color, 0) + 1
        result.append(Style(run.key, run.name, color, dash, run.key == baseline))
    return result


def epoch_scale(checkpoints: Sequence[Checkpoint]) -> Callable[[Floats], Floats] | None:
    """Step to epoch, from the checkpoints that know both; None without any.

    Steps per epoch are constant within a run, so two checkpoints fix the line; one is taken
    together with step 0 = epoch 0.
    """
    known = {(c.step, c.epoch) for c in checkpoints if c.step > 0}
    if not known:
        return None
    (s0, e0), (s1, e1) = min(known), max(known)
    if s0 == s1:
        s0, e0 = 0, 0
    return lambda steps: e0 + (steps - s0) * (e1 - e0) / (s1 - s0)


def time_unit(longest: float) -> tuple[float, str]:
    """Seconds per unit, and its name, that suit a duration in seconds."""
    return next(((s, name) for s, name in _UNITS if longest >= 2 * s), _UNITS[-1])


def positions(
    series: Series, axis: Axis, started: float, to_epoch: Callable[[Floats], Floats] | None
) -> Floats | None:
    """The x values of a series, or None if its run has no such axis. Time is in seconds."""
    if axis == "time":
        return np.asarray(series.times, dtype=float) - started
    steps = np.asarray(series.steps, dtype=float)
    if axis == "step":
        return steps
    return to_epoch(steps) if to_epoch else None


def smoothed(x: Floats, y: Floats, weight: float) -> Floats:
    """Time-weighted exponential moving average without start-up bias, as W&B draws it."""
    span = x[-1] - x[0]
    base = min(weight**0.5, 0.999)
    decay = base ** (np.diff(x, prepend=x[0]) / (span or 1.0) * _RESOLUTION)
    out = np.empty_like(y)
    last = norm = 0.0
    for i, (value, keep) in enumerate(zip(y.tolist(), decay.tolist(), strict=True)):
        last = last * keep + value
        norm = norm * keep + 1.0
        out[i] = last / norm
    return out


def downsampled(x: Floats, y: Floats, points: int = POINTS) -> tuple[Floats, Floats]:
    """At most ``points`` of a line, its peaks and troughs kept (MinMaxLTTB).

    The bins hold equally many points, whatever ``x``: bins of equal width would leave next to
    nothing of a run that paused for a day, and cannot take points that share one ``x``.
    """
    if len(x) <= points:
        return x, y
    picked = MinMaxLTTBDownsampler().downsample(y, n_out=points)
    return x[picked], y[picked]


def points_each(lines: int) -> int:
    """Points that each of so many lines of a chart may have."""
    return min(POINTS, max(_FEWEST, CHART_POINTS // max(1, lines)))


def window(x: Floats, low: float, high: float) -> slice:
    """The part of a sorted axis that a zoom shows, with one point beyond each edge."""
    first = int(np.searchsorted(x, low, side="left"))
    last = int(np.searchsorted(x, high, side="right"))
    return slice(max(0, first - 1), last + 1)


def line(
    style: Style,
    x: Floats,
    values: Sequence[float],
    smooth: float = 0.0,
    zoom: Zoom | None = None,
    points: int = POINTS,
) -> Line:
    """What is drawn of one series. Smoothing sees all points, before any are left out."""
    y = np.asarray(values, dtype=float)
    finite = np.isfinite(y) & np.isfinite(x)
    broken = int(len(y) - finite.sum())
    x, y = x[finite], y[finite]
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    soft = smooth > 0 and len(x) >= SMOOTHABLE
    main = smoothed(x, y, smooth) if soft else y
    part = window(x, *zoom.x) if zoom and zoom.x else slice(None)
    shown_x, shown_y = downsampled(x[part], main[part], points)
    raw = downsampled(x[part], y[part], points) if soft else None
    return Line(style, shown_x, shown_y, raw, len(x[part]), broken)


@dataclass(frozen=True)
class Selection:
    """The runs whose curves are wanted, and how."""

    runs: Sequence[Run]
    styles: Sequence[Style]
    axis: Axis
    smooth: float
    epochs: Mapping[str, Callable[[Floats], Floats] | None]


@dataclass(frozen=True)
class Chart:
    """The lines of one metric. ``x_title`` names the unit in which x and a zoom are given.

    ``refinable``: points were left out, so that a zoom can show more.
    """

    metric: str
    lines: tuple[Line, ...]
    x_title: str
    refinable: bool


def chart(
    selection: Selection,
    series: Mapping[tuple[str, str], Series],
    metric: str,
    zoom: Zoom | None = None,
) -> Chart:
    """One chart; runs without the metric, or without the axis, are left out."""
    started = {run.key: run.started for run in selection.runs}
    found: list[tuple[Style, Floats, tuple[float, ...]]] = []
    for style in selection.styles:
        one = series.get((style.key, metric))
        if one is None or not one.values:
            continue
        x = positions(one, selection.axis, started[style.key], selection.epochs.get(style.key))
        if x is not None:
            found.append((style, x, one.values))
    divide, title = 1.0, AXIS_TITLES[selection.axis]
    if selection.axis == "time":
        divide, unit = time_unit(max((float(x[-1]) for _, x, _ in found), default=0.0))
        title = f"{title} ({unit})"
    points = points_each(len(found))
    refinable = any(len(x) > points for _, x, _ in found)
    if not refinable or (zoom and zoom.x_title != title):
        zoom = None
    drawn = (line(style, x / divide, y, selection.smooth, zoom, points) for style, x, y in found)
    whole = not (zoom and zoom.x)
    marked = [_marked(one, selection, series, divide, whole) for one in drawn]
    return Chart(metric, tuple(marked), title, refinable)


def _marked(
    one: Line,
    selection: Selection,
    series: Mapping[tuple[str, str], Series],
    divide: float,
    whole: bool,
) -> Line:
    """The line with the points at which its run recovered, as far as they are in its range.

    A recovery before the first point stands on it, where the ``whole`` line is drawn.
    """
    key = one.style.key
    recovered = series.get((key, RECOVERIES))
    if recovered is None or not one.shown:
        return one
    started = next(run.started for run in selection.runs if run.key == key)
    x = positions(recovered, selection.axis, started, selection.epochs.get(key))
    if x is None:
        return one
    places = np.maximum(x / divide, one.x[0]) if whole else x / divide
    places = places[(places >= one.x[0]) & (places <= one.x[-1])]
    return replace(one, marks=(places, np.interp(places, one.x, one.y))) if len(places) else one


def caption(chart: Chart) -> str:
    """How much of the data a chart shows."""
    total = sum(one.total for one in chart.lines)
    shown = sum(one.shown for one in chart.lines)
    broken = sum(one.broken for one in chart.lines)
    text = (
        f"{shown:,} of {count(total, 'point')} shown" if shown < total else count(total, "point")
    )
    return f"{text} · {broken:,} not a number" if broken else text
