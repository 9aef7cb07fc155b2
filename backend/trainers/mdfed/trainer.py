"""Trains, scores and serves MD-FED."""

from pathlib import Path

from backend.core.records import EvalReport
from backend.core.trainer import Conditions, Emit, EvalRequest, StopSignal, TrainOutcome
from backend.runner.processes import train
from backend.trainers.mdfed.checkpoint import facts_at, read_checkpoint
from backend.trainers.mdfed.evaluation import conditions, evaluate, read_split
from backend.trainers.mdfed.predictor import SpotPredictor
from backend.trainers.mdfed.spec import KNOBS, MdFedConfig
from backend.trainers.mdfed.training import build


class MdFedTrainer:
    """A training in a work directory; everything it writes lies in there."""

    def __init__(self, config: MdFedConfig, work_dir: Path) -> None:
        self._config = config
        self._work_dir = work_dir.absolute()

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        """Train, or continue what was interrupted; see ``runner.fit.fit`` for what is raised."""
        return train(build, self._config, emit, stop, self._work_dir, KNOBS)

    def evaluate(self, request: EvalRequest) -> EvalReport:
        """Score a checkpoint; events, scores and evidence go to ``request.out``.

        Raises DataError and CheckpointError.
        """
        return evaluate(read_checkpoint(Path(request.checkpoint)), request, self._config)

    def conditions(self, request: EvalRequest) -> Conditions:
        """What ``evaluate`` would be made under. Raises DataError and CheckpointError."""
        facts = facts_at(Path(request.checkpoint))
        config = facts.fitting(self._config)
        return conditions(facts, read_split(config, request.split, Path(request.data)), config)

    def predictor(self, checkpoint: Path) -> SpotPredictor:
        """A checkpoint that answers. Raises CheckpointError."""
        return SpotPredictor(read_checkpoint(checkpoint), self._config)
