"""What moved between two looks, compared with the plan of what is frozen.

The plan is what was decided, not what ``requires_grad`` says: that the two differ is what is
looked for.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import Optimizer

from backend.core.events import MovementObserved
from backend.core.evidence import GroupMovement
from backend.nn.finetune.freezing import Snapshot
from backend.nn.observing.sampling import norms, sampled, scales

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Movement:
    """Looks at a model from training step ``since`` on.

    ``frozen`` are the parameters that are planned frozen, ``start`` the model as training began
    (its frozen tensors and buffers are compared bit by bit). The rest is compared with the last
    look by a sum over the bits of each tensor, and by a sample of the large ones. Learning rates
    are read as the optimizer steps: a schedule moves on in between.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        frozen: Collection[str],
        part_of: Callable[[str], str],
        start: Snapshot,
        since: int = 0,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._frozen_modules = frozen_modules(model, frozen)
        self._start = start
        self._since = since
        named = dict(model.named_parameters())
        self._parameters = list(named.values())
        groups: dict[tuple[str, Literal["trainable", "frozen"]], list[int]] = {}
        for at, name in enumerate(named):
            planned: Literal["trainable", "frozen"] = "frozen" if name in frozen else "trainable"
            groups.setdefault((part_of(name), planned), []).append(at)
        self._groups = groups
        self._scales = scales(self._parameters)
        self._bits, self._samples = self._state()
        self._rates: dict[int, float] = {}
        self._hook = optimizer.register_step_pre_hook(self._stepping)

    def end(self) -> None:
        """Look no more."""
        self._hook.remove()

    @torch.no_grad()
    def look(self, step: int) -> MovementObserved:
        """What moved since the last look, or since ``since``."""
        bits, samples = self._state()
        changed = (bits != self._bits).tolist()
        moved, was = (
            (norms(tensors).cpu() * self._scales).square()
            for tensors in (torch._foreach_sub(samples, self._samples), self._samples)
        )
        held = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
        groups = []
        for (part, planned), places in self._groups.items():
            inside = [self._parameters[at] for at in places]
            moving = [self._rates.get(id(p), 0.0) for p in inside if id(p) in held]
            groups.append(
                GroupMovement(
                    name=part,
                    planned=planned,
                    tensors=len(inside),
                    requires_grad=sum(p.requires_grad for p in inside),
                    in_optimizer=len(moving),
                    changed=sum(changed[at] for at in places),
                    change=_ratio(moved[places], was[places]),
                    rate=max(moving, default=1.0),
                )
            )
        since, self._since, self._bits, self._samples = self._since, step, bits, samples
        self._rates = {}
        return MovementObserved(
            step=step,
            since=since,
            groups=tuple(groups),
            thawed=self._start.thawed(self._model),
            training=in_training(self._frozen_modules),
        )

    @torch.no_grad()
    def _state(self) -> tuple[Tensor, list[Tensor]]:
        return fingerprints(self._parameters), [sampled(p).clone() for p in self._parameters]

    def _stepping(self, *_: Any) -> None:
        """Each moved parameter's learning rate as a share of its peak: the highest of the steps
        since the last look."""
        for group in self._optimizer.param_groups:
            rate = group["lr"] / (group.get("initial_lr") or group["lr"] or 1.0)
            for parameter in group["params"]:
                self._rates[id(parameter)] = max(rate, self._rates.get(id(parameter), 0.0))


def fingerprints(tensors: Collection[Tensor]) -> Tensor:
    """A number for each tensor that differs if one element of it does; int64 [n]."""
    return torch.stack([_bits(t.detach()).sum(dtype=torch.int64) for t in tensors])


def frozen_modules(model: nn.Module, frozen: Collection[str]) -> dict[str, nn.Module]:
    """The outermost modules whose parameters are all ``frozen``, by name."""
    found: dict[str, nn.Module] = {}
    inside = ""
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        own = [f"{name}.{key}" if name else key for key, _ in module.named_parameters()]
        if own and all(key in frozen for key in own):
            if not name:
                return {"the whole model": module}
            inside = f"{name}."
            found[name] = module
    return found


def in_training(modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Those that have a batch norm or a dropout (also an RNN's) in training mode."""
    return tuple(
        name
        for name, module in modules.items()
        if any(_active(layer) for layer in module.modules())
    )


def _active(layer: nn.Module) -> bool:
    if isinstance(layer, _NormBase):
        return layer.training and layer.track_running_stats
    share = getattr(layer, "p" if isinstance(layer, _DropoutNd) else "dropout", 0)
    return layer.training and isinstance(share, float | int) and share > 0


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(BITS[tensor.element_size()])


def _ratio(moved: Tensor, was: Tensor) -> float | None:
    """The norm of the change over the norm before; None where there was nothing."""
    before = float(was.sum())
    return (float(moved.sum()) / before) ** 0.5 if before > 0 else None
