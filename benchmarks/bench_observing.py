"""What it costs that a training shows of itself what the diagnostics need.

Three trainings on the CPU (the Runner's toy, the tiny MoE RT-DETR, a tiny YOLO), each with the
default ``diagnostics`` and with ``observe: false``, in turns whose order changes from round to
round (on, off, off, on, ...). In CPU seconds of this process, which trains without loader
processes:

* ``ratio``: the median over rounds of on / off. It holds the noise of the machine.
* ``share``: the seconds inside the observing code over all others, measured where it is called
  from, in the runs with it. It holds no such noise and is the number to go by.

Two probes and one survey are a fixed cost, so the share falls with the length of a training: these
have the 50 epochs that are the default of all trainers.

    python benchmarks/bench_observing.py [--rounds 4] [--only toy moe yolo]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import backend.trainers.moe_rtdetr.validation as moe_validation
import backend.trainers.yolo.observing as yolo
import backend.trainers.yolo.preparation as yolo_preparation
from backend.config.schema import TrainConfig
from backend.nn.observing.gradients import StepObserver
from backend.runner.observing import Observing
from backend.synthetic.traffic import write_traffic
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig
from backend.trainers.moe_rtdetr.trainer import MoeRtDetrTrainer
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.runner_toy import RunnerToyConfig, RunnerToyTrainer
from tests.support.shapes import write_architecture, write_dataset
from tests.support.toy import write_toy_data

LIMIT = 1.02
WATCHED: dict[Any, tuple[str, ...]] = {
    Observing: ("stepping", "feed", "loss", "gradients", "metrics", "validating", "validated"),
    StepObserver: ("_remember", "_compare"),
    yolo.Observing: ("begin", "batch_over", "stepping", "validating", "validated"),
    yolo.Said: ("add",),
    yolo_preparation.Checked: ("survey",),
    moe_validation: ("predicted",),
}


class Never:
    """A StopSignal that never stops."""

    def reason(self) -> str | None:
        return None


class Clock:
    """CPU seconds inside of the watched functions, each counted once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    def watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.process_time() - began

        return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=("toy", "moe", "yolo"), default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clock = Clock()
    for owner, names in WATCHED.items():
        for name in names:
            setattr(owner, name, clock.watch(getattr(owner, name)))
    with tempfile.TemporaryDirectory() as folder:
        makers = {"toy": toy, "moe": moe, "yolo": small_yolo}
        for name in options.only or makers:
            trainer, config = makers[name](Path(folder))
            report(name, trainer, config, clock, options.rounds)


def report(name: str, trainer: Any, config: TrainConfig, clock: Clock, rounds: int) -> None:
    """Take turns and print."""
    ratios, shares, wholes = [], [], []
    for number in range(rounds):
        seconds = {}
        for on in (True, False) if number % 2 == 0 else (False, True):
            clock.seconds = 0.0
            seconds[on] = trained(trainer, config.replace({"diagnostics.observe": on}))
            if on:
                shares.append(1 + clock.seconds / (seconds[on] - clock.seconds))
                wholes.append(seconds[on])
        ratios.append(seconds[True] / seconds[False])
    share, ratio = statistics.median(shares), statistics.median(ratios)
    verdict = "within" if share < LIMIT else "OVER"
    print(
        f"{name:5} {config.epochs:3} epochs, {statistics.median(wholes):6.1f} CPU s: "
        f"share {share:.4f} ({verdict} {LIMIT}), ratio {ratio:.4f} "
        f"({min(ratios):.3f} to {max(ratios):.3f})",
        flush=True,
    )


def trained(trainer: Any, config: TrainConfig) -> float:
    """CPU seconds of one training."""
    with tempfile.TemporaryDirectory() as folder:
        made = trainer(config, Path(folder))
        began = time.process_time()
        made.fit(lambda event: None, Never())
        return time.process_time() - began


def toy(folder: Path) -> tuple[Any, TrainConfig]:
    """Steps of some milliseconds: the worst case for what is done at each step."""
    config = RunnerToyConfig(data=write_toy_data(folder), epochs=50)
    return RunnerToyTrainer, config.replace({"runner.batch": 12})


def moe(folder: Path) -> tuple[Any, TrainConfig]:
    """Fifty epochs of 16 scenes."""
    data = write_traffic(
        folder / "traffic", frames=20, size=(192, 128), shares={"train": 0.8, "val": 0.2}
    )
    settings = {
        "data": data, "device": "cpu", "epochs": 50,
        "model": {"preset": "tiny", "image_size": [64, 96], "queries": 10},
        "moe": {"experts": "B", "hidden": 32},
        "runner": {"batch": 4, "workers": 0, "clip": 0.5, "schedule": {"warmup_steps": 20}},
    }  # fmt: skip
    return MoeRtDetrTrainer, MoeRtDetrConfig.model_validate(settings)


def small_yolo(folder: Path) -> tuple[Any, TrainConfig]:
    """Fifty epochs of 32 shapes."""
    data = write_dataset(folder / "shapes", {"train": 32, "val": 8, "holdout": 2})
    settings = {
        "model": str(write_architecture(folder / "tiny.yaml")), "data": data, "device": "cpu",
        "epochs": 50, "batch": 8, "imgsz": 64, "workers": 0, "patience": 0,
        "optimizer": {"nbs": 8},
    }  # fmt: skip
    return YoloTrainer, YoloConfig.model_validate(settings)


if __name__ == "__main__":
    main()
