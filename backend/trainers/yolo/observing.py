"""What a training shows of itself for the diagnostics, from inside of Ultralytics' loop."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.config.schema import DiagnosticsConfig
from backend.core.events import (
    InputProbed,
    MovementObserved,
    NonfiniteSeen,
    PredictionsObserved,
)
from backend.core.evidence import PredictionHistogram
from backend.nn.finetune.freezing import Snapshot
from backend.nn.observing.detections import detection_histogram
from backend.nn.observing.gradients import StepObserver
from backend.nn.observing.movement import Movement
from backend.nn.observing.nonfinite import lost_input, lost_parameter, lost_part
from backend.nn.observing.probing import affordable, paired, probe_due, spread, undisturbed
from backend.trainers.yolo.plan import CLIP
from backend.trainers.yolo.recorder import Recorder

SPLIT = "val"
TOTAL = "loss"


class Said:
    """What was predicted in a validation: boxes of all images, one after the other."""

    def __init__(self) -> None:
        self._images = 0
        self._boxes: list[tuple[int, Tensor, Tensor]] = []

    def add(self, predictions: Sequence[Mapping[str, Tensor]]) -> None:
        """A batch."""
        for found in predictions:
            self._boxes.append((self._images, found["cls"].cpu(), found["conf"].cpu()))
            self._images += 1

    def histogram(self, truth: Mapping[str, int]) -> PredictionHistogram:
        """Beside the objects of each class, in the model's order."""
        images = [np.full(len(labels), at, np.int64) for at, labels, _ in self._boxes]
        labels = [found.numpy().astype(np.int64) for _, found, _ in self._boxes]
        scores = [found.numpy().astype(np.float64) for _, _, found in self._boxes]
        return detection_histogram(
            truth,
            np.concatenate(images),
            np.concatenate(labels),
            np.concatenate(scores),
            self._images,
        )


class Observing:
    """Looks on while ``engine`` trains; ``steps`` are the planned ones, ``before`` the network as
    it came. On the CPU each loss is checked at once."""

    def __init__(self, recorder: Recorder, before: Snapshot, steps: int) -> None:
        self._recorder = recorder
        self._before = before
        self._planned = steps
        self._probed = False
        self._searched = False
        self._lost: NonfiniteSeen | None = None
        self._seen: MovementObserved | None = None

    def begin(self, engine: Any) -> None:
        """Model and optimizer are ready, as they were if the run is continued."""
        self._config: DiagnosticsConfig = engine.job.config.diagnostics
        self._watch(engine)

    def thawed(self, engine: Any) -> None:
        """What was frozen trains from now on; what stays frozen is compared with now."""
        self._steps.end()
        self._movement.end()
        self._before = Snapshot(engine.model, engine.plan.always)
        self._watch(engine)

    def _watch(self, engine: Any) -> None:
        """Look at what the engine's plan trains and freezes."""
        plan, model, optimizer = engine.plan, engine.model, engine.optimizer
        part_of, frozen = plan.layout.part, plan.frozen | plan.always
        self._steps = StepObserver(model, optimizer, part_of, self._config.every, CLIP)
        self._movement = Movement(
            model, optimizer, frozen, part_of, self._before, since=self._recorder.step
        )
        self._recorder.observed = self._steps.collect

    def batch_over(self, engine: Any) -> None:
        """A batch is over: is its loss a number?"""
        loss = engine.loss
        if loss.device.type != "cpu" or self._searched or math.isfinite(loss.item()):
            return
        self._searched = True
        where, name = _origin(engine)
        self._lost = NonfiniteSeen(
            step=self._recorder.step + 1, where=where, name=name, samples=_names(engine.fed)
        )

    def stepping(self, engine: Any) -> None:
        """The gradients are complete; the optimizer's step comes next."""
        self.batch_over(engine)
        self._steps.begin(self._recorder.step + 1)
        if self._steps.looks:
            self._steps.gradients(engine.scaler.get_scale())

    def validating(self) -> None:
        """A validation begins: what moved by now?"""
        self._seen = self._movement.look(self._recorder.step)

    def validated(self, engine: Any) -> None:
        """A validation is over, its metrics are told."""
        step, tell = self._recorder.step, self._recorder.tell
        truth = _truth(engine.test_loader.dataset.labels, engine.data["names"])
        said = engine.validator.said.histogram(truth)
        tell(PredictionsObserved(step=step, split=SPLIT, histograms=(said,)))
        if self._seen:
            tell(self._seen)
        last = engine.epoch + 1 == engine.epochs
        due = probe_due(self._planned if last else step, self._planned, self._probed)
        if due and self._config.probe:
            self._probed = True
            with undisturbed(engine.device):
                trained = self._planned * engine.batch_size
                probed = _probe(engine, affordable(self._config.probe, trained), step)
            if probed is not None:
                tell(probed)

    def lost(self, engine: Any) -> None:
        """Training ends because the loss is no number: tell where that began."""
        name = lost_part(engine.tloss, TOTAL) or TOTAL
        self._recorder.tell(
            self._lost or NonfiniteSeen(step=self._recorder.step, where="loss", name=name)
        )


