"""What a run's events already tell of its source, and what they lack."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from backend.config.compose import flatten
from backend.core.events import (
    CheckpointRemoved,
    CheckpointSaved,
    Evaluated,
    Event,
    MetricsLogged,
    Noted,
    RunFinished,
    RunStarted,
)
from backend.core.records import Checkpoint, EvalReport
from backend.importers.source import Found, Point

BEST = "best/"
"""The split of what was measured at the best epoch, for runs without weights of it."""

LONGEST_NAME = 200


@dataclass
class Story:
    """The events of an imported run so far. ``values`` are by step and key, as text, so that NaN
    equals NaN."""

    values: dict[tuple[int, str], str] = field(default_factory=dict)
    saved: dict[str, Checkpoint] = field(default_factory=dict)
    best: str | None = None
    notes: set[str] = field(default_factory=set)
    report: EvalReport | None = None
    end: RunFinished | None = None
    running: bool = False
    length: int = 0

    def add(self, event: Event) -> None:
        """Take an event in."""
        self.length += 1
        match event:
            case RunStarted():
                self.running, self.end = True, None
            case MetricsLogged(step=step, metrics=metrics):
                self.values |= {(step, key): repr(value) for key, value in metrics.items()}
            case CheckpointSaved(checkpoint=checkpoint, best=best):
                self.saved[checkpoint.path] = checkpoint
                self.best = checkpoint.path if best else self.best
            case CheckpointRemoved(path=path):
                self.saved.pop(path, None)
            case Evaluated(report=report):
                self.report = report
            case Noted(message=message):
                self.notes.add(message)
            case RunFinished():
                self.running, self.end = False, event
            case _:
                pass

    @property
    def told(self) -> int:
        """How many measured values the events hold."""
        scores = self.report.metrics.values() if self.report else ()
        curves = sum(not key.startswith(BEST) for _, key in self.values)
        return curves + sum(value is not None for value in scores)

    @property
    def last_step(self) -> int:
        """The highest step with a value."""
        return max((step for step, _ in self.values), default=0)

    def fresh(self, points: Iterable[Point]) -> list[Point]:
        """The points with only their values that are not told yet."""
        found = []
        for point in points:
            metrics = {
                k: v for k, v in point.metrics.items() if (point.step, k) not in self.values
            }
            if metrics:
                found.append(replace(point, metrics=metrics))
        return found

    def contradicted(self, points: Iterable[Point]) -> list[int]:
        """The steps at which the source now says something else, or nothing any more."""
        now = {(p.step, key): repr(value) for p in points for key, value in p.metrics.items()}
        steps = {
            place[0]
            for place, value in self.values.items()
            if not place[1].startswith(BEST) and now.get(place) != value
        }
        best = max((step for step, key in now if key.startswith(BEST)), default=None)
        told = max((step for step, key in self.values if key.startswith(BEST)), default=None)
        if best is not None and told is not None and told > best:
            steps.add(told)
        return sorted(steps)

    @property
    def first_step(self) -> int | None:
        """The lowest step with a value."""
        return min((step for step, _ in self.values), default=None)


def best_point(found: Found) -> Point | None:
    """Where the headline metric was best, the later of two equal ones; None without direction."""
    direction = next(
        (s.direction for s in found.specs if found.headline.endswith(f"/{s.name}")), None
    )
    if direction is None:
        return None
    sign = 1 if direction == "maximize" else -1
    scored = [
        (sign * point.metrics[found.headline], point.step, point)
        for point in found.points
        if math.isfinite(point.metrics.get(found.headline, math.nan))
    ]
    return max(scored, key=lambda item: item[:2])[2] if scored else None


def with_best(found: Found) -> Found:
    """``found`` with its best epoch marked: by one weight file if it has one, else by values.

    Of several files that the source calls best, that of the best epoch counts, else the last.
    """
    best = best_point(found)
    named = [weights for weights in found.weights if weights.best] or list(found.weights)
    of_epoch = [weights for weights in named if best and weights.epoch == best.epoch]
    chosen = (of_epoch or [weights for weights in named if weights.best])[-1:]
    if chosen:
        marked = (replace(weights, best=weights is chosen[0]) for weights in found.weights)
        return replace(found, weights=tuple(marked))
    if best is None:
        return found
    values = {BEST + key: value for key, value in measured(found, best).items()}
    return replace(found, points=(*found.points, replace(best, metrics=values)))


def measured(found: Found, at: Point) -> dict[str, float]:
    """The values of validation at a point's epoch."""
    return {
        key: value
        for point in found.points
        if point.epoch == at.epoch
        for key, value in point.metrics.items()
        if key.split("/", 1)[0] in {"val", "test"} or key == found.headline
    }


def started_event(found: Found, story: Story) -> RunStarted:
    """The beginning of a run, or of its continuation."""
    return RunStarted(
        trainer=found.trainer,
        epochs=found.epochs,
        headline=found.headline,
        metrics=found.specs,
        data=(),
        environment={},
        resumed_from=story.last_step if story.length else None,
    )


def finished_event(found: Found, best: str | None) -> RunFinished:
    """The end of a run as far as its source tells of one."""
    if found.finished is False:
        last = max((point.epoch for point in found.points), default=0)
        reason = f"imported at epoch {last} of {found.epochs}; import it again if it has gone on"
        return RunFinished(status="stopped", reason=reason, best=best)
    reason = "" if found.finished else "its source does not say whether the training has ended"
    return RunFinished(status="finished", reason=reason, best=best)


def flat_params(found: Found) -> dict[str, str]:
    """Parameters under names that MLflow takes; ``experiment`` would choose ours."""
    params = {}
    for name, value in flatten(found.params).items():
        name = re.sub(r"[^\w\-. :]", "_", name).strip(". ")[:LONGEST_NAME]
        params["source_experiment" if name == "experiment" else name or "_"] = value
    return params
