"""What a YOLO training through Assay costs against plain Ultralytics on the same settings.

Three contestants, each in a process of its own, in turns whose order changes from round to round:

* ``plain``: Ultralytics' own DetectionTrainer with the arguments that Assay gives it, the same
  network, the same folder of links to the data, and a callback that seeds each epoch as Assay
  does. It writes its own results.csv, last.pt and best.pt.
* ``assay``: the YOLO trainer as it comes, with its checkpoints, events and diagnostics.
* ``quiet``: the same with ``diagnostics.observe: false``.

Timed is the whole cycle of an epoch (training, validation, saving) from the second one on; all
trainings of a script have the same seed, and losses and metrics of each epoch must be equal to
the last bit, which is checked. Ratios are to ``plain``: of the fastest epoch of all rounds, which
is disturbed least and the number to go by; and of the mean over the epochs, as the median over
the rounds and, in brackets, the lowest and the highest. The mean holds the diagnostics' two
probes, which a longer training has no more of, and the noise of the machine. On the CPU the
seconds are CPU seconds. On a GPU they are wall time, and metrics differ in the last digits.

    python benchmarks/bench_yolo_throughput.py [--rounds 4] [--epochs 12] [--quick] [--device cpu]
        [--data DATA.yaml] [--model MODEL] [--imgsz 96] [--batch 8] [--workers 0]
"""

import argparse
import functools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
import yaml

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core.events import Event, MetricsLogged
from backend.hardware.attempts import Where
from backend.nn.finetune.freezing import Snapshot
from backend.trainers.yolo.checkpoints import Keeper
from backend.trainers.yolo.engine import NO_RETRY, Job, _arguments
from backend.trainers.yolo.preparation import check
from backend.trainers.yolo.recorder import VALIDATION, Recorder
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from benchmarks._measuring import Never
from tests.support.shapes import write_architecture, write_dataset

from ultralytics.models.yolo.detect import DetectionTrainer  # isort: skip

AIM = 1.02
CONTESTANTS = ("plain", "assay", "quiet")


class Cycles:
    """The ends of a training's epochs, and what was measured in them."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, float]] = []
        self._metrics: list[dict[str, float]] = []

    def end(self, metrics: Mapping[str, float]) -> None:
        """An epoch is over."""
        self._ends.append((time.process_time(), time.perf_counter()))
        self._metrics.append(dict(metrics))

    def said(self) -> dict[str, object]:
        """Seconds of each cycle."""
        cpu, wall = (np.diff(kind).tolist() for kind in zip(*self._ends, strict=True))
        return {"cpu": cpu, "wall": wall, "metrics": self._metrics}


class Training(NamedTuple):
    """What a contestant's process said: seconds and metrics of each epoch."""

    cpu: list[float]
    wall: list[float]
    metrics: list[dict[str, float]]


