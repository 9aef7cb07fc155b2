"""Carry weights into another model as far as they fit, and say what did not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Rows = Mapping[str, Sequence[int | None]]


@dataclass(frozen=True)
class TransferReport:
    """Tensor names by what happened to them.

    ``missing`` are the model's that the source has not, ``unexpected`` the reverse,
    ``mismatched`` have another shape, ``partial`` got only some of their rows.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    partial: tuple[str, ...]

    @property
    def fresh(self) -> tuple[str, ...]:
        """Tensors that keep random values, wholly or in part."""
        return tuple(sorted({*self.missing, *self.mismatched, *self.partial}))


def transfer(
    model: nn.Module, source: Mapping[str, Tensor], rows: Rows | None = None
) -> TransferReport:
    """Copy tensors of equal name and shape from ``source`` into ``model``.

    ``rows`` maps a tensor's name to the source row for each of its rows (None: leave it), for
    outputs whose classes have moved.
    """
    rows = rows or {}
    loaded: list[str] = []
    mismatched: list[str] = []
    partial: list[str] = []
    target = model.state_dict()
    with torch.no_grad():
        for name in target.keys() & source.keys():
            if name in rows and target[name].shape[1:] == source[name].shape[1:]:
                whole = _copy_rows(target[name], source[name], rows[name])
                (loaded if whole else partial).append(name)
            elif target[name].shape == source[name].shape:
                target[name].copy_(source[name])
                loaded.append(name)
            else:
                mismatched.append(name)
    return TransferReport(
        loaded=tuple(sorted(loaded)),
        missing=tuple(sorted(target.keys() - source.keys())),
        unexpected=tuple(sorted(source.keys() - target.keys())),
        mismatched=tuple(sorted(mismatched)),
        partial=tuple(sorted(partial)),
    )


def _copy_rows(target: Tensor, source: Tensor, rows: Sequence[int | None]) -> bool:
    for ours, theirs in enumerate(rows):
        if theirs is not None:
            target[ours].copy_(source[theirs])
    return None not in rows
