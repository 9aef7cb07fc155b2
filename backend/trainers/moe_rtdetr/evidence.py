"""What a training shows of itself for the diagnostics: predictions, and use of the input."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from backend.core.events import PredictionsObserved
from backend.datasets.detection import DetectionSplit
from backend.nn.observing.detections import detection_histogram
from backend.nn.observing.probing import spread
from backend.runner.data import to_device
from backend.runner.training import Point, Probed
from backend.trainers.moe_rtdetr.data import Frames, Sample, collate
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
        places = spread(len(self._split.frames), samples)
        if len(places) < 2:
            return None
        half = len(places) // 2
        return Probed(
            split=self._split.split,
            samples=len(places),
            losses=self._losses(model, places, places),
            permuted=self._losses(model, places[half:] + places[:half], places),
        )

    @torch.no_grad()
    def _losses(
        self, learner: Learner, images: Sequence[int], targets: Sequence[int]
    ) -> dict[str, float]:
        ask, observer = Ask.of(self._config), Observer(self._split.classes, self._config.moe)
        device = next(learner.parameters()).device
        for batch in self._batches(images, targets):
            batch = to_device(batch, device)
            gate = learner.gate(ask.prompt, len(batch.targets))
            output = learner.network(batch.images, gate=gate)
            observer.update(output, batch.targets, learner.criterion.losses(output, batch.targets))
        found = observer.metrics()
        return {name: found[f"val/{name}"] for name in LOSSES if f"val/{name}" in found}

    def _batches(self, images: Sequence[int], targets: Sequence[int]) -> Iterator[Batch]:
        frames, size = (
            Frames(self._split, self._config.model.image_size),
            self._config.runner.batch,
        )
        for start in range(0, len(images), size):
            pairs = zip(images[start : start + size], targets[start : start + size], strict=True)
            yield collate([Sample(frames[i].image, frames.target(t)) for i, t in pairs])


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
