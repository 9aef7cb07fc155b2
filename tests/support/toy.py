"""A complete trainer in numpy: the smallest thing that keeps every promise of the protocol.

It learns to find bright squares: three thresholds in a "backbone" and a scale in a "head" are
moved toward the values that fit the data. Checkpoints, freezing, resume, evaluation and
prediction are real; there is just very little to learn.
"""

import hashlib
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator
from safetensors.numpy import load_file, save_file

from backend.config.schema import FreezeConfig, Section, TrainConfig
from backend.core.digest import sha256
from backend.core.errors import CheckpointError, DataError
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Evaluated,
    FreezeGroup,
    FreezeReported,
    InputProbed,
    MetricsLogged,
    RunStarted,
)
from backend.core.evidence import DataSurvey, InputCensus
from backend.core.records import Checkpoint, DatasetInput, EvalReport, MetricSpec
from backend.core.trainer import (
    Conditions,
    Detection,
    Emit,
    EvalRequest,
    StopSignal,
    TrainerSpec,
    TrainOutcome,
)
from backend.scoring.detection.task import evaluate, score
from backend.scoring.tasks import save_evidence

STEPS_PER_EPOCH = 4
EVALUATOR = "toy 1"
STRATEGIES = {"full": "nothing is frozen", "head-only": "only the head trains"}


class ToyOptimizer(Section):
    lr0: float = 0.1
    layer_decay: float | None = None


class ToyHardware(Section):
    """Seconds between looks at the machine; the toy steps down for nothing."""

    sample: float = 2.0


class ToyConfig(TrainConfig):
    """``crash``: die of this at the end of epoch ``crash_epoch``; once, unless ``always``.

    ``hold``: with a learning rate below this, the last epoch waits until the run is stopped
    or a file ``go`` lies beside the data: what another process does meanwhile is then no race.
    ``files``: it tells that so many of 24 input files are there. ``blind``: and in each validation
    that its loss does not depend on them. ``nan_epoch``: there its validation loss is no number.
    """

    kind: Literal["toy"] = "toy"
    epochs: int = 3
    optimizer: ToyOptimizer = ToyOptimizer()
    hardware: ToyHardware = ToyHardware()
    crash: Literal["", "error", "kill", "always"] = ""
    crash_epoch: int = 2
    work: int = 0
    hold: float = 0.0
    files: int = -1
    blind: bool = False
    nan_epoch: int = 0

    @field_validator("freeze")
    @classmethod
    def _known(cls, freeze: FreezeConfig) -> FreezeConfig:
        if freeze.strategy not in STRATEGIES:
            raise ValueError(f"unknown strategy '{freeze.strategy}'")
        return freeze


SPEC = TrainerSpec(
    kind="toy",
    title="A toy that finds bright squares",
    task="detection",
    config=ToyConfig,
    entry="tests.support.toy:ToyTrainer",
    metrics=(
        MetricSpec(name="mAP50-95", direction="maximize"),
        MetricSpec(name="loss", direction="minimize"),
    ),
    headline="val/mAP50-95",
    primary="mAP50-95",
    strategies=STRATEGIES,
    pip_requirements=("numpy", "safetensors", "pydantic", "pyyaml"),
)
CATALOG = {"toy": SPEC}


