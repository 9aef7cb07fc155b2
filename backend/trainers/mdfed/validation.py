"""What is measured at each validation: losses, F1, Edit, and what both heads say."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from backend.datasets.spotting import SpottingSplit
from backend.runner.data import to_device
from backend.runner.training import Point, Probed, Validated
from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.data import Sample, Tiles, collate
from backend.trainers.mdfed.evaluation import judge
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
        places = list(range(0, len(self._tiles), max(1, len(self._tiles) // samples)))[:samples]
        if len(places) < 2:
            return None
        half = len(places) // 2  # far from it, so mostly of another clip
        permuted = places[half:] + places[:half]
        return Probed(
            "val",
            len(places),
            self._losses(model, places, places),
            self._losses(model, places, permuted),
        )

    def _losses(
        self, model: Learner, places: Sequence[int], inputs: Sequence[int]
    ) -> dict[str, float]:
        """Of the windows at ``places`` with the skeletons of those at ``inputs``."""
        sums = LossSums(model.criterion)
        device = next(model.parameters()).device
        pairs = list(zip(places, inputs, strict=True))
        for start in range(0, len(pairs), self._batch):
            some = pairs[start : start + self._batch]
            given = collate([_seeing(self._tiles[one], self._tiles[other]) for one, other in some])
            batch: Batch = to_device(given, device)
            sums.add(model.criterion(model.network(batch), batch))
        return sums.means()


def _seeing(window: Sample, other: Sample) -> Sample:
    """The window with what the network sees of the other one: its frames, if it sees frames, while
    a teacher goes on to see the window's own skeletons."""
    if other.frames is not None:
        return window._replace(frames=other.frames)
    return window._replace(joints=other.joints, roots=other.roots)
