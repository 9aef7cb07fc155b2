"""What is measured at each validation: tracks, losses, and what was forgotten."""

import warnings
from collections.abc import Mapping, Sequence

from torch import nn

from backend.core.events import Event, PredictionsObserved, TracksObserved
from backend.datasets.tracking.records import TrackingSplit
from backend.runner.training import Point, Validated
from backend.trainers.motrv2.clip_losses import clip_losses
from backend.trainers.motrv2.data import Sample
from backend.trainers.motrv2.evidence import histograms
from backend.trainers.motrv2.forgetting import Source
from backend.trainers.motrv2.judging import Judged, judge
from backend.trainers.motrv2.model.learner import ClipLearner
from backend.trainers.motrv2.spec import METRICS, Motrv2Config


class Validation:
    """Tracks the sequences of the validation split, takes the loss on a few of its clips, and
    tracks the source domain if there is one.

    ``untrained`` are tensors that came from no checkpoint and are frozen.
    """

    def __init__(
        self,
        split: TrackingSplit,
        config: Motrv2Config,
        clips: Sequence[Sample],
        source: Source | None = None,
        untrained: Sequence[str] = (),
    ) -> None:
        self._split, self._config, self._clips = split, config, clips
        self._source, self._untrained = source, tuple(untrained)

    def __call__(self, model: nn.Module, point: Point, losses: Mapping[str, float]) -> Validated:
        assert isinstance(model, ClipLearner)
        judged = judge(model, self._split, self._config, self._untrained)
        for note in judged.notes:
            warnings.warn(note, stacklevel=2)
        found = judged.scores.metrics | clip_losses(model, (one.clip for one in self._clips))
        metrics = {
            f"val/{spec.name}": value
            for spec in METRICS
            if (value := found.get(spec.name)) is not None
        }
        if self._source is not None:
            metrics |= self._source.metrics(model)
        observe = self._config.diagnostics.observe
        return Validated(metrics, self._observed(judged, point) if observe else ())

    def _observed(self, judged: Judged, point: Point) -> tuple[Event, ...]:
        split = self._split.split
        shown = histograms(self._split, judged.followed)
        return (
            TracksObserved(step=point.step, split=split, seen=judged.seen),
            PredictionsObserved(step=point.step, split=split, histograms=shown),
        )
