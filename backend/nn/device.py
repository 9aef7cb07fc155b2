"""Where to compute, and what the machine is."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence

import torch

from backend.core.errors import ConfigError

KINDS = ("cpu", "cuda")


def named_device(name: str, place: int = 0, kinds: Sequence[str] = KINDS) -> torch.device:
    """``auto`` is the GPU at ``place``, else the CPU. Raises ConfigError if it is not there.

    GPUs are counted by their place on the bus, as nvidia-smi and ``backend.hardware`` count
    them; CUDA alone would call the fastest one the first.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if name == "auto":
        wanted = f"cuda:{place}" if torch.cuda.is_available() else "cpu"
    else:
        wanted = f"cuda:{name}" if name.isdigit() else name
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ConfigError(f"device '{name}' is unknown; use cpu, cuda:0 or auto") from None
    if device.type not in kinds:
        raise ConfigError(f"device '{name}' is not supported; use cpu, cuda:0 or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        fewer = ", or fewer processes" if place else ""
        raise ConfigError(
            f"device '{name}' ({device}) is not there: torch sees {torch.cuda.device_count()} "
            f"GPUs; use cpu or auto{fewer}"
        )
    return device


def facts_of(device: torch.device, packages: Sequence[str], threads: int) -> dict[str, str]:
    """Versions and hardware that a run's numbers depend on."""
    facts = {name: importlib.metadata.version(name) for name in packages}
    facts["python"] = platform.python_version()
    facts["platform"] = f"{platform.system()} {platform.release()}"
    facts["cpu"] = f"{platform.machine()}, {os.cpu_count()} cores, {threads} torch threads"
    facts["device"] = str(device)
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["cuda"] = str(torch.version.cuda)
    return facts
