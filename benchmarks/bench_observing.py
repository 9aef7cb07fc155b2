"""What it costs that a training shows of itself what the diagnostics need.

Four trainings on the CPU (the Runner's toy, the demo's MD-FED, the tiny MoE RT-DETR, a tiny
YOLO) of 600 to 1,000 steps in epochs of 20, each validated after every epoch, with the default
``diagnostics`` and, with ``--rounds``, with ``observe: false`` in turns whose order changes from
round to round (on, off, off, on, ...). In CPU seconds of this process, which trains without
loader processes:

* ``share``: the seconds inside the observing code over all others, measured where it is called
  from, in the runs with it: gradients, updates, movement, predictions and both probes. It holds
  no noise of the machine and is the number to go by.
* ``survey``: what the look at the data before the first step takes, whatever is trained after it.
* ``ratio``: the median over rounds of on / off. It holds the noise of the machine.

    python benchmarks/bench_observing.py [--rounds 4] [--only toy mdfed moe yolo]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import yaml

import backend.trainers.mdfed.training as mdfed_training
import backend.trainers.moe_rtdetr.training as moe_training
import backend.trainers.moe_rtdetr.validation as moe_validation
import backend.trainers.yolo.observing as yolo
from backend.config.schema import TrainConfig
from backend.nn.observing.gradients import StepObserver
from backend.runner.observing import Observing
from backend.synthetic.skeletons import write_spotting
from backend.synthetic.traffic import write_traffic
from backend.trainers.mdfed.evaluation import Judged
from backend.trainers.mdfed.spec import MdFedConfig
from backend.trainers.mdfed.trainer import MdFedTrainer
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig
from backend.trainers.moe_rtdetr.trainer import MoeRtDetrTrainer
from backend.trainers.yolo.preparation import Checked
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from benchmarks._measuring import Never
from tests.support.runner_toy import RunnerToyConfig, RunnerToyTrainer
from tests.support.shapes import write_architecture, write_dataset
from tests.support.toy import write_toy_data

LIMIT = 0.02
WATCHED: dict[Any, tuple[str, ...]] = {
    Observing: ("stepping", "feed", "loss", "gradients", "metrics", "validating", "validated"),
    StepObserver: ("_remember", "_compare"),
    Judged: ("observed",),
    yolo.Observing: ("begin", "batch_over", "stepping", "validating", "validated"),
    yolo.Said: ("add",),
    moe_validation: ("predicted",),
}
SURVEYS: dict[Any, tuple[str, ...]] = {
    Checked: ("survey",),
    mdfed_training: ("_survey",),
    moe_training: ("survey_detection",),
}


class Clock:
    """CPU seconds inside of the watched functions, each counted once."""

    def __init__(self, watched: Mapping[Any, Sequence[str]]) -> None:
        self.seconds = 0.0
        self._depth = 0
        for owner, names in watched.items():
            for name in names:
                setattr(owner, name, self._watch(getattr(owner, name)))

    def _watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
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
    parser.add_argument("--rounds", type=int, default=0, help="0: one run, without the ratio")
    parser.add_argument("--only", nargs="+", choices=MAKERS, default=tuple(MAKERS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    watching, surveying = Clock(WATCHED), Clock(SURVEYS)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            trainer, config = MAKERS[name](Path(folder))
            report(name, Turns(trainer, config, watching, surveying), options.rounds)


class Turns:
    """Trainings with and without, and what was measured in them."""

    def __init__(self, trainer: Any, config: TrainConfig, watching: Clock, survey: Clock) -> None:
        self._trainer, self._config = trainer, config
        self._watching, self._survey = watching, survey
        self.shares: list[float] = []
        self.surveys: list[float] = []
        self.wholes: list[float] = []

    def on(self) -> float:
        """Seconds of a training that shows itself."""
        self._watching.seconds = self._survey.seconds = 0.0
        seconds = self._trained(True)
        seen, surveyed = self._watching.seconds, self._survey.seconds
        self.shares.append(seen / (seconds - seen - surveyed))
        self.surveys.append(surveyed)
        self.wholes.append(seconds)
        return seconds

    def ratio(self, first: bool) -> float:
        """Seconds with over seconds without, the one or the other first."""
        seconds = {on: self.on() if on else self._trained(False) for on in (first, not first)}
        return seconds[True] / seconds[False]

    def _trained(self, observe: bool) -> float:
        config = self._config.replace({"diagnostics.observe": observe})
        with tempfile.TemporaryDirectory() as folder:
            made = self._trainer(config, Path(folder))
            began = time.process_time()
            made.fit(lambda event: None, Never())
            return time.process_time() - began


def report(name: str, turns: Turns, rounds: int) -> None:
    """Train and print."""
    ratios = [turns.ratio(number % 2 == 0) for number in range(rounds)]
    if not rounds:
        turns.on()
    share, whole = statistics.median(turns.shares), statistics.median(turns.wholes)
    verdict = "within" if share < LIMIT else "OVER"
    print(
        f"{name:5} {whole:6.1f} CPU s: share {share:.2%} ({verdict} {LIMIT:.0%}), survey "
        f"{statistics.median(turns.surveys):.2f} s"
        + (f", ratio {statistics.median(ratios):.3f}" if ratios else ""),
        flush=True,
    )


def toy(folder: Path) -> tuple[Any, TrainConfig]:
    """Steps of some milliseconds: the worst case for what is done at each step."""
    config = RunnerToyConfig(data=write_toy_data(folder, 40), epochs=50)
    return RunnerToyTrainer, config.replace({"runner.batch": 2})


def mdfed(folder: Path) -> tuple[Any, TrainConfig]:
    """The demo's healthy run, for 30 epochs (600 steps), as it takes to converge."""
    data = write_spotting(folder / "rallies")
    demo = Path(__file__).parents[1] / "configs/demo/rallies.yaml"
    settings = yaml.safe_load(demo.read_text(encoding="utf-8"))
    return MdFedTrainer, MdFedConfig.model_validate(settings | {"data": data, "epochs": 30})


def moe(folder: Path) -> tuple[Any, TrainConfig]:
    """Thirty epochs of 80 scenes."""
    data = write_traffic(
        folder / "traffic", frames=100, size=(192, 128), shares={"train": 0.8, "val": 0.2}
    )
    settings = {
        "data": data, "device": "cpu", "epochs": 30,
        "model": {"preset": "tiny", "image_size": [64, 96], "queries": 10},
        "moe": {"experts": "B", "hidden": 32},
        "runner": {"batch": 4, "workers": 0, "clip": 0.5, "schedule": {"warmup_steps": 20}},
    }  # fmt: skip
    return MoeRtDetrTrainer, MoeRtDetrConfig.model_validate(settings)


def small_yolo(folder: Path) -> tuple[Any, TrainConfig]:
    """Fifty epochs of 160 shapes."""
    data = write_dataset(folder / "shapes", {"train": 160, "val": 40, "holdout": 2})
    settings = {
        "model": str(write_architecture(folder / "tiny.yaml")), "data": data, "device": "cpu",
        "epochs": 50, "batch": 8, "imgsz": 64, "workers": 0, "patience": 0,
        "optimizer": {"nbs": 8},
    }  # fmt: skip
    return YoloTrainer, YoloConfig.model_validate(settings)


MAKERS = {"toy": toy, "mdfed": mdfed, "moe": moe, "yolo": small_yolo}

if __name__ == "__main__":
    main()
