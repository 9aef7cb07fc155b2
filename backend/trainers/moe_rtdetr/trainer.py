"""Fine-tunes, scores and serves RT-DETR with routed experts."""

from pathlib import Path

from backend.core.records import EvalReport
from backend.core.trainer import Conditions, Emit, EvalRequest, StopSignal, TrainOutcome
from backend.datasets import DetectionSplit, read_split
from backend.runner.device import resolve_device
from backend.runner.processes import train
from backend.trainers.moe_rtdetr.checkpoint import classes_of, read_checkpoint
from backend.trainers.moe_rtdetr.evaluation import Ask, conditions
from backend.trainers.moe_rtdetr.judging import evaluate
from backend.trainers.moe_rtdetr.learner import restored
from backend.trainers.moe_rtdetr.predictor import MoePredictor
from backend.trainers.moe_rtdetr.spec import KNOBS, MoeRtDetrConfig
from backend.trainers.moe_rtdetr.training import build


class MoeRtDetrTrainer:
    """A training in a work directory; everything it writes lies in there."""

    def __init__(self, config: MoeRtDetrConfig, work_dir: Path) -> None:
        self._config = config
        self._work_dir = work_dir.absolute()

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        """Train, or continue what was interrupted; see ``runner.fit.fit`` for what is raised."""
        return train(build, self._config, emit, stop, self._work_dir, KNOBS)

    def evaluate(self, request: EvalRequest) -> EvalReport:
        """Score a checkpoint; boxes, evidence and what the experts did go to ``request.out``.

        Raises DataError and CheckpointError.
        """
        saved = read_checkpoint(Path(request.checkpoint))
        split = self._split(request, saved.classes)
        return evaluate(saved, split, request, self._config, self._config.analyze == "always")[0]

    def conditions(self, request: EvalRequest) -> Conditions:
        """What ``evaluate`` would be made under. Raises DataError."""
        split = self._split(request, classes_of(Path(request.checkpoint)))
        return conditions(split, self._config)

    def predictor(self, checkpoint: Path) -> MoePredictor:
        """A checkpoint that answers. Raises CheckpointError."""
        saved = read_checkpoint(checkpoint).asked_by(self._config.language)
        learner = restored(saved).to(resolve_device(self._config.device, 1))
        return MoePredictor(learner, saved.classes, Ask.of(self._config))

    def _split(self, request: EvalRequest, classes: tuple[str, ...]) -> DetectionSplit:
        return read_split(Path(request.data), request.split, classes, self._config.class_map)
