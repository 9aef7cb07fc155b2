"""Where to compute, and what the machine is."""

import importlib.metadata
import os
import platform

import torch

from backend.core.errors import ConfigError
from backend.core.knobs import Knobs
from backend.hardware.attempts import Site
from backend.trainers.yolo.spec import KNOBS, YoloConfig

PACKAGES = ("torch", "torchvision", "ultralytics", "numpy", "pycocotools")


def resolve_device(name: str) -> torch.device:
    """``auto`` is the first GPU, else the CPU. Raises ConfigError if the device is not there.

    GPUs are counted by their place on the bus, as nvidia-smi and ``backend.hardware`` count
    them; CUDA alone would call the fastest one the first.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(f"cuda:{name}" if name.isdigit() else name)
    except RuntimeError:
        raise ConfigError(f"device '{name}' is unknown; use cpu, cuda:0 or auto") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device '{name}' is not there: torch sees {torch.cuda.device_count()} GPUs; use cpu "
            "or auto"
        )
    if device.type not in {"cpu", "cuda", "mps"}:
        raise ConfigError(f"device '{name}' is not supported; use cpu, cuda:0 or auto")
    return device


def site_of(device: torch.device) -> Site:
    """The GPU to train on, if it is one."""
    return Site((device.index or 0,) if device.type == "cuda" else ())


def knobs_on(device: torch.device) -> Knobs:
    """What may change there."""
    return KNOBS.on(gpu=device.type == "cuda")


def environment(config: YoloConfig, device: torch.device) -> dict[str, str]:
    """Versions and hardware that a run's numbers depend on."""
    facts = {name: importlib.metadata.version(name) for name in PACKAGES}
    facts["python"] = platform.python_version()
    facts["platform"] = f"{platform.system()} {platform.release()}"
    facts["cpu"] = f"{platform.machine()}, {os.cpu_count()} cores, {config.threads} torch threads"
    facts["device"] = str(device)
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["cuda"] = str(torch.version.cuda)
    return facts
