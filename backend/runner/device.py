"""Where to compute, by how many processes, and what the machine is."""

from collections.abc import Sequence

import torch

from backend.core.errors import ConfigError
from backend.nn.device import facts_of, named_device
from backend.runner.distributed import local_rank

PACKAGES = ("torch", "mmengine", "numpy")


def resolve_device(name: str, processes: int = 1) -> torch.device:
    """``auto`` is this process's GPU, else the CPU. Raises ConfigError if it is not there."""
    if processes > 1 and name not in {"auto", "cpu"}:
        raise ConfigError(f"device '{name}' is one for {processes} processes; use auto")
    return named_device(name, local_rank())


def environment(device: torch.device, packages: Sequence[str], processes: int) -> dict[str, str]:
    """Versions and hardware that a run's numbers depend on."""
    facts = facts_of(device, (*PACKAGES, *packages), torch.get_num_threads())
    return facts | {"processes": str(processes)}
