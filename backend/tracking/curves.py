"""Curves as records, and those used last kept in memory."""

from collections import OrderedDict
from typing import cast

from backend.core.records import Series
from backend.tracking.rows import INFINITE, Point, real


class Curves:
    """The curves used last, up to a number of points."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._points = 0
        self._known: OrderedDict[tuple[str, str], Series] = OrderedDict()

    def get(self, name: tuple[str, str]) -> Series | None:
        if name in self._known:
            self._known.move_to_end(name)
        return self._known.get(name)

    def keep(self, name: tuple[str, str], series: Series) -> None:
        if name not in self._known:
            self._points += len(series.steps)
        self._known[name] = series
        while self._points > self._limit:
            _, dropped = self._known.popitem(last=False)
            self._points -= len(dropped.steps)


def series_of(points: list[Point], in_time: bool = False) -> Series:
    """A curve; of several values at one step (after a resume) the last one counts, but for what
    is a course ``in_time``."""
    steps, values, times = zip(*points, strict=True) if points else ((), (), ())
    if not in_time and len(set(steps)) < len(steps):
        return series_of(list({point[0]: point for point in points}.values()))
    return Series.model_construct(steps=steps, values=_real(values), times=times)


def _real(values: tuple[float | None, ...]) -> tuple[float, ...]:
    """Stored values as they were logged; long curves of plain numbers pass unchanged."""
    numbers = cast(tuple[float, ...], values)
    if (
        None not in values
        and -INFINITE < min(numbers, default=0) <= max(numbers, default=0) < INFINITE
    ):
        return numbers
    return tuple(real(value) for value in values)
