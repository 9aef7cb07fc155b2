"""What is measured at each validation: losses, mAP, and what is predicted."""

from collections.abc import Mapping

from torch import nn

from backend.core.errors import DataError
from backend.core.events import PredictionsObserved
from backend.datasets.temporal import TemporalSplit
from backend.runner.training import Point, Validated
from backend.trainers.adatad.data import SlidingWindows
from backend.trainers.adatad.evaluation import judge
from backend.trainers.adatad.evidence import PointScores, histogram
from backend.trainers.adatad.inference import LossSums
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.reuse import Reuse
from backend.trainers.adatad.spec import METRICS, AdaTadConfig

SPLIT = "val"


class Validation:
    """A pass over sliding windows of the validation videos, the same each time.

    Losses are sums over their points, divided by the number of positive ones. Raises DataError if
    no video has an action: every mAP would be undefined.
    """

    def __init__(
        self, split: TemporalSplit, config: AdaTadConfig, reuse: Reuse | None = None
    ) -> None:
        if not any(len(video.labels) for video in split.usable):
            raise DataError(
                f"{split.source}, {split.split}: no video that can be used has an action, so mAP "
                "is not defined; choose another subset with subsets.val"
            )
        self.windows = SlidingWindows(split.usable, config, config.inference.val_overlap, reuse)
        self._split, self._config = split, config

    def __call__(self, model: nn.Module, point: Point, losses: Mapping[str, float]) -> Validated:
        assert isinstance(model, AdaTad)
        sums, points = LossSums(), PointScores()
        watches = (sums, points) if self._config.diagnostics.observe else (sums,)
        judged = judge(model, self._split, self.windows, self._config, watches)
        scores = judged.evidence.scores().metrics
        found = {name.replace("@", "_"): value for name, value in scores.items()} | sums.means()
        metrics = {
            f"{SPLIT}/{spec.name}": value
            for spec in METRICS
            if (value := found.get(spec.name)) is not None
        }
        if not self._config.diagnostics.observe:
            return Validated(metrics)
        shown = histogram(self._split, judged.found, points.auroc())
        seen = PredictionsObserved(step=point.step, split=SPLIT, histograms=(shown,))
        return Validated(metrics, (seen,))
