"""A trainer of one module, as somebody else's package would bring it: it finds bright spots.

Copied under another name by the tests of the registry, so that nothing of it is importable
where its model is served.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.config.schema import TrainConfig
from backend.core.trainer import Detection


class SpotConfig(TrainConfig):
    kind: Literal["spots"] = "spots"
    label: str = "spot"


class SpotTrainer:
    """Serves; the threshold is the checkpoint, its least size is in the facts beside it."""

    def __init__(self, config: SpotConfig, work_dir: Path) -> None:
        assert work_dir.is_dir()
        assert config.device == "auto"
        self.config = config

    def predictor(self, checkpoint: Path) -> "SpotPredictor":
        facts = json.loads(checkpoint.with_suffix(".json").read_text())
        threshold = int(checkpoint.read_text())
        return SpotPredictor(threshold, facts["score"], self.config.label)


class SpotPredictor:
    """The box around all bright pixels."""

    def __init__(self, threshold: int, score: float, label: str) -> None:
        self._threshold, self._score, self._label = threshold, score, label

    def predict(
        self, images: Sequence[NDArray[np.uint8]], conf: float = 0.25
    ) -> list[list[Detection]]:
        return [self._one(image) if self._score >= conf else [] for image in images]

    def _one(self, image: NDArray[np.uint8]) -> list[Detection]:
        assert image.dtype == np.uint8
        ys, xs = np.nonzero(image[..., 0] >= self._threshold)  # red: the order is RGB
        if not len(xs):
            return []
        box = (float(xs.min()), float(ys.min()), float(xs.max()) + 1, float(ys.max()) + 1)
        return [Detection(box=box, score=self._score, label=self._label)]
