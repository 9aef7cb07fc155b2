"""What an engine needs to go on, taken from it and put into another one."""

from typing import Any

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.trainers.yolo.synthetic import refill

from ultralytics.utils.torch_utils import ModelEMA  # isort: skip


def state_of(engine: Any) -> dict[str, object]:
    """Taken between two epochs."""
    dataset = engine.train_loader.dataset
    return {
        "epoch": engine.epoch + 1,
        "complete": bool(engine.stop),  # the last epoch, or patience ran out
        "step": engine.job.recorder.step,
        "metrics": dict(engine.job.recorder.validated),
        "model": engine.model.state_dict(),
        "ema": engine.ema.ema.state_dict(),
        "updates": engine.ema.updates,
        "optimizer": engine.optimizer.state_dict(),
        "scaler": engine.scaler.state_dict(),
        "best_fitness": engine.best_fitness,
        "stopper": {
            "best_fitness": float(engine.stopper.best_fitness),
            "best_epoch": engine.stopper.best_epoch,
        },
        "mosaic": [int(index) for index in dataset.buffer],
    }


def restore(engine: Any, state: dict[str, Any]) -> None:
    """Stand where the state was taken. Model, optimizer and loaders are ready, and new."""
    engine.model.load_state_dict(state["model"])
    engine.ema = ModelEMA(engine.model, updates=state["updates"])
    engine.ema.ema.load_state_dict(state["ema"])
    for saved, group in zip(
        state["optimizer"]["param_groups"], engine.optimizer.param_groups, strict=True
    ):
        saved["fused"] = group.get("fused")  # the device decides, and it may be another now
    engine.optimizer.load_state_dict(state["optimizer"])
    if state["scaler"]:
        engine.scaler.load_state_dict(state["scaler"])
    engine.best_fitness = state["best_fitness"]
    engine.stopper.best_fitness = state["stopper"]["best_fitness"]
    engine.stopper.best_epoch = state["stopper"]["best_epoch"]
    engine.start_epoch = state["epoch"]
    if engine.train_loader.num_workers == 0:
        refill(engine.train_loader.dataset, state["mosaic"])
    if hasattr(engine.model.model[-1], "one2one_cv2"):
        engine.model.criterion = engine.model.init_criterion()
        engine.model.criterion.updates = engine.start_epoch - 1
        engine.model.criterion.update()