def main() -> None:
    options = arguments()
    if options.contestant:
        train(options.contestant, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        config = prepare(Path(folder), options)
        rounds: list[dict[str, Training]] = []
        for number in range(1 if options.quick else options.rounds):
            turn = number % len(CONTESTANTS)
            order = CONTESTANTS[turn:] + CONTESTANTS[:turn]
            rounds.append({name: contest(name, Path(folder)) for name in order})
    report(rounds, config)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="one round of three epochs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, help="a data.yaml; default: 320 drawn shapes")
    parser.add_argument("--model", help="default: the tests' smallest network, from scratch")
    parser.add_argument("--imgsz", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0, help="loader processes, on a GPU")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(folder: Path, options: argparse.Namespace) -> YoloConfig:
    """The config that all contestants train with, also as a file in ``folder``."""
    data = options.data or write_dataset(folder / "shapes", {"train": 320, "val": 80})
    settings = {
        "data": str(data), "model": options.model or str(write_architecture(folder / "tiny.yaml")),
        "device": options.device, "epochs": 3 if options.quick else options.epochs,
        "batch": options.batch, "imgsz": options.imgsz, "workers": options.workers,
        "patience": 0, "hardware": {"recover": False},
        "optimizer": {"nbs": 8, "lr0": 0.01}, "augment": {"close_mosaic": 0},
    }  # fmt: skip
    config = YoloConfig.model_validate(settings)
    (folder / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    return config


def contest(name: str, folder: Path) -> Training:
    """Train in a process of its own."""
    command = [sys.executable, __file__, "--contestant", name, "--folder", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Training(**json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))


def report(rounds: Sequence[Mapping[str, Training]], config: YoloConfig) -> None:
    """Print ratios; end with an error if the metrics differ on the CPU."""
    clock = "cpu" if config.device == "cpu" else "wall"
    seconds = {name: [getattr(turn[name], clock) for turn in rounds] for name in CONTESTANTS}
    fastest = {name: min(map(min, turns)) for name, turns in seconds.items()}
    for name, turns in seconds.items():
        pairs = zip(turns, seconds["plain"], strict=True)
        means = [statistics.mean(one) / statistics.mean(other) for one, other in pairs]
        print(
            f"{name:6} fastest epoch {fastest[name]:.3f} s ({clock}), ratio "
            f"{fastest[name] / fastest['plain']:.3f}; mean, ratio {statistics.median(means):.3f} "
            f"[{min(means):.3f}, {max(means):.3f}]"
        )
    verdict = "within" if fastest["assay"] / fastest["plain"] <= AIM else "OVER"
    print(f"{verdict} the aim of {AIM:.2f} ({len(rounds)} rounds of {config.epochs} epochs)")
    compare([turn[name].metrics for turn in rounds for name in CONTESTANTS], clock == "cpu")


def compare(metrics: Sequence[list[dict[str, float]]], strict: bool) -> None:
    """Are they the same in each training? Ends with an error if they must be."""
    same = all(told == metrics[0] for told in metrics)
    print(
        f"metrics of {len(metrics)} trainings with one seed: "
        f"{'equal in all epochs' if same else 'DIFFERENT'} "
        f"(val/mAP50-95 {metrics[0][-1]['val/mAP50-95']:.6f} at the end)"
    )
    if strict and not same:
        raise SystemExit(1)


def train(name: str, folder: Path) -> None:
    """A contestant's process."""
    config = YoloConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    torch.set_num_threads(config.threads)
    cycles = Cycles()
    with tempfile.TemporaryDirectory(dir=folder) as work:
        if name == "plain":
            plain(config, Path(work), cycles)
        else:
            observed = config.replace({"diagnostics.observe": name == "assay"})
            assay(observed, Path(work), cycles)
    (folder / f"{name}.json").write_text(json.dumps(cycles.said()), encoding="utf-8")


def assay(config: YoloConfig, work: Path, cycles: Cycles) -> None:
    """Through the trainer."""

    def hear(event: Event) -> None:
        if isinstance(event, MetricsLogged) and event.ends:
            told = event.metrics.items()
            cycles.end({k: v for k, v in told if k.startswith("val/") or k.endswith("loss")})

    YoloTrainer(config, work).fit(hear, Never())


def plain(config: YoloConfig, work: Path, cycles: Cycles) -> None:
    """Through Ultralytics alone."""
    job = job_of(config, work)
    data = work / "data.yaml"
    data.write_text(yaml.safe_dump(dict(job.data)), encoding="utf-8")
    trainer = DetectionTrainer(overrides=_arguments(job) | {"data": str(data)})
    trainer.model = job.network
    trainer.add_callback("on_train_epoch_start", functools.partial(seed, config))
    trainer.add_callback("on_fit_epoch_end", functools.partial(note, cycles))
    trainer.train()


def job_of(config: YoloConfig, work: Path) -> Job:
    """What Assay would train with, the view of the data included."""
    checked = check(config.replace({"diagnostics.observe": False}), work)
    recorder = Recorder(lambda event: None, Keeper(work, lambda event: None, 0), checked.facts())
    before = Snapshot(checked.prepared.network, checked.plan.always)
    return checked.job(recorder, Where(), Never(), before)


def seed(config: YoloConfig, trainer: Any) -> None:
    """As Assay does at the begin of each epoch, and no trying again with half the batch."""
    trainer._oom_retries = NO_RETRY
    torch.set_num_threads(config.threads)
    number = (config.seed * 1_000_003 + trainer.epoch) % 2**32
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
    loader = trainer.train_loader
    if loader.num_workers == 0:
        loader.reset()
    if loader.num_workers == 0 or trainer.epoch == 0:
        loader.generator.manual_seed(number)


def note(cycles: Cycles, trainer: Any) -> None:
    """The end of an epoch; Ultralytics calls once more after its last evaluation."""
    if trainer.epoch_time is None or len(cycles._ends) == trainer.epochs:
        return
    losses = {f"train/{name}": float(value) for name, value in trainer.tloss.items()}
    validated = {k: float(v) for k, v in trainer.metrics.items() if k.startswith("val/")}
    scores = {ours: float(trainer.metrics[theirs]) for theirs, ours in VALIDATION.items()}
    sums = {"train/loss": sum(losses.values()), "val/loss": sum(validated.values())}
    cycles.end({**losses, **validated, **scores, **sums})


if __name__ == "__main__":
    main()
