"""What the machine did, as metrics: by MLflow's own names where it has one, so that its page
shows them among the system metrics; its megabytes are a million bytes."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from backend.core.costs import costs_of
from backend.core.errors import StoreError
from backend.core.events import CostsMeasured, GpuSample, HardwareSampled, Setting
from backend.hardware.recovery import read_memo
from backend.tracking import names

MEGABYTE = 1e6


def sampled(event: HardwareSampled) -> dict[str, float]:
    """The metrics of a sample; what is not known is not among them."""
    found = {
        "cpu_utilization_percentage": event.host_cpu,
        "process_cpu_percentage": event.cpu,
        "process_memory_megabytes": _megabytes(event.rss),
        **_memory("system_memory_usage", event.memory, event.total),
    }
    for gpu in event.gpus:
        found |= {f"gpu_{gpu.index}_{name}": value for name, value in _gpu(gpu)}
    return {names.SYSTEM + name: value for name, value in found.items() if value is not None}


def _gpu(gpu: GpuSample) -> Iterator[tuple[str, float | None]]:
    yield "utilization_percentage", gpu.utilization
    yield "power_usage_watts", gpu.power
    yield "temperature_celsius", gpu.temperature
    yield from _memory("memory_usage", gpu.memory, gpu.total).items()


def _memory(name: str, used: int | None, total: int | None) -> dict[str, float | None]:
    share = 100 * used / total if used is not None and total else None
    return {f"{name}_megabytes": _megabytes(used), f"{name}_percentage": share}


def taken(event: CostsMeasured) -> dict[str, float]:
    """The metrics of what a training took, apart from what the machine looked like."""
    seconds = costs_of([event]).seconds
    found = {
        "train_seconds_per_epoch": seconds,
        f"{event.memory_of}_peak_memory_megabytes": _megabytes(event.memory),
    }
    return {names.SYSTEM + name: value for name, value in found.items() if value is not None}


def _megabytes(size: int | None) -> float | None:
    return None if size is None else size / MEGABYTE


def in_force(settings: Mapping[str, Setting]) -> dict[str, float]:
    """The numbers among settings, as metrics."""
    return {
        f"{names.HARDWARE}/{key}": float(value)
        for key, value in settings.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }


def planned(work_dir: Path) -> dict[str, Setting]:
    """What the tier chose for a run, by config key; nothing if it had no say."""
    with suppress(StoreError):
        return read_memo(work_dir).planned or {}
    return {}
