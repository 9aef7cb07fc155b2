"""Gradients before they are clipped, and how far a step moves the weights, by part.

Looked at every few steps. The results stay on the device until they are asked for: a look waits
for no GPU.
"""

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from backend.nn.observing.sampling import norms, sampled, scales

GLOBAL = "train/grad_norm"
CLIPPED = "train/clipped"


class StepObserver:
    """Looks at the parameters that an optimizer trains through the hooks of its step.

    ``part_of`` maps a parameter's name to its part of the network. A parameter without a
    gradient counts as one whose gradient is zero. With ``clip``, the share of looks at which the
    global norm is above it is told too.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        part_of: Callable[[str], str],
        every: int,
        clip: float = 0.0,
    ) -> None:
        moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
        named = [(n, p) for n, p in model.named_parameters() if id(p) in moved and p.requires_grad]
        self.parts = tuple(dict.fromkeys(part_of(name) for name, _ in named))
        self._every = every
        self._clip = clip
        self._parameters = [parameter for _, parameter in named]
        device = self._parameters[0].device
        places = [self.parts.index(part_of(name)) for name, _ in named]
        self._places = torch.tensor(places, device=device)
        self._scales = scales(self._parameters).to(device)
        sizes = torch.tensor([p.numel() for p in self._parameters], device=device)
        self._sizes = self._by_part(sizes.double())
        self._zero = torch.zeros((), dtype=torch.float64, device=device)
        self.looks = False
        self._look: Tensor | None = None
        self._before: list[Tensor] = []
        self._gradients: list[Tensor] = []
        self._updates: list[Tensor] = []
        self._hooks = (
            optimizer.register_step_pre_hook(self._remember),
            optimizer.register_step_post_hook(self._compare),
        )

    def end(self) -> None:
        """Look no more."""
        for hook in self._hooks:
            hook.remove()

    def begin(self, step: int) -> None:
        """Optimizer step ``step``, counted from 1, is next: the first and each ``every``-th are
        looked at."""
        self.looks = step == 1 or step % self._every == 0
        self._look, self._before = None, []

    @torch.no_grad()
    def gradients(self, scale: float = 1.0) -> None:
        """The gradients are complete and not yet clipped. ``scale`` is what the loss was
        multiplied by. What is seen of a step that is then left out is forgotten."""
        if not self.looks:
            return
        there = [p.grad for p in self._parameters if p.grad is not None]
        if not there:
            return
        squares = self._filled(norms(there)).square()
        sums = self._filled(norms(there, order=1))
        self._look = (
            torch.stack([self._by_part(squares).sqrt(), self._by_part(sums) / self._sizes]) / scale
        )

    def collect(self) -> dict[str, float]:
        """Metrics of the looks since the last call, the median of each; empty if there was none.

        ``GLOBAL`` is the newest look's.
        """
        found: dict[str, float] = {}
        if self._gradients:
            looks = torch.stack(self._gradients).tolist()
            whole = [sum(norm**2 for norm in look[0]) ** 0.5 for look in looks]
            found[GLOBAL] = whole[-1]
            if self._clip:
                found[CLIPPED] = sum(norm > self._clip for norm in whole) / len(whole)
            for at, part in enumerate(self.parts):
                found[f"gradient/{part}/norm"] = median(look[0][at] for look in looks)
                found[f"gradient/{part}/mean_abs"] = median(look[1][at] for look in looks)
        if self._updates:
            looks = torch.stack(self._updates).T.tolist()
            for part, ratios in zip((*self.parts, "all"), looks, strict=True):
                known = [ratio for ratio in ratios if ratio == ratio]  # weights that are all zero
                if known:
                    found[f"update/{part}"] = median(known)
        self._gradients, self._updates = [], []
        return found

    @torch.no_grad()
    def _remember(self, *_: Any) -> None:
        if self.looks:
            self._before = [sampled(p).clone() for p in self._parameters]

    @torch.no_grad()
    def _compare(self, *_: Any) -> None:
        if not self._before:
            return
        if self._look is not None:
            self._gradients.append(self._look)
        now = [sampled(p) for p in self._parameters]
        moved = self._whole(norms(torch._foreach_sub(now, self._before)))
        self._updates.append(moved / self._whole(norms(self._before)))
        self._look, self._before, self.looks = None, [], False

    def _whole(self, sample_norms: Tensor) -> Tensor:
        """The norm of each part and, last, of all."""
        squares = self._by_part((sample_norms * self._scales).square())
        return torch.cat([squares, squares.sum().reshape(1)]).sqrt()

    def _by_part(self, values: Tensor) -> Tensor:
        """The sum over each part's tensors."""
        sums = torch.zeros(len(self.parts), dtype=torch.float64, device=values.device)
        return sums.index_add_(0, self._places, values)

    def _filled(self, found: Tensor) -> Tensor:
        """Zero for each parameter without a gradient."""
        if len(found) == len(self._parameters):
            return found
        left = iter(found)
        return torch.stack(
            [self._zero if p.grad is None else next(left) for p in self._parameters]
        )
