"""Our subclass of Ultralytics' detection trainer.

Its last.pt, its optimizer groups, its validation and its end are ours; the loop is its own.
Private names of Ultralytics are used here only, and a test pins them.
"""

import functools
import math
import random
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core.errors import TrainingError
from backend.core.trainer import StopSignal
from backend.datasets.pasting import Pasting
from backend.hardware.attempts import Where
from backend.nn.finetune.freezing import Snapshot
from backend.nn.finetune.groups import rates, regroup
from backend.nn.observing.costs import CostMeter
from backend.trainers.yolo.freeze import ALWAYS, Plan, part_rates, verified
from backend.trainers.yolo.observing import Observing
from backend.trainers.yolo.progress import FOLDER, Identity, write_progress
from backend.trainers.yolo.recorder import Recorder
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.state import restore, state_of
from backend.trainers.yolo.synthetic import PastedDataset
from backend.trainers.yolo.validation import Patience, SteadyValidator

import ultralytics.engine.trainer as ultralytics_trainer  # isort: skip
from ultralytics.models.yolo.detect import DetectionTrainer  # isort: skip

NO_RETRY = 3
"""Ultralytics halves the batch by itself unless it believes to have tried so often."""

_BAD_AMP = re.compile(r"(1660|1650|1630|T400|T550|T600|T1000|T1200|T2000|K40M)", re.IGNORECASE)


class Stopped(Exception):  # noqa: N818 (not an error)
    """Training was asked to end; what it needs to go on is on disk."""


@dataclass(frozen=True)
class Job:
    """Everything that one training needs. ``state`` is that of an interrupted run;
    ``nominal_batch`` the images per optimizer step that gradients are gathered for; ``before``
    the network as it came; ``observing`` may look on; ``pasting`` makes images beside the real
    ones. How far it is, ``where`` tells."""

    config: YoloConfig
    work_dir: Path
    device: torch.device
    network: Any
    data: Mapping[str, Any]
    plan: Plan
    before: Snapshot
    identity: Identity
    recorder: Recorder
    where: Where
    stop: StopSignal
    nominal_batch: int
    observing: Observing | None
    pasting: Pasting | None = None
    state: dict[str, Any] | None = None


