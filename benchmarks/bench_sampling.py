"""What it costs to look at GPU, memory and power while a run trains.

* ``host``: CPU seconds of one look at the host and at a training process with four loader
  processes, in this process; and which share of one core that is at a look every 2 seconds. It
  grows with the number of processes of the machine, which is told.
* ``gpu``: CPU seconds of one look at two GPUs through pynvml and the stand-in for NVIDIA's library
  that the tests use: the Python side only. What a driver takes comes on top and is not known here.
* ``training``: a real YOLO training on the CPU, from its first to its last event, with a look
  every 2 s and every 0.1 s, over the same without looks. The three take turns, whose order
  changes from round to round; each ratio is the median over the rounds and holds the noise of
  the machine. Beside it, the CPU seconds of the parent, which does the looking.

    python benchmarks/bench_sampling.py [--rounds 4] [--epochs 5]
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil

from backend import launch
from backend.catalog import CATALOG, load_config
from backend.config.schema import TrainConfig
from backend.core.sinks import MemorySink
from backend.hardware.host import Host
from backend.hardware.sampling import Gpus
from backend.synthetic.digits import write_digits
from backend.tracking.home import Home
from tests.support.fake_library import build

ROOT = Path(__file__).parents[1]
LOOKS = 200
USUAL, OFTEN, NEVER = 2.0, 0.1, 0.0
FAMILY = (
    "import subprocess, sys\n"
    "loaders = [subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)"
    " for _ in range(4)]\n"
    "print('ready', flush=True)\n"
    "input()\n"
    "for loader in loaders: loader.communicate(b'\\n')\n"
)


class Training(NamedTuple):
    """Seconds from the first event to the last, and CPU seconds of the parent."""

    seconds: float
    parent: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report_host()
        report_gpus(Path(folder))
        report_training(Path(folder), options.rounds, options.epochs)


def report_host() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as training:
        assert training.stdout is not None
        training.stdout.readline()
        host = Host()
        cost = cpu_seconds(lambda: host.look(training.pid))
        training.communicate(b"\n")
    everyone = len(psutil.pids())
    print(
        f"host      {1e3 * cost:7.3f} CPU ms a look, {cost / USUAL:.3%} of a core at a look every "
        f"{USUAL:g} s ({everyone} processes on this machine)"
    )


def report_gpus(folder: Path) -> None:
    library = build(folder)
    if library is None:
        print("gpu       not measured: no C compiler to build the stand-in with")
        return
    os.environ |= {"FAKE_GPUS": "24576:20000,24576:1000", "FAKE_USE": "87:215500:71,5:60000:40"}
    ctypes.CDLL(str(library))  # pynvml then finds it by its name
    gpus = Gpus()
    assert len(gpus.look()) == 2
    cost = cpu_seconds(gpus.look)
    gpus.close()
    print(f"gpu       {1e3 * cost:7.3f} CPU ms a look at two GPUs, Python side only (no driver)")


def cpu_seconds(look: Callable[[], object]) -> float:
    """Of one look, on average."""
    look()
    began = time.process_time()
    for _ in range(LOOKS):
        look()
    return (time.process_time() - began) / LOOKS


def report_training(folder: Path, rounds: int, epochs: int) -> None:
    """Trainings in turns; the first one, which imports the stack, does not count."""
    home, workers = Home(folder / "mlruns"), launch.Workers(CATALOG["yolo"].preload)
    given = {
        "data": write_digits(folder / "data").source,
        "model": str(ROOT / "configs/models/yolo-tiny.yaml"), "epochs": epochs,
    }  # fmt: skip
    config = load_config(ROOT / "configs/demo/source.yaml", given)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the stand-in's GPUs are none
    trained(home, config.replace({"epochs": 1}), NEVER, workers)
    turns: dict[float, list[Training]] = {NEVER: [], USUAL: [], OFTEN: []}
    for number in range(rounds):
        for pause in sorted(turns, reverse=bool(number % 2)):
            turns[pause].append(trained(home, config, pause, workers))
    for pause in (USUAL, OFTEN):
        pairs = list(zip(turns[pause], turns[NEVER], strict=True))
        ratio = statistics.median(one.seconds / other.seconds for one, other in pairs)
        parents = [statistics.median(t.parent for t in turns[key]) for key in (pause, NEVER)]
        whole = statistics.median(one.seconds for one, _ in pairs)
        print(
            f"training  {whole:7.1f} s with a look every {pause:g} s: ratio {ratio:.3f} to none; "
            f"parent {parents[0]:.2f} CPU s against {parents[1]:.2f}",
            flush=True,
        )


def trained(home: Home, config: TrainConfig, pause: float, workers: launch.Workers) -> Training:
    """A training with a look every ``pause`` seconds."""
    work = launch.prepare(home, config.replace({"hardware.sample": pause}), CATALOG["yolo"])
    sink = MemorySink()
    began = time.process_time()
    finished = launch.supervise(work, lambda: [sink], workers)
    parent = time.process_time() - began
    if finished.status != "finished":
        raise SystemExit(f"the training {finished.status}: {finished.reason}")
    return Training(sink.envelopes[-1].time - sink.envelopes[0].time, parent)


if __name__ == "__main__":
    main()
