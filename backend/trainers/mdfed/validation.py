"""What is measured at each validation: losses, F1, Edit, and what both heads say."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from backend.datasets.spotting import SpottingSplit
from backend.runner.data import to_device
from backend.runner.training import Point, Probed, Validated
from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.data import Sample, Tiles
from backend.trainers.mdfed.evaluation import batches, judge
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.losses import LossSums
from backend.trainers.mdfed.spec import METRICS, MdFedConfig


class Validation:
    """A pass over the tiles of the validation split, which are the same each time."""

    def __init__(self, split: SpottingSplit, tiles: Tiles, config: MdFedConfig) -> None:
        self._split = split
        self._tiles = tiles
        self._config = config

    def __call__(self, model: nn.Module, point: Point, losses: Mapping[str, float]) -> Validated:
        assert isinstance(model, Learner)
        judged = judge(model.network, self._tiles, self._split, self._config, model.criterion)
        found = judged.evidence.scores().metrics | judged.losses
        metrics = {
            f"val/{spec.name}": value
            for spec in METRICS
            if (value := found.get(spec.name)) is not None
        }
        return Validated(metrics, (judged.observed(point.step),))


class Probe:
    """The validation loss with each window's skeletons given to another window's labels."""

    def __init__(self, tiles: Tiles, batch: int) -> None:
        self._tiles = tiles
        self._batch = batch

    @torch.no_grad()
    def __call__(self, model: nn.Module, samples: int) -> Probed | None:
        assert isinstance(model, Learner)
        places = range(0, len(self._tiles), max(1, len(self._tiles) // samples))[:samples]
        if len(places) < 2:
            return None
        windows = [self._tiles[place] for place in places]
        half = len(windows) // 2  # far from it, so mostly of another clip
        permuted = [
            window._replace(joints=other.joints, roots=other.roots, frames=other.frames)
            for window, other in zip(windows, windows[half:] + windows[:half], strict=True)
        ]
        return Probed(
            "val", len(places), self._losses(model, windows), self._losses(model, permuted)
        )

    def _losses(self, model: Learner, windows: Sequence[Sample]) -> dict[str, float]:
        sums = LossSums(model.criterion)
        device = next(model.parameters()).device
        for given in batches(windows, self._batch):
            batch: Batch = to_device(given, device)
            sums.add(model.criterion(model.network(batch), batch))
        return sums.means()
