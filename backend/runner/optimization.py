"""One optimizer step over a window of batches: accumulation, mixed precision, clipping."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from backend.runner.config import RunnerConfig
from backend.runner.mm import OptimWrapper

DTYPES = {"off": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Onlooker(Protocol):
    """Sees a step from the inside and changes nothing."""

    def loss(self, loss: Tensor) -> None:
        """A batch's loss, before its gradient is taken."""

    def gradients(self, norm: Tensor | None) -> None:
        """The window's gradient, unscaled and not yet clipped; its norm, if that is known."""


class Optimization(OptimWrapper):
    """mmengine's wrapper with windows of its own, and mixed precision on any device.

    A window is closed by its last batch, so none reaches over an epoch's end and none is lost;
    its gradient is the mean over its batches. A step whose gradient is no number is left out:
    in float16 by the scaler, which then scales less (``overflows``), else, up to
    ``max_nonfinite`` of them, here (``nonfinite``). An ``onlooker`` may look on; it empties
    ``clipped``, which says of each step whether its gradient was.
    """

    def __init__(self, optimizer: Optimizer, config: RunnerConfig, device: torch.device) -> None:
        super().__init__(optimizer)
        self.base_param_settings = None  # one more group, without parameters, for its logger
        self.norm: Tensor | None = None
        self.clipped: list[Tensor] = []
        self.onlooker: Onlooker | None = None
        self.left_out = False
        self.nonfinite = 0
        self.overflows = 0
        self._clip = config.clip
        self._tolerant = config.max_nonfinite > 0 and config.amp != "float16"
        self._device = device.type
        self._dtype = DTYPES[config.amp]
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.amp == "float16")
        self._window = 1

    def begin(self, batches: int) -> None:
        """Open a window of so many batches."""
        self._window, self._inner_count = batches, 0

    def initialize_count_status(self, *_: object) -> None:
        """The loop opens each window."""

    def should_update(self) -> bool:
        """Is the window complete?"""
        return self._inner_count >= self._window

    def should_sync(self) -> bool:
        """Will the next batch complete it?"""
        return self._inner_count + 1 >= self._window

    def scale_loss(self, loss: Tensor) -> Tensor:
        """A batch's share of the window's mean."""
        return loss / self._window

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Where the forward pass runs."""
        with (
            super().optim_context(model),
            torch.autocast(self._device, dtype=self._dtype, enabled=self._dtype is not None),
        ):
            yield

    def backward(self, loss: Tensor, **_: object) -> None:
        """Add a batch's gradient."""
        if self.onlooker:
            self.onlooker.loss(loss.detach())
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._inner_count += 1

    def step(self, **_: object) -> None:
        """Move the weights; ``norm`` is then the gradient's norm before it was clipped, unless the
        step was left out."""
        self.left_out = False
        if self._clip or self._tolerant or self.onlooker:
            self._scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm: Tensor | None = None
        if self._clip or self._tolerant:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.onlooker:
            self.onlooker.gradients(norm)
        if norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self._clip or math.inf, norm)
            if self._tolerant and not math.isfinite(norm):
                self.left_out, self.nonfinite = True, self.nonfinite + 1
                return
        scale = self._scaler.get_scale()
        self._scaler.step(self.optimizer)
        self._scaler.update()
        overflowed = self._scaler.get_scale() < scale
        self.overflows += overflowed
        if self._clip and norm is not None and not overflowed:
            self.norm = norm
            if self.onlooker:
                self.clipped.append(norm > self._clip)

    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation needs."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "nonfinite": self.nonfinite,
            "overflows": self.overflows,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.nonfinite, self.overflows = state["nonfinite"], state["overflows"]
        if state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
