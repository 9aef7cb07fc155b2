"""Where to compute, and what the machine is."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence

import torch

from backend.core.errors import ConfigError
from backend.runner.distributed import local_rank

PACKAGES = ("torch", "mmengine", "numpy")


def resolve_device(name: str, processes: int = 1) -> torch.device:
    """``auto`` is this process's GPU, else the CPU. Raises ConfigError if it is not there.

    GPUs are counted by their place on the bus, as nvidia-smi and ``backend.hardware`` count
    them; CUDA alone would call the fastest one the first.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if name == "auto":
        available = torch.cuda.is_available()
        return _there(torch.device(f"cuda:{local_rank()}" if available else "cpu"), name)
    try:
        device = torch.device(f"cuda:{name}" if name.isdigit() else name)
    except RuntimeError:
        raise ConfigError(f"device '{name}' is unknown; use cpu, cuda:0 or auto") from None
    if device.type not in {"cpu", "cuda"}:
        raise ConfigError(f"device '{name}' is not supported; use cpu, cuda:0 or auto")
    if device.type == "cuda" and processes > 1:
        raise ConfigError(f"device '{name}' is one for {processes} processes; use auto")
    return _there(device, name)


def _there(device: torch.device, name: str) -> torch.device:
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device '{name}' ({device}) is not there: torch sees {torch.cuda.device_count()} "
            "GPUs; use cpu, auto, or fewer processes"
        )
    return device


def environment(device: torch.device, packages: Sequence[str], processes: int) -> dict[str, str]:
    """Versions and hardware that a run's numbers depend on."""
    facts = {name: importlib.metadata.version(name) for name in (*PACKAGES, *packages)}
    facts["python"] = platform.python_version()
    facts["platform"] = f"{platform.system()} {platform.release()}"
    threads = torch.get_num_threads()
    facts["cpu"] = f"{platform.machine()}, {os.cpu_count()} cores, {threads} torch threads"
    facts["device"] = str(device)
    facts["processes"] = str(processes)
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["cuda"] = str(torch.version.cuda)
    return facts
