"""Several processes that train one model (DDP), and what they tell each other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long the others wait while the first process validates."""


@dataclass(frozen=True)
class Ranks:
    """This process among ``size`` of them; the first one validates, writes and speaks."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Is this the process that speaks?"""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.size > 1:
            distributed.all_reduce(values)
            values = values / self.size
        return values

    def agree(self, value: T) -> T:
        """The first process's value, in each."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


def local_rank() -> int:
    """The place of this process on its machine, as torchrun says."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the group that torchrun started this process for; alone, if it did not.

    After an error the group is left as it is: the process ends, and with nccl to leave is
    something that all do together, while the others may wait for this one elsewhere.
    """
    size = world_size()
    if size == 1:
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    yield Ranks(distributed.get_rank(), size)
    distributed.destroy_process_group()
