"""What is measured at each validation: losses, F1, Edit, and what both heads say."""

from collections.abc import Mapping

from torch import nn

from backend.datasets.spotting import SpottingSplit
from backend.runner.training import Point, Validated
from backend.trainers.mdfed.data import Tiles
from backend.trainers.mdfed.evaluation import judge
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.spec import METRICS, MdFedConfig


class Validation:
    """A pass over the tiles of the validation split, which are the same each time."""

    def __init__(self, split: SpottingSplit, tiles: Tiles, config: MdFedConfig) -> None:
        self._split = split
        self._tiles = tiles
        self._config = config
        self._last: tuple[nn.Module, Mapping[str, float]] | None = None

    def __call__(self, model: nn.Module, point: Point, losses: Mapping[str, float]) -> Validated:
        assert isinstance(model, Learner)
        judged = judge(model.network, self._tiles, self._split, self._config, model.criterion)
        found = judged.evidence.scores().metrics | judged.losses
        metrics = {
            f"val/{spec.name}": value
            for spec in METRICS
            if (value := found.get(spec.name)) is not None
        }
        self._last = model, judged.losses
        observe = self._config.diagnostics.observe
        seen = (judged.observed(point.step, found["auroc_frame"]),) if observe else ()
        return Validated(metrics, seen)

    def losses_of(self, model: nn.Module) -> Mapping[str, float] | None:
        """Its losses, if it was validated last."""
        return self._last[1] if self._last and self._last[0] is model else None
