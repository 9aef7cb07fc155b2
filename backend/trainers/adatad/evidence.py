"""What a detector shows of itself for the diagnostics: predictions, and use of the input."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from backend.core.evidence import PredictionHistogram
from backend.datasets.temporal import TemporalSplit
from backend.nn.observing.detections import detection_histogram
from backend.nn.observing.probing import paired, spread
from backend.runner.data import to_device
from backend.runner.training import Probed
from backend.scoring.temporal.soft_nms import Detections, joined
from backend.trainers.adatad.batch import Batch
from backend.trainers.adatad.data import SlidingWindows
from backend.trainers.adatad.inference import LossSums, batches
from backend.trainers.adatad.model.assignment import assign
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.model.points import Outputs


class PointScores:
    """The highest score of each valid point, and whether it is to find an action. A ``Watch``."""

    def __init__(self) -> None:
        self._scores = [np.empty(0, np.float32)]
        self._positive = [np.empty(0, np.bool_)]

    def __call__(self, batch: Batch, outputs: Outputs) -> None:
        """Take a batch in."""
        classes = outputs.logits.shape[-1]
        for row, (segments, labels) in enumerate(zip(batch.segments, batch.labels, strict=True)):
            wanted = assign(outputs.points, segments, labels, classes).classes.any(-1)
            valid = outputs.valid[row]
            self._scores.append(outputs.logits[row, valid].amax(-1).cpu().numpy())
            self._positive.append(wanted[valid].cpu().numpy())

    def auroc(self) -> float | None:
        """How often a point of an action scores higher than another one; None without either."""
        return _auroc(np.concatenate(self._scores), np.concatenate(self._positive))


class Probe:
    """The loss on validation windows with their own frames, and with those of another window."""

    def __init__(self, windows: SlidingWindows, workers: int) -> None:
        self._windows, self._workers = windows, workers

    @torch.no_grad()
    def __call__(self, model: nn.Module, samples: int) -> Probed | None:
        """None if there are fewer than two windows. The windows of a pair stand in for each
        other, so that one look at both gives both losses."""
        assert isinstance(model, AdaTad)
        places = paired(spread(len(self._windows), samples))
        if not places:
            return None
        device = next(model.parameters()).device
        own, others = LossSums(), LossSums()
        for _, made in batches(self._windows, places, 2, self._workers):
            batch: Batch = to_device(made, device)
            outputs = model.outputs(batch)
            own(batch, outputs)
            swapped = replace(batch, segments=batch.segments[::-1], labels=batch.labels[::-1])
            others(swapped, outputs)
        return Probed("val", len(places), own.means(), others.means())


def histogram(
    split: TemporalSplit, found: Mapping[str, Detections], auroc: float | None
) -> PredictionHistogram:
    """The classes of the surest segments, as many as there are actions; ``auroc`` of points."""
    labels = np.concatenate([video.labels for video in split.usable])
    truth = np.bincount(labels, minlength=len(split.classes)).tolist()
    every = joined(list(found.values()))
    videos = np.repeat(np.arange(len(found)), [len(one) for one in found.values()])
    shown = detection_histogram(
        dict(zip(split.classes, truth, strict=True)),
        videos,
        every.labels,
        every.scores,
        len(found),
    )
    return shown.model_copy(update={"auroc": auroc})


def _auroc(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve; equal scores count half."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return None
    above = float(rankdata(scores)[positive].sum()) - ones * (ones + 1) / 2
    return above / (ones * zeros)
