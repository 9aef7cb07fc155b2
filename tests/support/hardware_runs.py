"""Made runs to look at in *Hardware*: no machine was measured for these numbers."""

import numpy as np

from backend.core.events import Recovered
from backend.core.records import Run, RunStatus, Series
from tests.support.memory_store import NOON, MemoryStore

CARD, HOST = 25769.8, 68719.5  # megabytes of a card of 24 GiB and a host of 64 GiB
REQUESTED: dict[str, int] = {"batch": 32, "imgsz": 640, "workers": 8}


def hardware_store(points: int = 600) -> MemoryStore:
    """A run of each kind, the one with recoveries newest."""
    store = MemoryStore()
    add_run(store, "imported", 1, params={}, trainer="mmengine")
    add_run(store, "earlier", 2, params={"batch": "32"})
    add_run(store, "unwatched", 3, params={"batch": "32", "hardware.sample": "0"})
    add_sampled(store, "on-cpu", 4, gpus=0, points=points)
    add_sampled(store, "two-gpus", 5, gpus=2, points=points)
    add_sampled(store, "recovered", 6, gpus=1, points=points)
    add_recoveries(store, "recovered")
    return store


def add_run(
    store: MemoryStore, key: str, number: int, params: dict[str, str],
    trainer: str = "yolo", status: RunStatus = "finished",
) -> Run:  # fmt: skip
    """A run and nothing else."""
    started = NOON + 100_000 * number
    run = Run(
        key=key, mlflow_run_id=f"{number:032x}", name=key, trainer=trainer, status=status,
        started=started, ended=None if status == "running" else started + 7200, epochs=24,
        headline="val/mAP50-95", params=params,
    )  # fmt: skip
    store.run_list.append(run)
    put(store, run, "val/mAP50-95", np.linspace(600, 7200, 12), np.linspace(0.2, 0.6, 12))
    return run


def add_sampled(
    store: MemoryStore, key: str, number: int, gpus: int, points: int = 600
) -> Run:  # fmt: skip
    """A run that was looked at, every few seconds for two hours."""
    params = {name: str(value) for name, value in REQUESTED.items()} | {"hardware.sample": "2.0"}
    run = add_run(store, key, number, params)
    rng = np.random.default_rng(number)
    t = np.linspace(2, 7190, points)
    validating = (t % 600) > 540
    for gpu in range(gpus):
        load = np.clip(np.where(validating, 55, 92 - 9 * gpu) + rng.normal(0, 5, points), 0, 100)
        used = np.where(t < 1900, 0.97, np.where(t < 4300, 0.93, 0.58)) - 0.1 * gpu
        used = np.clip(used + rng.normal(0, 0.01, points), 0, 1)
        _put_gpu(store, run, gpu, t, load, used)
    busy = 100 * (6.5 if gpus else 15) + rng.normal(0, 60, points)
    put(store, run, "system/process_cpu_percentage", t, busy)
    put(store, run, "system/cpu_utilization_percentage", t, busy / 32 + 4)
    own = 9000 + t / 2 + rng.normal(0, 150, points)
    put(store, run, "system/process_memory_megabytes", t, own)
    put(store, run, "system/system_memory_usage_megabytes", t, own + 14000)
    put(store, run, "system/system_memory_usage_percentage", t, (own + 14000) / HOST * 100)
    return run


def _put_gpu(
    store: MemoryStore, run: Run, gpu: int, t: np.ndarray, load: np.ndarray, used: np.ndarray
) -> None:
    one = f"system/gpu_{gpu}_"
    put(store, run, one + "utilization_percentage", t, load)
    put(store, run, one + "memory_usage_megabytes", t, used * CARD)
    put(store, run, one + "memory_usage_percentage", t, used * 100)
    put(store, run, one + "power_usage_watts", t, 60 + 3.6 * load)
    put(store, run, one + "temperature_celsius", t, 45 + 35 * (1 - np.exp(-t / 500)))


RECOVERIES = (
    (1900.0, Recovered(
        attempt=1, step=812, phase="train", kind="device", cause="CUDA out of memory",
        action="batch 32 -> 16", requested=dict(REQUESTED),
        effective={**REQUESTED, "batch": 16},
    )),
    (4300.0, Recovered(
        attempt=2, step=None, phase="unknown", kind="host",
        cause="the kernel killed the process (signal 9)", action="workers 8 -> 4",
        requested=dict(REQUESTED), effective={**REQUESTED, "batch": 16, "workers": 4},
        skipped=("cache",), order="cache",
    )),
)  # fmt: skip


def add_recoveries(store: MemoryStore, key: str) -> None:
    """Two recoveries, told as the tracking projects them."""
    run = store.run(key)
    store.told[key] = tuple(told for _, told in RECOVERIES)
    when = np.array([seconds for seconds, _ in RECOVERIES])
    put(store, run, "hardware/recoveries", when, np.array([1.0, 2.0]))
    for name in REQUESTED:
        values = [float(str(told.effective[name])) for _, told in RECOVERIES]
        put(store, run, f"hardware/{name}", when, np.array(values))


def put(store: MemoryStore, run: Run, metric: str, t: np.ndarray, values: np.ndarray) -> None:
    """A curve over the seconds since the start of its run."""
    store.curves[run.key, metric] = Series(
        steps=tuple(range(len(t))), values=tuple(values.tolist()),
        times=tuple((run.started + t).tolist()),
    )  # fmt: skip
