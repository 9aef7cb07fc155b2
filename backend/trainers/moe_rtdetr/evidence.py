"""What a training shows of itself for the diagnostics: predictions, and use of the input."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from backend.core.events import PredictionsObserved
from backend.datasets.detection import DetectionSplit
from backend.nn.observing.detections import detection_histogram
from backend.nn.observing.probing import paired, spread
from backend.runner.data import to_device
from backend.runner.training import Point, Probed
from backend.trainers.moe_rtdetr.data import Frames, collate
from backend.trainers.moe_rtdetr.evaluation import Ask, Result
from backend.trainers.moe_rtdetr.learner import Learner
from backend.trainers.moe_rtdetr.model.batch import Batch
from backend.trainers.moe_rtdetr.observer import Observer
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig

LOSSES = ("loss", "detection_loss")


class Probe:
    """The validation's loss with each image as it is, and with another one's pixels."""

    def __init__(self, split: DetectionSplit, config: MoeRtDetrConfig) -> None:
        self._split = split
        self._config = config

    def __call__(self, model: nn.Module, samples: int) -> Probed | None:
        """None for a split of one image. Raises DataError for one that cannot be read any more."""
        assert isinstance(model, Learner)
        places = paired(spread(len(self._split.frames), samples))
        if not places:
            return None
        losses, permuted = self._losses(model, places)
        return Probed(self._split.split, len(places), losses, permuted)

    @torch.no_grad()
    def _losses(self, learner: Learner, places: Sequence[int]) -> list[dict[str, float]]:
        """With each image's own targets, and with those of the other of its pair."""
        ask = Ask.of(self._config)
        own, other = (Observer(self._split.classes, self._config.moe) for _ in range(2))
        device = next(learner.parameters()).device
        for given in self._batches(places):
            batch: Batch = to_device(given, device)
            swapped = [batch.targets[at ^ 1] for at in range(len(batch.targets))]
            gate = learner.gate(ask.prompt, len(swapped))
            output = learner.network(batch.images, gate=gate)
            for observer, targets in ((own, batch.targets), (other, swapped)):
                observer.update(output, targets, learner.criterion.losses(output, targets))
        return [
            {name: found[f"val/{name}"] for name in LOSSES if f"val/{name}" in found}
            for found in (own.metrics(), other.metrics())
        ]

    def _batches(self, places: Sequence[int]) -> Iterator[Batch]:
        frames = Frames(self._split, self._config.model.image_size)
        size = max(self._config.runner.batch // 2 * 2, 2)
        for start in range(0, len(places), size):
            yield collate([frames[at] for at in places[start : start + size]])


def predicted(
    split: DetectionSplit, results: Sequence[Result], point: Point
) -> PredictionsObserved:
    """The classes and scores of a validation's boxes (COCO results)."""
    histogram = detection_histogram(
        split.objects,
        np.array([row["image_id"] for row in results], np.int64),
        np.array([row["category_id"] for row in results], np.int64) - 1,
        np.array([row["score"] for row in results], np.float64),
        len(split.frames),
    )
    return PredictionsObserved(step=point.step, split=split.split, histograms=(histogram,))
