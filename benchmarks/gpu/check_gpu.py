"""What only a GPU can show, checked on the one that is here.

    python benchmarks/gpu/check_gpu.py [--only tier oom amp estimate sampling launch]

* ``tier``: the GPUs that the driver's library (NVML) tells of beside those that torch sees, and
  the tier that would be chosen.
* ``oom``: a YOLO training in a process that may use a share of the card only
  (``torch.cuda.set_per_process_memory_fraction``): CUDA's own out-of-memory, steps down, finishes.
* ``amp``: the same training with and without mixed precision: time, last loss, mAP.
* ``estimate``: for the model, batch and image size of each tier, what the estimate plans for
  beside torch's peak (``max_memory_reserved``, after a short training); a smaller batch where the
  card does not hold the tier's.
* ``sampling``: our look at a busy card beside nvidia-smi's.
* ``launch``: a training as ``assay train`` starts it, with loader processes.

Each check runs in a process of its own and prints what was measured, what is expected, and PASS,
FAIL or SKIPPED. The exit code is 1 if one failed, 77 without a GPU, else 0. Nothing of the card's
settings is changed; other programs on it disturb ``oom``, ``estimate`` and ``sampling``. Takes
some minutes. Everything is drawn and trained in a temporary folder; no weights are needed.
"""

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as the driver's library counts
sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from backend import launch
from backend.catalog import CATALOG
from backend.core.events import Event, HardwareSampled, MetricsLogged, Recovered
from backend.core.sinks import MemorySink
from backend.hardware.estimate import ABOVE, Need
from backend.hardware.machine import survey
from backend.hardware.sampling import Gpus
from backend.hardware.tiers import TIERS, choose
from backend.tracking.home import Home
from backend.trainers.yolo.spec import MODELS, YoloConfig
from benchmarks.gpu import verdicts
from benchmarks.gpu.verdicts import Card, Verdict
from tests.support.shapes import write_dataset

NO_GPU = 77
"""As test runners read it: nothing could be checked."""

TOO_LARGE = 4
"""So many times larger than estimated to fit is the batch of ``oom``."""

MIB = 2**20
QUERY = "utilization.gpu,memory.used,power.draw,temperature.gpu"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    options = parser.parse_args()
    reason = absent()
    if reason:
        print(f"no GPU to check: {reason}; nothing was checked (exit code {NO_GPU})")
        return NO_GPU
    found: list[Verdict] = []
    for name in options.only:
        for verdict in alone(name):
            print(verdict, flush=True)
            found.append(verdict)
    counts = [sum(v.level == level for v in found) for level in ("PASS", "FAIL", "SKIPPED")]
    print("{} passed, {} failed, {} skipped".format(*counts))
    return verdicts.exit_code(found)


def absent() -> str:
    """Why there is no GPU to check, if there is none."""
    machine = survey()
    if not machine.visible:
        return machine.reason
    if not torch.cuda.is_available():
        return f"the driver {machine.driver} has one, but torch {torch.__version__} cannot use it"
    return ""


