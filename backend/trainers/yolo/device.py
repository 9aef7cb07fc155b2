"""Where to compute, and what may change there."""

import torch

from backend.core.knobs import Knobs
from backend.hardware.attempts import Site
from backend.nn.device import named_device
from backend.trainers.yolo.spec import KNOBS

KINDS = ("cpu", "cuda", "mps")


def resolve_device(name: str) -> torch.device:
    """``auto`` is the first GPU, else the CPU. Raises ConfigError if the device is not there."""
    return named_device(name, kinds=KINDS)


def site_of(device: torch.device) -> Site:
    """The GPU to train on, if it is one."""
    return Site((device.index or 0,) if device.type == "cuda" else ())


def knobs_on(device: torch.device) -> Knobs:
    """What may change there."""
    return KNOBS.on(gpu=device.type == "cuda")
