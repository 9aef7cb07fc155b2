"""A trainer in torch on the Runner seam: the smallest thing that uses all of it.

It learns which of nine places of a gray image hold a bright square. Its data, its random
augmentation, its dropout and batch norm are there to make an inexact continuation visible.
"""

import itertools
import json
import os
import random
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import field_validator
from torch import Tensor, nn

from backend.config.hardware import HardwareConfig
from backend.config.schema import FreezeConfig, TrainConfig
from backend.core.digest import sha256
from backend.core.events import Event
from backend.core.knobs import Knobs, Size
from backend.core.records import DatasetInput, EvalReport, MetricSpec
from backend.core.trainer import (
    Conditions,
    Detection,
    Emit,
    EvalRequest,
    StopSignal,
    TrainerSpec,
    TrainOutcome,
)
from backend.nn.finetune.weights import load_weights
from backend.runner.config import RunnerConfig
from backend.runner.processes import train
from backend.runner.seeds import seed_model
from backend.runner.training import Data, NoWatch, Parts, Point, Training, Validated
from backend.scoring.detection.task import evaluate
from backend.scoring.tasks import save_evidence
from tests.support.limits import allow
from tests.support.toy import render

EVALUATOR = "runner toy 1"
STRATEGIES = {"full": "nothing is frozen", "head-only": "only the head trains"}
CELLS = [(2 + 10 * (cell % 3), 2 + 10 * (cell // 3)) for cell in range(9)]


class RunnerToyConfig(TrainConfig):
    """``kill_step``: the process kills itself in the middle of this step's last batch, once.

    ``kill_save``: when this many files were written, as the last of them is handed to the disk.
    ``plain``: without dropout and batch norm, which a batch in two halves would show. ``faults``
    are what happens in one attempt after the other (see ``Fault``). ``appetite`` is what each
    sample takes in MiB, ``budget`` the address space that the process allows itself, in MiB
    above what it has.
    """

    kind: Literal["runner_toy"] = "runner_toy"
    epochs: int = 3
    device: str = "cpu"
    runner: RunnerConfig = RunnerConfig.model_validate(
        {"batch": 4, "workers": 0, "optimizer": {"lr": {"backbone": 0.01, "head": 0.02}}}
    )
    hardware: HardwareConfig = HardwareConfig()
    kill_step: int = 0
    kill_save: int = 0
    faults: tuple[str, ...] = ()
    side: int = 64
    appetite: int = 0
    budget: int = 0
    noise: float = 0.1
    plain: bool = False

    @field_validator("freeze")
    @classmethod
    def _known(cls, freeze: FreezeConfig) -> FreezeConfig:
        if freeze.strategy not in STRATEGIES:
            raise ValueError(f"unknown strategy '{freeze.strategy}'")
        return freeze


SPEC = TrainerSpec(
    kind="runner_toy",
    title="A toy in torch that finds bright squares",
    task="detection",
    config=RunnerToyConfig,
    entry="tests.support.runner_toy:RunnerToyTrainer",
    metrics=(
        MetricSpec(name="mAP50-95", direction="maximize"),
        MetricSpec(name="loss", direction="minimize"),
    ),
    headline="val/mAP50-95",
    primary="mAP50-95",
    strategies=STRATEGIES,
)


KNOBS = Knobs(size=Size("side", multiple=16, floor=32))


class Squares:
    """The images of a split as tensors; training ones get noise from three generators."""

    def __init__(self, items: list[dict[str, Any]], noise: float) -> None:
        self.items = items
        self._noise = noise

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        item = self.items[index]
        image = torch.from_numpy(render(item)[:30, :30, 0].astype(np.float32) / 255)[None]
        brightness = random.uniform(-1, 1) + float(np.random.uniform(-1, 1))
        image = image + self._noise * (brightness + torch.randn(image.shape))
        corners = {(x, y) for x, y, _, _ in item["boxes"]}
        return image, torch.tensor([float(cell in corners) for cell in CELLS])


def collate(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Two stacked tensors."""
    images, targets = zip(*items, strict=True)
    return torch.stack(images), torch.stack(targets)


class Net(nn.Module):
    """One score for each place."""

    def __init__(self, plain: bool = False, appetite: int = 0) -> None:
        super().__init__()
        self._appetite = appetite * 2**20
        norm = nn.GroupNorm(1, 6) if plain else nn.BatchNorm2d(6)
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 6, 10, stride=10), norm, nn.ReLU(), nn.Dropout(0.0 if plain else 0.1)
        )
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (batch, 9)."""
        logits: Tensor = self.head(self.backbone(images)).flatten(1)
        return logits

    def loss(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Binary cross-entropy, and how often it is right."""
        images, targets = batch
        taken = torch.empty(len(images) * self._appetite, dtype=torch.uint8)
        logits = self(images)
        del taken
        right = ((logits > 0) == (targets > 0.5)).float().mean()
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets)
        return {"cell_loss": loss, "accuracy": right}


class KillInWindow(NoWatch):
    """Ends the process in the last batch of a step, when the gradients of the others are there.

    The next attempt is spared; of several processes of one attempt none is.
    """

    def __init__(self, step: int, marker: Path, net: nn.Module, batches: int) -> None:
        self._step = 0 if marker.exists() else step
        self._marker = marker
        self._left = -1
        self._batches = batches
        net.register_forward_hook(self._forward)

    def stepping(self, point: Point) -> None:
        """Count the batches of the step."""
        if self._step == point.step + 1:
            self._left = self._batches

    def _forward(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Fault:
    """The next of ``faults``, each ``phase:kind``, happens once, when its phase is reached.

    In training it comes in the forward pass of the eighth batch. Markers in the work directory
    remember which are over. ``killed`` is a SIGKILL that the counters below ``system`` lay to
    the kernel, ``murdered`` one that they do not.
    """

    def __init__(self, config: RunnerToyConfig, work_dir: Path, net: nn.Module) -> None:
        self._faults = config.faults
        self._work_dir = work_dir
        self._batches = 0
        net.register_forward_pre_hook(self._forward)

    def reach(self, phase: str) -> None:
        """Fail, if it is time to."""
        done = self._work_dir / "faults"
        count = int(done.read_text()) if done.exists() else 0
        if count == len(self._faults) or not self._faults[count].startswith(f"{phase}:"):
            return
        done.write_text(str(count + 1))
        self._fail(self._faults[count].partition(":")[2])

    def _forward(self, net: nn.Module, _: object) -> None:
        self._batches += net.training
        if net.training and self._batches == 8:
            self.reach("train")

    def _fail(self, kind: str) -> None:
        if kind == "cuda":  # the real one needs a GPU
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if kind == "onednn":
            raise RuntimeError("could not create a primitive")
        if kind == "bug":
            raise ValueError("out of memory, says a bug")
        if kind == "torch":
            torch.empty(2**55)
        if kind == "numpy":
            np.empty(2**60, np.uint8)
        if kind == "abort":
            os.write(2, b"OpenBLAS : Memory allocation still failed after 10 retries, giving up.")
            os.abort()
        if kind == "killed":
            proc = self._work_dir / "system" / "proc"
            proc.mkdir(parents=True, exist_ok=True)
            (proc / "vmstat").write_text("oom_kill 1\n")
        os.kill(os.getpid(), signal.SIGKILL)


def kill_while_saving(files: int, marker: Path) -> None:
    """End this process in the midst of a file, once in all attempts."""
    sync, count = os.fsync, itertools.count(1)

    def synced(descriptor: int) -> None:
        if next(count) == files:
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    if not marker.exists():
        os.fsync = synced  # type: ignore[assignment]


def build(config: RunnerToyConfig, work_dir: Path) -> Training:
    """The training that a config asks for."""
    if config.kill_save:
        kill_while_saving(config.kill_save, work_dir / "killed")
    if config.budget:
        allow(config.budget)
    splits = json.loads(config.data.read_text())
    seed_model(config.seed)
    net = Net(config.plain, config.appetite)
    frozen = (
        frozenset(name for name, _ in net.backbone.named_parameters(prefix="backbone"))
        if config.freeze.strategy == "head-only"
        else frozenset()
    )
    marker = work_dir / "killed"
    fault = Fault(config, work_dir, net)
    fault.reach("setup")
    return Training(
        spec=SPEC,
        config=config,
        runner=config.runner,
        model=net,
        data=Data(
            Squares(splits["train"], config.noise),
            collate,
            tuple(_dataset(config.data, splits, split) for split in ("train", "val")),
        ),
        parts=Parts(frozen=frozen, group_of=lambda name: name.partition(".")[0]),
        validate=partial(_validate, splits["val"], fault),
        evaluate=partial(_evaluate_best, config, work_dir, fault),
        facts={"classes": ["square"], "plain": config.plain},
        watch=KillInWindow(config.kill_step, marker, net, config.runner.accumulate),
    )


class RunnerToyTrainer:
    """Trains, scores and serves ``Net``."""

    def __init__(self, config: RunnerToyConfig, work_dir: Path) -> None:
        self.config = config
        self.work_dir = work_dir

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        return train(build, self.config, emit, stop, self.work_dir, KNOBS)

    def evaluate(self, request: EvalRequest) -> EvalReport:
        items = json.loads(Path(request.data).read_text())[request.split]
        truth, predictions = detections(load(Path(request.checkpoint)), items)
        out = Path(request.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "ground_truth.json").write_text(json.dumps(truth))
        (out / "predictions.json").write_text(json.dumps(predictions))
        evidence = evaluate(truth, predictions)
        save_evidence(out / "evidence.npz", SPEC.task, evidence)
        scores = evidence.scores()
        return EvalReport(
            task="detection", trainer=SPEC.kind, checkpoint=request.checkpoint,
            data=request.data, split=request.split, data_digest=sha256(Path(request.data)),
            evaluator=EVALUATOR, classes=("square",), units=len(items), metrics=scores.metrics,
            per_class=scores.per_class, predictions=str(out / "predictions.json"),
            ground_truth=str(out / "ground_truth.json"), evidence=str(out / "evidence.npz"),
        )  # fmt: skip

    def conditions(self, request: EvalRequest) -> Conditions:
        return Conditions(data_digest=sha256(Path(request.data)), evaluator=EVALUATOR)

    def predictor(self, checkpoint: Path) -> "SquareFinder":
        return SquareFinder(load(checkpoint))


class SquareFinder:
    """Squares in 32-pixel images."""

    def __init__(self, net: nn.Module) -> None:
        self._net = net

    def predict(
        self, images: Sequence[NDArray[np.uint8]], conf: float = 0.25
    ) -> list[list[Detection]]:
        inputs = [torch.from_numpy(i[:30, :30, :1].astype(np.float32) / 255) for i in images]
        with torch.no_grad():
            scores = torch.sigmoid(self._net(torch.stack(inputs).permute(0, 3, 1, 2))).tolist()
        return [
            [
                Detection(box=(x, y, x + 8, y + 8), score=score, label="square")
                for score, (x, y) in zip(row, CELLS, strict=True)
                if score >= conf
            ]
            for row in scores
        ]


def load(checkpoint: Path) -> Net:
    """A checkpoint's network, in evaluation mode."""
    weights, facts = load_weights(checkpoint)
    net = Net(plain=bool(facts["plain"]))
    net.load_state_dict(weights)
    return net.eval()


def detections(
    net: nn.Module, items: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO ground truth, and a box for each place."""
    truth: dict[str, Any] = {
        "images": [{"id": item["id"], "width": 32, "height": 32} for item in items],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [],
    }
    boxes = [(item["id"], box) for item in items for box in item["boxes"]]
    truth["annotations"] = [
        {"id": number, "image_id": image, "category_id": 1, "bbox": box,
         "area": box[2] * box[3], "iscrowd": 0}
        for number, (image, box) in enumerate(boxes, 1)
    ]  # fmt: skip
    found = SquareFinder(net).predict([render(item) for item in items], conf=0.0)
    return truth, [
        {"image_id": item["id"], "category_id": 1, "bbox": [*d.box[:2], 8, 8], "score": d.score}
        for item, row in zip(items, found, strict=True)
        for d in row
    ]


def _validate(
    items: list[dict[str, Any]],
    fault: Fault,
    net: nn.Module,
    point: Point,
    losses: Mapping[str, float],
) -> Validated:
    fault.reach("val")
    metrics = evaluate(*detections(net, items)).scores().metrics
    images, targets = collate([Squares(items, 0.0)[index] for index in range(len(items))])
    loss = nn.functional.binary_cross_entropy_with_logits(net(images), targets)
    return Validated({SPEC.headline: metrics["mAP50-95"] or 0.0, "val/loss": float(loss)})


def _evaluate_best(
    config: RunnerToyConfig, work_dir: Path, fault: Fault, best: Path
) -> tuple[EvalReport, tuple[Event, ...]]:
    fault.reach("evaluation")
    out = work_dir / "evaluation"
    request = EvalRequest(checkpoint=str(best), data=str(config.data), split="val", out=str(out))
    return RunnerToyTrainer(config, work_dir).evaluate(request), ()


def _dataset(path: Path, splits: dict[str, Any], split: str) -> DatasetInput:
    items = splits[split]
    return DatasetInput(
        name="squares", path=str(path), split=split, digest=sha256(path), images=len(items),
        instances=sum(len(item["boxes"]) for item in items),
    )  # fmt: skip
