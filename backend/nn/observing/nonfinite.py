"""Where a value that is no number came from; looked for only once there is one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def lost_input(batch: Any, name: str = "batch") -> str | None:
    """The first tensor of a batch with a value that is no number, as ``field`` or ``field.field``;
    batches are mappings, sequences, named tuples and dataclasses of tensors."""
    if isinstance(batch, Tensor):
        return None if _finite(batch) else name
    for key, value in _fields(batch):
        found = lost_input(value, key if name == "batch" else f"{name}.{key}")
        if found is not None:
            return found
    return None


def lost_gradient(model: nn.Module) -> str | None:
    """The module nearest to the output with a gradient that is no number: there it arose, and
    the gradients of all that come before follow from it."""
    return _last(model, [(n, p.grad) for n, p in model.named_parameters() if p.grad is not None])


def lost_parameter(model: nn.Module) -> str | None:
    """The module nearest to the output with a parameter that is no number."""
    return _last(model, list(model.named_parameters()))


def lost_part(losses: Mapping[str, Tensor], total: str) -> str | None:
    """The first part of a loss that is no number; ``total`` if only that is none."""
    lost = [name for name, value in losses.items() if not _finite(value)]
    return next((name for name in lost if name != total), lost[0] if lost else None)


def names_of(batch: Any) -> tuple[str, ...]:
    """What a batch says its samples are called: its ``names``; empty if it does not say."""
    names = batch.get("names") if isinstance(batch, Mapping) else getattr(batch, "names", ())
    if isinstance(names, str) or not isinstance(names, Sequence):
        return ()
    return tuple(str(name) for name in names)


def _last(model: nn.Module, tensors: Sequence[tuple[str, Tensor]]) -> str | None:
    name = next((name for name, tensor in reversed(tensors) if not _finite(tensor)), None)
    return None if name is None else name.rpartition(".")[0] or type(model).__name__


def _fields(batch: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(batch, Mapping):
        return ((str(key), value) for key, value in batch.items())
    if isinstance(batch, tuple) and hasattr(batch, "_asdict"):
        return batch._asdict().items()  # type: ignore[no-any-return]
    if isinstance(batch, list | tuple):
        return ((str(at), value) for at, value in enumerate(batch))
    return vars(batch).items() if hasattr(batch, "__dataclass_fields__") else ()


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
