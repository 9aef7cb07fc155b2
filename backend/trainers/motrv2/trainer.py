"""Fine-tunes, scores, serves and exports MOTRv2."""

from pathlib import Path

from backend.core.records import EvalReport
from backend.core.trainer import (
    Conditions,
    Emit,
    EvalRequest,
    ExportReport,
    ExportRequest,
    StopSignal,
    TrainOutcome,
)
from backend.runner.processes import train
from backend.trainers.motrv2.checkpoint import facts_at, read_checkpoint
from backend.trainers.motrv2.evaluation import conditions, evaluate, read_split
from backend.trainers.motrv2.exporting import export
from backend.trainers.motrv2.predictor import TrackPredictor
from backend.trainers.motrv2.spec import KNOBS, Motrv2Config
from backend.trainers.motrv2.training import build


class Motrv2Trainer:
    """A training in a work directory; everything it writes lies in there."""

    def __init__(self, config: Motrv2Config, work_dir: Path) -> None:
        self._config = config
        self._work_dir = work_dir.absolute()

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        """Train, or continue what was interrupted; see ``runner.fit.fit`` for what is raised."""
        return train(build, self._config, emit, stop, self._work_dir, KNOBS)

    def evaluate(self, request: EvalRequest) -> EvalReport:
        """Score a checkpoint; tracks, truth, evidence and what the tracker did go to
        ``request.out``.

        Raises DataError, ConfigError and CheckpointError.
        """
        saved = read_checkpoint(Path(request.checkpoint))
        return evaluate(saved, request, self._config, saved.untrained)

    def conditions(self, request: EvalRequest) -> Conditions:
        """What ``evaluate`` would be made under. Raises as it does."""
        facts = facts_at(Path(request.checkpoint))
        config = facts.fitting(self._config)
        return conditions(facts, read_split(config, request, facts), config)

    def predictor(self, checkpoint: Path) -> TrackPredictor:
        """A checkpoint that answers. Raises CheckpointError."""
        return TrackPredictor(read_checkpoint(checkpoint), self._config)

    def export(self, request: ExportRequest) -> ExportReport:
        """A checkpoint in the reference's layout, scored beside it. Raises as
        ``exporting.export``."""
        return export(request, self._config)
