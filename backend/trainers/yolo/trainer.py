"""Fine-tunes, scores and serves Ultralytics detectors."""

import contextlib
import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core.events import DataSurveyed, Evaluated
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
from backend.hardware.attempts import Attempts, Part, Where, noticing
from backend.nn.finetune.freezing import Snapshot
from backend.nn.finetune.resuming import full_disk_explained
from backend.nn.releasing import release
from backend.scoring.detection.yolo_datafile import read_datafile
from backend.trainers.yolo import freeze
from backend.trainers.yolo.checkpoints import Keeper
from backend.trainers.yolo.dataset import load_split
from backend.trainers.yolo.device import knobs_on, resolve_device, site_of
from backend.trainers.yolo.engine import Engine, Stopped
from backend.trainers.yolo.estimate import needed
from backend.trainers.yolo.evaluation import conditions, score, settings_of
from backend.trainers.yolo.export import export, export_best
from backend.trainers.yolo.model import load_network
from backend.trainers.yolo.predictor import Detector, YoloPredictor
from backend.trainers.yolo.preparation import Checked, check
from backend.trainers.yolo.progress import sweep, write_finished
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
        device = resolve_device(self._config.device)
        site, knobs = site_of(device), knobs_on(device)
        attempts = Attempts(self._config, self._work_dir, knobs, site, needed)

        def attempt(config: YoloConfig, part: Part) -> TrainOutcome:
            where = Where()
            with full_disk_explained(self._work_dir), noticing(where):
                return _fit(check(config, self._work_dir, part), where, emit, stop)

        return attempts.run(attempt, release, stop)

    def evaluate(self, request: EvalRequest) -> EvalReport:
        """Score a checkpoint; predictions and ground truth are written to ``request.out``.

        Raises DataError and CheckpointError.
        """
        network, source = load_network(Path(request.checkpoint), self._config.trust_pickle)
        split = load_split(read_datafile(Path(request.data)), request.split)
        return score(network, source.names, split, request, self._config)

    def export(self, request: ExportRequest) -> ExportReport:
        """Write a checkpoint in another format, compared with the checkpoint first.

        Raises DataError, CheckpointError and, for missing packages, ConfigError.
        """
        data = read_datafile(Path(request.data)) if request.data else None
        return export(request, self._config, load_split(data, "val") if data else None)

    def conditions(self, request: EvalRequest) -> Conditions:
        """What ``evaluate`` would be made under. Raises DataError."""
        split = load_split(read_datafile(Path(request.data)), request.split)
        return conditions(split, self._config)

    def predictor(self, checkpoint: Path) -> YoloPredictor:
        """A checkpoint that answers. Raises CheckpointError."""
        network, source = load_network(checkpoint, self._config.trust_pickle)
        detector = Detector(network, resolve_device(self._config.device))
        return YoloPredictor(detector, source.names, settings_of(self._config))


@dataclass(frozen=True)
class Trained:
    """What training left behind, and the reason for which it was asked to stop, if it was."""

    models: Mapping[str, nn.Module]
    epochs: int
    stopped: str | None = None


def _fit(checked: Checked, where: Where, emit: Emit, stop: StopSignal) -> TrainOutcome:
    config, plan, work_dir = checked.config, checked.plan, checked.work_dir
    for event in checked.opening():
        emit(event)
    keeper = Keeper(work_dir, emit, config.save_period)
    before = Snapshot(checked.prepared.network, plan.frozen | plan.always)
    if checked.state is None:
        emit(DataSurveyed(survey=checked.survey()))
    trained = _train(checked, where, keeper, emit, stop, before)
    if plan.at(trained.epochs - 1) is plan:  # else told when it was thawed
        emit(freeze.verified(plan, config.optimizer, before, trained.models))
    best = keeper.relative(keeper.best.path) if keeper.best else None
    if trained.stopped is not None:
        return TrainOutcome(status="stopped", best=best, reason=trained.stopped)
    assert best is not None  # the last epoch is always validated
    where.phase = "evaluation"
    emit(Evaluated(report=_final(checked, work_dir / best)))
    export_best(config, work_dir, work_dir / best, checked.val, emit)
    write_finished(work_dir, trained.epochs)
    early = f"no better mAP50-95 for {config.patience} epochs"
    exhausted = trained.epochs < config.epochs
    return TrainOutcome(status="finished", best=best, reason=early if exhausted else "")


def _final(checked: Checked, best: Path) -> EvalReport:
    request = EvalRequest(
        checkpoint=str(best),
        data=str(checked.config.data),
        split="val",
        out=str(checked.work_dir / EVALUATION),
    )
    network, source = load_network(best)
    return score(network, source.names, checked.val, request, checked.config)


def _train(
    checked: Checked, where: Where, keeper: Keeper, emit: Emit, stop: StopSignal, before: Snapshot
) -> Trained:
    """Run the engine, unless an interrupted run had only its evaluation left."""
    recorder = Recorder(emit, keeper, checked.facts())
    _take_up(checked.state, keeper, recorder)
    where.step = recorder.step
    sweep(checked.work_dir)
    if checked.state is not None and checked.state["complete"]:
        return _trained_before(checked.prepared.network, checked.state)
    stopped: str | None = None
    with contextlib.ExitStack() as clean:
        clean.callback(shutil.rmtree, checked.view, ignore_errors=True)
        engine = Engine(checked.job(recorder, where, stop, before))
        clean.callback(engine.close)
        try:
            engine.train()
        except Stopped as asked:
            stopped = str(asked)
        if took := engine.costs.told(recorder.step):
            emit(took)
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
