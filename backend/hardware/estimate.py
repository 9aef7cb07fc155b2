"""How large a batch memory is expected to hold.

What a trainer measures of itself is an estimate: on a GPU the kernels' own needs come on top. A
published log of YOLOv8 says 1.4 times as much, which is the factor here; the ladder is for the
rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from backend.core.events import Setting
from backend.core.knobs import Knobs
from backend.hardware.ladder import step_down

ABOVE = 1.4
SHARE = 0.85
"""Of the free memory: as much may be planned for."""


@dataclass(frozen=True)
class Need:
    """Bytes: ``fixed`` of weights, gradients, the optimizer's moments and the average; and what
    each sample of a batch keeps for the backward pass."""

    fixed: int
    per_sample: int

    def of(self, batch: int) -> float:
        """What a batch is expected to take."""
        return ABOVE * (self.fixed + self.per_sample * batch)

    def fits(self, batch: int, free: int) -> bool:
        """May a batch be planned with so many free bytes?"""
        return self.of(batch) <= SHARE * free


def capped(
    planned: Mapping[str, Setting],
    requested: Mapping[str, Setting],
    knobs: Knobs,
    need: Need,
    free: int,
) -> dict[str, Setting]:
    """The plan with a batch of which the estimate fits into ``free`` bytes, if there is one;
    an optimizer step keeps the plan's samples."""
    settings = {**requested, **planned}
    while not need.fits(int(str(settings[knobs.batch])), free):
        rung = step_down(requested, settings, knobs.of_batch)
        if rung is None:
            break
        settings |= {key: rung.settings[key] for key in (knobs.batch, knobs.accumulate) if key}
    kept = {*planned, *(key for key in settings if settings[key] != requested[key])}
    return {key: settings[key] for key in settings if key in kept}
