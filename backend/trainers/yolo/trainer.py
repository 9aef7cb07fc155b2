"""Fine-tunes, scores and serves Ultralytics detectors."""

import contextlib
import copy
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core.errors import TrainingError
from backend.core.events import DataSurveyed, Evaluated, Noted
from backend.core.records import EvalReport
from backend.core.trainer import Conditions, Emit, EvalRequest, StopSignal, TrainOutcome
from backend.nn.finetune.freezing import Snapshot
from backend.nn.finetune.resuming import full_disk_explained
from backend.scoring.detection.yolo_datafile import read_datafile
from backend.trainers.yolo import freeze
from backend.trainers.yolo.checkpoints import Keeper
from backend.trainers.yolo.dataset import load_split
from backend.trainers.yolo.device import resolve_device
from backend.trainers.yolo.engine import Engine, Stopped
from backend.trainers.yolo.evaluation import conditions, score, settings_of
from backend.trainers.yolo.model import load_network
from backend.trainers.yolo.predictor import Detector, YoloPredictor
from backend.trainers.yolo.preparation import Checked, check
from backend.trainers.yolo.progress import write_finished
from backend.trainers.yolo.recorder import Recorder
from backend.trainers.yolo.spec import YoloConfig

EVALUATION = "evaluation"


class YoloTrainer:
    """A YOLO training in a work directory; everything it writes lies in there."""

    def __init__(self, config: YoloConfig, work_dir: Path) -> None:
        self._config = config
        self._work_dir = work_dir.absolute()

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        """Train, or continue what was interrupted in this work directory.

        Raises DataError, CheckpointError or ConfigError before anything is trained, and
        TrainingError for a finished run or if training cannot go on.
        """
        checked = check(self._config, self._work_dir)
        emit(checked.started())
        for note in checked.notes:
            emit(Noted(level="warning", message=note))
        optimizer, plan = self._config.optimizer, checked.plan
        emit(freeze.declared(plan, optimizer))
        keeper = Keeper(self._work_dir, emit, self._config.save_period)
        before = Snapshot(checked.prepared.network, plan.frozen | plan.always)
        if checked.state is None:
            emit(DataSurveyed(survey=checked.survey()))
        with self._explained():
            trained = _train(checked, keeper, emit, stop, before)
        emit(freeze.verified(plan, optimizer, before, trained.models))
        best = keeper.relative(keeper.best.path) if keeper.best else None
        if trained.stopped is not None:
            return TrainOutcome(status="stopped", best=best, reason=trained.stopped)
        assert best is not None  # the last epoch is always validated
        with self._explained():
            emit(Evaluated(report=self._final(checked, self._work_dir / best)))
            write_finished(self._work_dir, trained.epochs)
        early = f"no better mAP50-95 for {self._config.patience} epochs"
        exhausted = trained.epochs < self._config.epochs
        return TrainOutcome(status="finished", best=best, reason=early if exhausted else "")

    def evaluate(self, request: EvalRequest) -> EvalReport:
        """Score a checkpoint; predictions and ground truth are written to ``request.out``.

        Raises DataError and CheckpointError.
        """
        network, source = load_network(Path(request.checkpoint), self._config.trust_pickle)
        split = load_split(read_datafile(Path(request.data)), request.split)
        return score(network, source.names, split, request, self._config)

    def conditions(self, request: EvalRequest) -> Conditions:
        """What ``evaluate`` would be made under. Raises DataError."""
        split = load_split(read_datafile(Path(request.data)), request.split)
        return conditions(split, self._config)

    def predictor(self, checkpoint: Path) -> YoloPredictor:
        """A checkpoint that answers. Raises CheckpointError."""
        network, source = load_network(checkpoint, self._config.trust_pickle)
        detector = Detector(network, resolve_device(self._config.device))
        return YoloPredictor(detector, source.names, settings_of(self._config))

    def _final(self, checked: Checked, best: Path) -> EvalReport:
        request = EvalRequest(
            checkpoint=str(best),
            data=str(self._config.data),
            split="val",
            out=str(self._work_dir / EVALUATION),
        )
        network, source = load_network(best)
        return score(network, source.names, checked.val, request, self._config)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the failures that a user can do something about into one sentence."""
        try:
            with full_disk_explained(self._work_dir):
                yield
        except RuntimeError as error:
            if "out of memory" not in str(error).lower():
                raise
            raise TrainingError(
                f"out of memory with batch {self._config.batch} at {self._config.imgsz} pixels; "
                "lower batch or imgsz"
            ) from error


@dataclass(frozen=True)
class Trained:
    """What training left behind, and the reason for which it was asked to stop, if it was."""

    models: Mapping[str, nn.Module]
    epochs: int
    stopped: str | None = None


def _train(
    checked: Checked, keeper: Keeper, emit: Emit, stop: StopSignal, before: Snapshot
) -> Trained:
    """Run the engine, unless an interrupted run had only its evaluation left."""
    recorder = Recorder(emit, keeper, checked.facts())
    _take_up(checked.state, keeper, recorder)
    if checked.state is not None and checked.state["complete"]:
        return _trained_before(checked.prepared.network, checked.state)
    stopped: str | None = None
    with contextlib.ExitStack() as clean:
        clean.callback(shutil.rmtree, checked.view, ignore_errors=True)
        engine = Engine(checked.job(recorder, stop, before))
        clean.callback(engine.close)
        try:
            engine.train()
        except Stopped as asked:
            stopped = str(asked)
    models = {"model": engine.model, "ema": engine.ema.ema}
    return Trained(models, engine.epoch + 1, stopped)


def _trained_before(network: nn.Module, state: Mapping[str, Any]) -> Trained:
    models = {name: copy.deepcopy(network) for name in ("model", "ema")}
    for name, model in models.items():
        model.load_state_dict(state[name])
    return Trained(models, state["epoch"])


def _take_up(state: dict[str, Any] | None, keeper: Keeper, recorder: Recorder) -> None:
    """Continue the counts of an interrupted run; save its last checkpoint if that was lost."""
    if state is None:
        return
    keeper.find(state["epoch"])
    recorder.step = state["step"]
    recorder.validated = dict(state["metrics"])
    if not keeper.has(state["epoch"]):
        recorder.checkpoint(state["epoch"], state["ema"])