def alone(name: str) -> list[Verdict]:
    """A check, in a process and a folder of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        try:
            return pool.submit(CHECKS[name], Path(folder)).result()
        except Exception as error:  # noqa: BLE001 (the other checks go on)
            return [verdicts.failed(name, f"{type(error).__name__}: {error}")]


def tier(folder: Path) -> list[Verdict]:
    machine = survey()
    choice = choose(machine)
    driver = [Card(g.uuid or "", g.name or "", g.total or 0) for g in machine.visible]
    seen = [torch.cuda.get_device_properties(at) for at in range(torch.cuda.device_count())]
    cards = [Card(str(p.uuid), p.name, p.total_memory) for p in seen]
    return [verdicts.detection(driver, cards, choice.tier.name, choice.reason)]


def oom(folder: Path) -> list[Verdict]:
    config = small(folder, epochs=3, batch=64, imgsz=640, hardware={})
    need = estimate(config)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(need.of(config.batch // TOO_LARGE) / total)
    events, status = trained(config, folder / "run")
    steps = [event for event in events if isinstance(event, Recovered)]
    batches = [config.batch, *(int(str(step.effective["batch"])) for step in steps)]
    ended = [event.epoch for event in events if isinstance(event, MetricsLogged) and event.ends]
    causes = [step.cause for step in steps]
    return [verdicts.recovery(batches, causes, ended, config.epochs, status)]


def amp(folder: Path) -> list[Verdict]:
    config = small(folder, epochs=6, batch=32, imgsz=320)
    told = {}
    for on in (True, False):
        ends: list[float] = []
        events, _ = trained(config.replace({"amp": on}), folder / str(on), ends)
        last = [e for e in events if isinstance(e, MetricsLogged) and e.ends][-1].metrics
        told[on] = {
            "seconds": statistics.median(b - a for a, b in itertools.pairwise(ends)),
            "loss": last["train/loss"],
            "map": last["val/mAP50-95"],
        }
    return [verdicts.precision(told[True], told[False])]


def estimates(folder: Path) -> list[Verdict]:
    found = []
    data = write_dataset(folder / "shapes", {"train": 128, "val": 8})
    for name, asked in TIERS.items():
        model = MODELS[name].replace(".pt", ".yaml")
        config = small(folder, model=model, imgsz=asked.size, data=str(data), workers=4)
        need, batch = estimate(config), asked.batch
        free, _ = torch.cuda.mem_get_info()
        while batch > 2 and not need.fits(batch, free):
            batch //= 2
        if not need.fits(batch, free):
            reason = f"{model}: {need.of(batch) / 2**30:.1f} GiB are not free"
            found.append(verdicts.skipped("memory estimate", reason))
            continue
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        trained(config.replace({"batch": batch}), folder / name)
        peak = torch.cuda.max_memory_reserved()
        print(
            f"        {model}: allocated at most {torch.cuda.max_memory_allocated() / 2**30:.2f} "
            f"GiB; estimated without the factor {need.of(batch) / ABOVE / 2**30:.2f} GiB",
            flush=True,
        )
        found.append(verdicts.memory(model, batch, asked.size, need.of(batch), peak))
    return found


def sampling(folder: Path) -> list[Verdict]:
    if not shutil.which("nvidia-smi"):
        return [verdicts.skipped("sampling", "nvidia-smi is not here")]
    uuid = survey().visible[0].uuid or "0"
    keep = torch.randn(8192, 8192, device="cuda")
    until = time.monotonic() + 5
    while time.monotonic() < until:
        keep = torch.nn.functional.normalize(keep @ keep)
        torch.cuda.synchronize()
    for _ in range(200):  # stays busy while both look
        keep = torch.nn.functional.normalize(keep @ keep)
    ours = Gpus().look()[0]
    command = ["nvidia-smi", f"--id={uuid}", f"--query-gpu={QUERY}"]
    said = subprocess.run(
        [*command, "--format=csv,noheader,nounits"], capture_output=True, text=True, check=False
    )
    torch.cuda.synchronize()
    if said.returncode:
        return [verdicts.skipped("sampling", f"nvidia-smi says: {said.stdout.strip()}")]
    look = {
        "utilization %": ours.utilization,
        "memory MiB": None if ours.memory is None else ours.memory / MIB,
        "power W": ours.power,
        "temperature C": ours.temperature,
    }
    return [verdicts.sampling(look, verdicts.parsed(said.stdout.strip()))]


def launching(folder: Path) -> list[Verdict]:
    config = small(folder, epochs=2, workers=2).replace({"hardware.sample": 0.2})
    home, sink = Home(folder / "mlruns"), MemorySink()
    work = launch.prepare(home, config, CATALOG["yolo"])
    workers = launch.Workers(CATALOG["yolo"].preload)
    finished = launch.supervise(work, lambda: [sink], workers)
    looks = [e.event for e in sink.envelopes if isinstance(e.event, HardwareSampled)]
    seen = [gpu.memory for look in looks for gpu in look.gpus if gpu.memory is not None]
    told = finished.status if finished.status == "finished" else finished.reason
    return [verdicts.launched(told, len(looks), max(seen, default=None), config.workers)]


def small(folder: Path, **more: Any) -> YoloConfig:
    """A short training from scratch on the first GPU."""
    data = more.pop("data", None) or write_dataset(folder / "shapes", {"train": 128, "val": 32})
    settings = {
        "model": "yolov8n.yaml", "data": str(data), "device": "cuda:0", "epochs": 1,
        "batch": 16, "imgsz": 320, "workers": 0, "patience": 0, "hardware": {"recover": False},
        "optimizer": {"lr0": 1e-3, "nbs": 16}, "augment": {"close_mosaic": 0},
    }  # fmt: skip
    return YoloConfig.model_validate({**settings, **more})


def estimate(config: YoloConfig) -> Need:
    from backend.trainers.yolo.estimate import needed

    return needed(config)


def trained(
    config: YoloConfig, work: Path, ends: list[float] | None = None
) -> tuple[list[Event], str]:
    """What a training in this process said, and how it ended; ``ends`` get the time at which each
    epoch did."""
    from backend.trainers.yolo.trainer import YoloTrainer

    events: list[Event] = []

    def hear(event: Event) -> None:
        events.append(event)
        if ends is not None and isinstance(event, MetricsLogged) and event.ends:
            ends.append(time.perf_counter())

    outcome = YoloTrainer(config, work).fit(hear, Never())
    return events, outcome.status


class Never:
    """A StopSignal that never stops."""

    def reason(self) -> str | None:
        return None


CHECKS: dict[str, Callable[[Path], list[Verdict]]] = {
    "tier": tier,
    "oom": oom,
    "amp": amp,
    "estimate": estimates,
    "sampling": sampling,
    "launch": launching,
}

if __name__ == "__main__":
    sys.exit(main())