def _origin(engine: Any) -> tuple[Literal["input", "parameter", "loss"], str]:
    if name := lost_input(engine.fed):
        return "input", name
    if name := lost_parameter(engine.model):
        return "parameter", name
    return "loss", lost_part(engine.loss_items, TOTAL) or TOTAL


def _names(batch: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(Path(name).name for name in batch.get("im_file", ()))


def _truth(labels: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> dict[str, int]:
    classes = np.concatenate([label["cls"].reshape(-1) for label in labels]).astype(int)
    counts = np.bincount(classes, minlength=len(names)).tolist()
    return {names[number]: count for number, count in enumerate(counts)}


@torch.no_grad()
def _probe(engine: Any, samples: int, step: int) -> InputProbed | None:
    """The validation's loss on images of one shape, with their own pixels and with another one's.

    None if there are not two images of one shape.
    """
    dataset = engine.test_loader.dataset
    shapes: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for at in spread(len(dataset), samples):
        shape = dataset.batch_shapes[dataset.batch[at]] if dataset.rect else ()
        shapes[tuple(shape)].append(at)
    places = paired(max(shapes.values(), key=len))
    if not places:
        return None
    sums: list[dict[str, float]] = [defaultdict(float), defaultdict(float)]
    size = max(engine.batch_size // 2 * 2, 2)
    for start in range(0, len(places), size):
        batch = _batch(engine, places[start : start + size])
        for found, losses in zip(sums, _losses(engine, batch), strict=True):
            for name, value in losses.items():
                found[name] += float(value) * len(batch["img"]) / len(places)
    own, permuted = ({**found, TOTAL: sum(found.values())} for found in sums)
    return InputProbed(step=step, split=SPLIT, samples=len(places), losses=own, permuted=permuted)


def _batch(engine: Any, places: Sequence[int]) -> dict[str, Any]:
    dataset = engine.test_loader.dataset
    batch: dict[str, Any] = dataset.collate_fn([dataset[at] for at in places])
    return dict(engine.validator.preprocess(batch))


def _losses(engine: Any, batch: Mapping[str, Any]) -> list[Mapping[str, Tensor]]:
    """As in a validation of the average: with each image's own boxes, and with those of the other
    of its pair."""
    half, model = engine.validator.args.quantize == 16, engine.ema.ema
    with torch.autocast(engine.device.type, enabled=half):
        said = model(batch["img"])
        return [model.loss(labelled, said)[1] for labelled in (batch, _swapped(batch))]


def _swapped(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The boxes of each image for the other of its pair, in the order of the images."""
    images, order = (batch["batch_idx"].long() ^ 1).sort(stable=True)
    moved = {name: batch[name][order] for name in ("cls", "bboxes")}
    return {**batch, **moved, "batch_idx": images.to(batch["batch_idx"].dtype)}
