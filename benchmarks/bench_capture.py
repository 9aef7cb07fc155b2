"""What it costs to keep what a detector predicts, per image, against the same without it.

One process on the CPU, one trained network, drawn shapes; both of a pair take turns, whose order
changes from round to round, in CPU seconds:

* ``validation``: a validation as it runs after each epoch of a training, which keeps the class and
  score of each box and makes a histogram of them, against Ultralytics' own without.
* ``evaluation``: predicting a split with boxes in COCO's form, in the image's own pixels, and
  their files, against predicting alone. The network says as many boxes as it may, the most that
  there can be to keep.

    python benchmarks/bench_capture.py [--rounds 10] [--images 120] [--imgsz 96] [--quick]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.hardware.attempts import Where
from backend.nn.finetune.freezing import Snapshot
from backend.scoring.detection.yolo_datafile import read_datafile
from backend.trainers.yolo.capture import capture, join_classes, read_image, write_json
from backend.trainers.yolo.checkpoints import Keeper
from backend.trainers.yolo.dataset import Split, load_split
from backend.trainers.yolo.engine import Engine
from backend.trainers.yolo.evaluation import settings_of
from backend.trainers.yolo.model import load_network
from backend.trainers.yolo.observing import _truth
from backend.trainers.yolo.predictor import Detector
from backend.trainers.yolo.preparation import check
from backend.trainers.yolo.recorder import Recorder
from backend.trainers.yolo.spec import YoloConfig
from tests.support.shapes import write_architecture, write_dataset
from tests.support.yolo_runs import StopAfter, fit

from ultralytics.models.yolo.detect import DetectionValidator  # isort: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--imgsz", type=int, default=96)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 2 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        config = trained(Path(folder), options.images, options.imgsz)
        split = load_split(read_datafile(config.data), "val")
        validation(config, Path(folder) / "engine", rounds)
        evaluation(config, split, Path(folder) / "out", rounds)


def trained(folder: Path, images: int, imgsz: int) -> YoloConfig:
    """A config that begins with a network which has learnt the shapes a little."""
    data = write_dataset(folder / "shapes", {"train": 96, "val": images, "holdout": 2})
    settings = {
        "data": str(data), "model": str(write_architecture(folder / "tiny.yaml")), "epochs": 5,
        "device": "cpu", "batch": 8, "imgsz": imgsz, "workers": 0, "val_period": 5,
        "optimizer": {"lr0": 0.01, "nbs": 8}, "augment": {"mosaic": 0, "mixup": 0},
    }  # fmt: skip
    run = fit(YoloConfig.model_validate(settings), folder / "run")
    return run.config.replace({"model": str(run.best())})


def validation(config: YoloConfig, work: Path, rounds: int) -> None:
    """As after an epoch of a training."""
    checked = check(config, work)
    recorder = Recorder(lambda event: None, Keeper(work, lambda event: None, 0), checked.facts())
    before = Snapshot(checked.prepared.network, checked.plan.always)
    engine = Engine(checked.job(recorder, Where(), StopAfter(), before))
    engine._setup_train()
    losses = ("box_loss", "cls_loss", "dfl_loss")
    engine.loss_items = dict.fromkeys(losses, torch.zeros(()))  # names and shapes
    keeping: Any = engine.validator
    own = DetectionValidator(engine.test_loader, engine.save_dir, copy(engine.args))
    engine.stopper.possible_stop = engine.stop = False
    engine.epoch = 0

    def kept() -> None:
        keeping(engine)
        keeping.said.histogram(_truth(engine.test_loader.dataset.labels, engine.data["names"]))

    report("validation", kept, lambda: own(engine), len(checked.val.examples), rounds)


def evaluation(config: YoloConfig, split: Split, out: Path, rounds: int) -> None:
    """As ``assay evaluate`` does, but for the scores."""
    network, source = load_network(Path(config.model))
    detector = Detector(network, torch.device("cpu"), config.batch)
    classes, settings = join_classes(source.names, split), settings_of(config)

    def kept() -> None:
        truth, results = capture(detector, split, classes, settings)
        write_json(out / "ground_truth.json", truth)
        write_json(out / "predictions.json", results)

    def alone() -> None:
        for _ in detector.detect([read_image(example) for example in split.examples], settings):
            pass

    report("evaluation", kept, alone, len(split.examples), rounds)
    _, results = capture(detector, split, classes, settings)
    print(f"           {len(results) / len(split.examples):.1f} boxes an image")


def report(
    name: str,
    kept: Callable[[], None],
    alone: Callable[[], object],
    images: int,
    rounds: int,
) -> None:
    """Both in turns, after a first time that does not count."""
    seconds: dict[Callable[[], object], list[float]] = {kept: [], alone: []}
    for number in range(rounds + 1):
        for one in (kept, alone) if number % 2 else (alone, kept):
            began = time.process_time()
            one()
            if number:
                seconds[one].append(time.process_time() - began)
    pairs = list(zip(seconds[kept], seconds[alone], strict=True))
    ratios = [one / other for one, other in pairs]
    more = statistics.median(one - other for one, other in pairs) / images
    print(
        f"{name} {1e3 * statistics.median(seconds[alone]) / images:7.3f} CPU ms an image, "
        f"{1e3 * more:+.3f} ms to keep what was predicted: ratio {statistics.median(ratios):.3f} "
        f"[{min(ratios):.3f}, {max(ratios):.3f}]",
        flush=True,
    )


if __name__ == "__main__":
    main()
