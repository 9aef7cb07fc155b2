"""The exponential moving average of a model's weights."""

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

from backend.nn.finetune.weights import distinct


class Ema:
    """An averaged copy of ``model``, in evaluation mode.

    At update n (from 0) the newest weights count ``max(momentum, 9 / (10 + n))``. Parameters
    and batch-norm statistics are averaged, whole numbers copied, ``still`` tensors left alone.
    A tensor with two names moves once.
    """

    def __init__(self, model: nn.Module, momentum: float, still: Collection[str] = ()) -> None:
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self.momentum = momentum
        self.updates = 0
        self._still = frozenset(still)

    def weight(self) -> float:
        """How much the newest weights count at the next update."""
        return max(self.momentum, 9 / (10 + self.updates))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's weights."""
        own: list[Tensor] = []
        new: list[Tensor] = []
        theirs = model.state_dict()
        for name, tensor in distinct(self.module.state_dict()).items():
            if name in self._still:
                continue
            if tensor.is_floating_point():
                own.append(tensor)
                new.append(theirs[name].detach())
            else:
                tensor.copy_(theirs[name])
        if own:
            torch._foreach_lerp_(own, new, self.weight())
        self.updates += 1
