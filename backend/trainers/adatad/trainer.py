"""Trains, scores and serves AdaTAD."""

from pathlib import Path

from backend.core.records import EvalReport
from backend.core.trainer import Conditions, Emit, EvalRequest, StopSignal, TrainOutcome
from backend.runner.processes import train
from backend.trainers.adatad.checkpoint import facts_at, read_checkpoint
from backend.trainers.adatad.evaluation import conditions, evaluate
from backend.trainers.adatad.predictor import SegmentPredictor
from backend.trainers.adatad.spec import KNOBS, AdaTadConfig
from backend.trainers.adatad.training import build


class AdaTadTrainer:
    """A training in a work directory; everything it writes lies in there."""

    def __init__(self, config: AdaTadConfig, work_dir: Path) -> None:
        self._config = config
        self._work_dir = work_dir.absolute()

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        """Train, or continue what was interrupted; see ``runner.fit.fit`` for what is raised."""
        return train(build, self._config, emit, stop, self._work_dir, KNOBS)

    def evaluate(self, request: EvalRequest) -> EvalReport:
        """Score a checkpoint; segments, truth, videos and evidence go to ``request.out``.

        Raises DataError, ConfigError and CheckpointError.
        """
        return evaluate(read_checkpoint(Path(request.checkpoint)), request, self._config)

    def conditions(self, request: EvalRequest) -> Conditions:
        """What ``evaluate`` would be made under. Raises as it does."""
        return conditions(facts_at(Path(request.checkpoint)), request, self._config)

    def predictor(self, checkpoint: Path) -> SegmentPredictor:
        """A checkpoint that answers. Raises CheckpointError."""
        return SegmentPredictor(read_checkpoint(checkpoint), self._config)