class Engine(DetectionTrainer):
    """One training. The class is not called a Trainer, because Ultralytics gives its reporting
    callbacks to whatever is."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.plan = job.plan
        self.validated = False
        self._batch = 0
        self._accumulate = 1
        self._before = 0
        self.fed: dict[str, Any] = {}
        self.costs = CostMeter(job.device)
        super().__init__(overrides=_arguments(job))
        self.model = job.network
        self.add_callback("on_train_epoch_start", Engine._begin_epoch)
        self.add_callback("on_train_batch_start", Engine._begin_batch)
        self.add_callback("on_train_batch_end", Engine._end_batch)
        self.add_callback("on_train_epoch_end", Engine._end_training)
        self.add_callback("on_fit_epoch_end", Engine._end_epoch)

    @property
    def accumulate(self) -> int:
        """Batches per optimizer step. Until the first one Ultralytics counts them from the run's
        begin, also in a continued run, which would take a step after its first batch."""
        return self._before + self._accumulate

    @accumulate.setter
    def accumulate(self, batches: int) -> None:
        self._accumulate = batches

    def get_dataset(self) -> dict[str, Any]:
        return dict(self.job.data)

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        if mode != "train" or self.job.pasting is None:
            return super().build_dataset(img_path, mode, batch)
        return PastedDataset(
            self.job.pasting,
            **{"img_path": img_path, "data": self.data, "hyp": self.args, "augment": True},
            **{"imgsz": self.args.imgsz, "batch_size": batch, "cache": self.args.cache or None},
            stride=max(int(self.model.stride.max()), 32),
            pad=0.0,
        )

    def get_validator(self) -> SteadyValidator:
        return SteadyValidator(
            self.test_loader,
            save_dir=self.save_dir,
            args=copy(self.args),
            _callbacks=self.callbacks,
        )

    def build_optimizer(self, model: Any, **arguments: Any) -> Any:
        optimizer = super().build_optimizer(model, **arguments)
        names = {parameter: name for name, parameter in model.named_parameters()}
        place = functools.partial(self.job.plan.layout.place, self.job.config.optimizer)
        regroup(optimizer, names, place)
        return optimizer

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.fed = super().preprocess_batch(batch)
        return self.fed

    def optimizer_step(self) -> None:
        if self.job.observing:
            self.job.observing.stepping(self)
        super().optimizer_step()
        self._before = 0
        last = self._batch == len(self.train_loader)
        self.job.recorder.stepped(self.epoch + 1, self.tloss, last)
        self.job.where.step = self.job.recorder.step

    def validate(self) -> tuple[dict[str, float], float]:
        self.validated = True
        self.job.where.phase = "val"
        if self.job.observing:
            self.job.observing.validating()
        metrics, fitness = super().validate()
        return metrics, float(fitness)

    def save_metrics(self, metrics: Any) -> None:
        trained = part_rates(self.plan, self.job.config.optimizer)
        now = {part: lr for part, lr in rates(self.optimizer).items() if part in trained}
        validation = self.metrics if self.validated else None
        self.job.recorder.epoch_ended(self.epoch + 1, self.tloss, validation, now)

    def save_model(self) -> bool:
        write_progress(self.job.work_dir, self.job.identity, state_of(self))
        if self.validated and self.job.observing:  # its probe may need more memory than there is
            self.job.observing.validated(self)
        self.job.recorder.checkpoint(self.epoch + 1, self.ema.ema.state_dict())
        return True

    def resume_training(self, ckpt: object) -> None:
        self.stopper = Patience(self.job.config.patience, lambda: self.validated)
        if self.job.state is not None:
            restore(self, self.job.state)
        if self.job.observing:
            self.job.observing.begin(self)

    def final_eval(self) -> None:
        """Nothing: the best checkpoint is scored by Assay's own evaluation."""

    def close(self) -> None:
        """End the loaders' processes; the native loop only does so when it ends by itself."""
        for loader in (getattr(self, "train_loader", None), getattr(self, "test_loader", None)):
            if loader is not None:
                loader.close()

    def _model_train(self) -> None:
        """Each epoch begins here, with what is frozen in it."""
        plan = self.job.plan.at(self.epoch)
        if plan.frozen != self.plan.frozen:
            self._thaw(plan)
        super()._model_train()

    def _thaw(self, plan: Plan) -> None:
        """From this epoch on ``plan`` holds; prove the one before, unless it was told already."""
        if self.epoch == self.plan.until:
            models = {"model": self.model, "ema": self.ema.ema}
            optimizer, before = self.job.config.optimizer, self.job.before
            self.job.recorder.tell(verified(self.plan, optimizer, before, models, self.plan.until))
        self.plan = plan
        self.freeze_layer_names = [ALWAYS]
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in plan.always)
        if self.job.observing:
            self.job.observing.thawed(self)

    def _begin_epoch(self) -> None:
        """Start each epoch from its own seed, so that a resumed run repeats the uninterrupted."""
        config = self.job.config
        self._oom_retries = NO_RETRY
        self.job.where.phase = "train"
        self.costs.begin(whole=True)
        self._batch = 0
        self.validated = False
        self.args.val = (self.epoch + 1) % config.val_period == 0
        torch.set_num_threads(config.threads)
        seed = (config.seed * 1_000_003 + self.epoch) % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        loader = self.train_loader
        closing = self._close_pasting()
        if loader.num_workers == 0 or closing:
            loader.reset()
        if loader.num_workers == 0 or self.epoch == self.start_epoch:
            loader.generator.manual_seed(seed)

    def _close_pasting(self) -> bool:
        """Does pasting end now? The loader's processes have copies of the dataset."""
        dataset, close = self.train_loader.dataset, self.job.config.synthetic.close
        if not isinstance(dataset, PastedDataset) or dataset.closed:
            return False
        dataset.closed = self.epoch >= self.epochs - close
        return dataset.closed

    def _begin_batch(self) -> None:
        if self._batch == 0 and self.epoch == self.start_epoch:
            self._before = self.epoch * len(self.train_loader)
        self._batch += 1

    def _end_batch(self) -> None:
        if self.job.observing:
            self.job.observing.batch_over(self)

    def _end_training(self) -> None:
        self.costs.end(self.epoch + 1)

    def _end_epoch(self) -> None:
        if self.stop:
            return
        reason = self.job.stop.reason()
        if reason is not None:
            raise Stopped(reason)

    def _handle_nan_recovery(self, epoch: int) -> bool:
        fitness = 0.0 if self.fitness is None else float(self.fitness)
        if bool(self.loss.isfinite()) and math.isfinite(fitness):
            return False
        if self.job.observing:
            self.job.observing.lost(self)
        raise TrainingError(
            f"the loss is no longer a number in epoch {epoch + 1}; lower optimizer.lr0 "
            f"(now {self.job.config.optimizer.lr0:g})"
        )


def _arguments(job: Job) -> dict[str, object]:
    """Everything explicit: nothing is ``auto``, nothing is downloaded, plotted or resumed."""
    config = job.config
    optimizer = config.optimizer.model_dump(exclude={"layer_decay", "name", "nbs"})
    return {
        **{"task": "detect", "mode": "train", "model": "assay", "data": str(config.data)},
        **{"save_dir": str(job.work_dir / FOLDER), "exist_ok": True, "project": None},
        **{"pretrained": False, "resume": False, "plots": False, "verbose": False},
        **{"epochs": config.epochs, "batch": config.batch, "imgsz": config.imgsz},
        **{"device": _device_name(job.device), "workers": config.workers},
        **{"cache": "ram" if config.cache else False, "seed": config.seed, "deterministic": True},
        **{"amp": config.amp and job.device.type == "cuda", "freeze": list(job.plan.modules)},
        **{"conf": config.conf, "iou": config.iou, "max_det": config.max_det},
        **{"patience": 0, "save": True, "val": True, "optimizer": config.optimizer.name},
        "nbs": job.nominal_batch,
        **optimizer,
        **config.augment.model_dump(),
    }


def _device_name(device: torch.device) -> str:
    return str(device.index or 0) if device.type == "cuda" else device.type


def _amp_works(model: Any) -> bool:
    """Replaces a check that would download a model: some older GPUs give NaN in half precision."""
    device = next(model.parameters()).device
    return device.type == "cuda" and not _BAD_AMP.search(torch.cuda.get_device_name(device))


ultralytics_trainer.check_amp = _amp_works
