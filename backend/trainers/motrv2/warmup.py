"""Head warm-up: at first only what is new trains, so that what follows gets a gradient at all.

While a new classifier is cold, no query passes the score at which it is renewed, and the query
interaction is switched off (specs/motrv2.md, 3.4).
"""

from collections.abc import Collection
from typing import Any

from torch import nn
from torch.optim import Optimizer

from backend.runner.training import NoWatch, Point

MOST = 500
"""Steps of a warm-up whose length nobody asked for."""


class Warmup(NoWatch):
    """Takes the gradients of all but the ``new`` parameters from the optimizer, at first.

    It skips a parameter without a gradient: no decay, no momentum. Only the step counts, so a
    run that is continued goes on as it would have.
    """

    def __init__(self, model: nn.Module, new: Collection[str], asked: int | None) -> None:
        self._others = [one for name, one in model.named_parameters() if name not in new]
        self._new = bool(new)
        self._asked = asked
        self._warming = False

    def steps(self, point: Point) -> int:
        """How many steps only what is new trains: as asked, else the first epoch, at most ``MOST``
        and half of the training; none if nothing is new."""
        if not self._new:
            return 0
        if self._asked is not None:
            return self._asked
        return min(point.steps // point.epochs, MOST, point.steps // 2)

    def began(self, optimizer: Optimizer) -> None:
        """The optimizer is ready."""
        optimizer.register_step_pre_hook(self._before_step)

    def stepping(self, point: Point) -> None:
        """The step after ``point`` begins."""
        self._warming = point.step < self.steps(point)

    def _before_step(self, *_: Any) -> None:
        if self._warming:
            for parameter in self._others:
                parameter.grad = None