def write_toy_data(folder: Path, images: int = 24) -> Path:
    """A dataset of gray 32 px images with bright squares; returns its ``data.json``."""
    rng = np.random.default_rng(0)
    splits = {}
    for split in ("train", "val", "holdout"):
        items = []
        for index in range(images):
            count = int(rng.integers(1, 4))
            corners = rng.choice(9, size=count, replace=False)
            boxes = [[2 + 10 * int(c % 3), 2 + 10 * int(c // 3), 8, 8] for c in corners]
            items.append({"id": index, "boxes": boxes})
        splits[split] = items
    path = folder / "data.json"
    path.write_text(json.dumps(splits))
    return path


def render(item: dict[str, object]) -> NDArray[np.uint8]:
    """An item as an RGB image."""
    image = np.full((32, 32, 3), 40, np.uint8)
    for x, y, w, h in item["boxes"]:  # type: ignore[attr-defined]
        image[y : y + h, x : x + w] = 220
    return image


class ToyTrainer:
    """``quality`` in (0, 1] grows with training; it decides how well boxes are placed."""

    def __init__(self, config: ToyConfig, work_dir: Path) -> None:
        self.config = config
        self.work_dir = work_dir

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        config = self.config
        data = _read(config.data)
        state, start = self._resume()
        emit(
            RunStarted(
                trainer="toy",
                epochs=config.epochs,
                headline=SPEC.headline,
                metrics=SPEC.metrics,
                data=tuple(_dataset(config.data, data, split) for split in ("train", "val")),
                environment={"numpy": np.__version__},
                resumed_from=start or None,
            )
        )
        if config.files >= 0 and not start:
            emit(_surveyed(config))
        frozen = {"backbone.weight"} if config.freeze.strategy == "head-only" else set()
        before = {name: value.copy() for name, value in state.items()}
        emit(self._freeze("declared", frozen, before, state))
        best: Checkpoint | None = None
        for epoch in range(start + 1, config.epochs + 1):
            self._epoch(state, frozen, epoch, emit)
            metrics = self._validate(state, data)
            if epoch == config.nan_epoch:
                metrics["val/loss"] = float("nan")
            step = epoch * STEPS_PER_EPOCH
            emit(MetricsLogged(step=step, epoch=epoch, metrics=metrics, ends=True))
            if config.blind:
                emit(_blind(step, metrics["val/loss"]))
            saved = self._save(state, epoch, metrics)
            improved = best is None or metrics[SPEC.headline] > best.metrics[SPEC.headline]
            best = saved if improved else best
            emit(CheckpointSaved(checkpoint=saved, best=improved))
            self._crash(epoch)
            if epoch == config.epochs - 1:
                self._hold(stop)
            if (reason := stop.reason()) is not None:
                return TrainOutcome(status="stopped", best=best.path, reason=reason)
        emit(self._freeze("verified", frozen, before, state))
        assert best is not None
        out = self.work_dir / "evaluation"
        request = EvalRequest(
            checkpoint=str(self.work_dir / best.path), data=str(config.data), split="val",
            out=str(out),
        )  # fmt: skip
        emit(Evaluated(report=self.evaluate(request)))
        return TrainOutcome(status="finished", best=best.path)

    def evaluate(self, request: EvalRequest) -> EvalReport:
        data = _read(Path(request.data))
        if request.split not in data:
            raise DataError(f"{request.data}: no split '{request.split}'; there is {list(data)}")
        state = _load(Path(request.checkpoint))
        truth, predictions = _predictions(state, data[request.split])
        out = Path(request.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "ground_truth.json").write_text(json.dumps(truth))
        (out / "predictions.json").write_text(json.dumps(predictions))
        evidence = evaluate(truth, predictions)
        save_evidence(out / "evidence.npz", SPEC.task, evidence)
        scores = evidence.scores()
        return EvalReport(
            task="detection", trainer="toy", checkpoint=request.checkpoint,
            data=request.data, split=request.split,
            data_digest=_digest(data[request.split]), evaluator=EVALUATOR, classes=("square",),
            units=len(data[request.split]), metrics=scores.metrics, per_class=scores.per_class,
            predictions=str(out / "predictions.json"),
            ground_truth=str(out / "ground_truth.json"), evidence=str(out / "evidence.npz"),
        )  # fmt: skip

    def conditions(self, request: EvalRequest) -> Conditions:
        split = _read(Path(request.data))[request.split]
        return Conditions(data_digest=_digest(split), evaluator=EVALUATOR)

    def predictor(self, checkpoint: Path) -> "ToyPredictor":
        return ToyPredictor(float(_load(checkpoint)["head.weight"][0]))

    def _resume(self) -> tuple[dict[str, NDArray[np.float32]], int]:
        saved = sorted((self.work_dir / "checkpoints").glob("epoch-*.safetensors"))
        if saved:
            return _load(saved[-1]), int(saved[-1].stem.split("-")[1])
        rng = np.random.default_rng(self.config.seed)
        return {
            "backbone.weight": rng.normal(0, 0.3, 3).astype(np.float32),
            "head.weight": rng.normal(0, 0.3, 1).astype(np.float32),
        }, 0

    def _epoch(
        self, state: dict[str, NDArray[np.float32]], frozen: set[str], epoch: int, emit: Emit
    ) -> None:
        np.linalg.matrix_power(np.eye(max(self.config.work, 1)) * 0.5, 30)
        for step in range(STEPS_PER_EPOCH):
            loss = float(sum(np.sum((1 - value) ** 2) for value in state.values()))
            for name in state.keys() - frozen:
                state[name] += np.float32(self.config.optimizer.lr0) * (1 - state[name])
            emit(
                MetricsLogged(
                    step=(epoch - 1) * STEPS_PER_EPOCH + step + 1,
                    epoch=epoch,
                    metrics={"train/loss": loss},
                )
            )

    def _validate(
        self, state: dict[str, NDArray[np.float32]], data: dict[str, list[dict[str, object]]]
    ) -> dict[str, float]:
        metrics = score(*_predictions(state, data["val"])).metrics
        loss = float(sum(np.sum((1 - value) ** 2) for value in state.values()))
        return {"val/mAP50-95": metrics["mAP50-95"] or 0.0, "val/loss": loss}

    def _save(
        self, state: dict[str, NDArray[np.float32]], epoch: int, metrics: dict[str, float]
    ) -> Checkpoint:
        path = self.work_dir / "checkpoints" / f"epoch-{epoch:03d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file(state, path)
        path.with_suffix(".json").write_text(json.dumps({"epoch": epoch, "metrics": metrics}))
        return Checkpoint(
            path=str(path.relative_to(self.work_dir)),
            sha256=sha256(path),
            step=epoch * STEPS_PER_EPOCH,
            epoch=epoch,
            metrics=metrics,
        )

    def _freeze(
        self,
        phase: Literal["declared", "verified"],
        frozen: set[str],
        before: dict[str, NDArray[np.float32]],
        now: dict[str, NDArray[np.float32]],
    ) -> FreezeReported:
        groups = tuple(
            FreezeGroup(
                name=name.partition(".")[0],
                trainable=0 if name in frozen else value.size,
                frozen=value.size if name in frozen else 0,
                lr=None if name in frozen else self.config.optimizer.lr0,
            )
            for name, value in now.items()
        )
        changed = [n for n in now if not np.array_equal(before[n], now[n])]
        return FreezeReported(
            phase=phase,
            strategy=self.config.freeze.strategy,
            groups=groups,
            frozen_tensors=len(frozen),
            changed_tensors=len(changed) if phase == "verified" else None,
            violations=tuple(n for n in changed if n in frozen),
        )

    def _hold(self, stop: StopSignal) -> None:
        go = self.config.data.parent / "go"
        while self.config.optimizer.lr0 < self.config.hold and not go.exists():
            if stop.reason() is not None:
                break
            time.sleep(0.01)

    def _crash(self, epoch: int) -> None:
        marker = self.config.data.parent / "crashed"
        again = self.config.crash == "always" or not marker.exists()
        if self.config.crash and epoch == self.config.crash_epoch and again:
            marker.touch()
            if self.config.crash == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("the toy broke")


class ToyPredictor:
    """Finds bright squares, the better the larger ``quality``."""

    def __init__(self, quality: float) -> None:
        self.quality = quality

    def predict(
        self, images: Sequence[NDArray[np.uint8]], conf: float = 0.25
    ) -> list[list[Detection]]:
        found = []
        for image in images:
            ys, xs = np.nonzero(image[..., 0] > 128)
            boxes = [
                Detection(
                    box=(float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())),
                    score=min(max(self.quality, 0.0), 1.0),
                    label="square",
                )
            ]
            found.append([box for box in boxes if box.score >= conf] if len(xs) else [])
        return found


def _predictions(
    state: dict[str, NDArray[np.float32]], items: list[dict[str, object]]
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """COCO ground truth and boxes whose shift shrinks as the weights approach one."""
    rng = np.random.default_rng(7)
    error = float(np.mean([np.mean(np.abs(1 - value)) for value in state.values()]))
    annotations: list[dict[str, object]] = []
    predictions: list[dict[str, object]] = []
    for item in items:
        for box in item["boxes"]:  # type: ignore[attr-defined]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": item["id"], "category_id": 1,
                 "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
            shift = rng.normal(0, 1, 2) * 4 * error
            predictions.append(
                {"image_id": item["id"], "category_id": 1,
                 "bbox": [box[0] + shift[0], box[1] + shift[1], box[2], box[3]],
                 "score": float(rng.uniform(0.5, 1))}
            )  # fmt: skip
    truth: dict[str, object] = {
        "images": [{"id": item["id"], "width": 32, "height": 32} for item in items],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": annotations,
    }
    return truth, predictions


def _read(path: Path) -> dict[str, list[dict[str, object]]]:
    try:
        data: dict[str, list[dict[str, object]]] = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path}: no such dataset file") from None
    return data


def _surveyed(config: ToyConfig) -> DataSurveyed:
    census = InputCensus(
        split="train", what="squares", expected=24, found=config.files,
        searched=str(config.data.parent),
    )  # fmt: skip
    return DataSurveyed(survey=DataSurvey(inputs=(census,)))


def _blind(step: int, loss: float) -> InputProbed:
    return InputProbed(
        step=step, split="val", samples=100, losses={"loss": loss}, permuted={"loss": loss}
    )


def _digest(items: list[dict[str, object]]) -> str:
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()


def _dataset(path: Path, data: dict[str, list[dict[str, object]]], split: str) -> DatasetInput:
    items = data[split]
    return DatasetInput(
        name="squares", path=str(path), split=split, digest=_digest(items), images=len(items),
        instances=sum(len(item["boxes"]) for item in items),  # type: ignore[misc, arg-type]
    )  # fmt: skip


def _load(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        return load_file(path)
    except OSError:
        raise CheckpointError(f"{path}: no such weight file") from None
