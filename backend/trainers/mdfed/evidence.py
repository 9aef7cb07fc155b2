"""What a training shows of itself for the diagnostics: predictions, and use of the input."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from backend.core.evidence import PredictionHistogram
from backend.nn.observing.probing import spread
from backend.runner.data import to_device
from backend.runner.training import Probed
from backend.scoring.spotting.decoding import Decoder, Window, decode
from backend.scoring.spotting.matching import Clip
from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.data import Sample, Tiles, collate
from backend.trainers.mdfed.inference import ClipWindows, scores_of
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.losses import LossSums

BACKGROUND, EVENT = "background", "event"
_QUANTILES = ("0.5", "0.9", "0.99", "1")


class Probe:
    """The validation loss with each window's skeletons given to another window's labels."""

    def __init__(
        self, tiles: Tiles, batch: int, known: Callable[[nn.Module], Mapping[str, float] | None]
    ) -> None:
        """``known`` are the losses of a model on all tiles, if they were just taken."""
        self._tiles = tiles
        self._batch = batch
        self._known = known

    @torch.no_grad()
    def __call__(self, model: nn.Module, samples: int) -> Probed | None:
        assert isinstance(model, Learner)
        few = len(self._tiles) <= 2 * samples  # then the validation's own losses are cheaper
        places = spread(len(self._tiles), len(self._tiles) if few else samples)
        if len(places) < 2:
            return None
        half = len(places) // 2  # far from it, so mostly of another clip
        permuted = places[half:] + places[:half]
        known = self._known(model) if len(places) == len(self._tiles) else None
        return Probed(
            "val",
            len(places),
            known or self._losses(model, places, places),
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


def histograms(
    elements: Sequence[str],
    windows: ClipWindows,
    clips: Sequence[Clip],
    rule: Decoder,
    auroc: float | None,
) -> tuple[PredictionHistogram, PredictionHistogram]:
    """What both heads say beside the truth: ``frame`` of all frames before suppression,
    ``elements`` of the frames with a true event, so that either is seen by itself."""
    scores = np.concatenate([scores_of(clip) for clip in clips])
    total, true = len(scores), sum(len(clip.truth.frames) for clip in clips)
    predicted = int((scores > 0.5).sum())
    frame = PredictionHistogram(
        output="frame",
        truth={BACKGROUND: total - true, EVENT: true},
        predicted={BACKGROUND: total - predicted, EVENT: predicted},
        background=BACKGROUND,
        quantiles={name: float(np.quantile(scores, float(name))) for name in _QUANTILES},
        auroc=auroc,
    )
    said = sum((_bits_at(windows[c.name], c, rule) for c in clips), np.zeros(len(elements)))
    there = sum((clip.truth.elements.sum(0) for clip in clips), np.zeros(len(elements)))
    return frame, PredictionHistogram(
        output="elements", truth=_counts(elements, there), predicted=_counts(elements, said)
    )


def _bits_at(windows: Sequence[Window], clip: Clip, rule: Decoder) -> NDArray[np.int64]:
    """How often each element is decoded at the true events, whatever the localiser says."""
    sure = [w._replace(scores=np.tile([0.0, 1.0], (len(w.scores), 1))) for w in windows]
    everywhere, _ = decode(sure, clip.frames, rule)
    at_truth = np.isin(everywhere.frames, clip.truth.frames)
    return np.asarray(everywhere.elements[at_truth].sum(0))


def _counts(elements: Sequence[str], numbers: NDArray[Any]) -> dict[str, int]:
    return dict(zip(elements, map(int, numbers), strict=True))
