"""How far each layer's weights moved between two checkpoints. numpy only, nothing unpickled.

Buffers (batch norm's running statistics) move without a gradient, also in layers whose weights
are frozen, so they are told apart from weights and a layer is identical only with them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from backend.core.comparisons import LayerChange
from backend.core.errors import CheckpointError

Tensor = NDArray[np.generic]

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_BUFFER_TYPES = (np.int64, np.int32, np.bool_)


def weights_moved(baseline: Path, candidate: Path) -> tuple[LayerChange, ...]:
    """Compare two .safetensors files layer by layer, in the order of the model.

    A layer is the name up to its first number (``model.4.cv1.conv.weight`` is ``model.4``).
    Buffers (running statistics by name, wide integers and flags by type) are not
    weights: they are left out of ``parameters`` and ``relative``, counted, and named where they
    differ.
    16-bit weights are compared in double precision. Raises CheckpointError.
    """
    old, new = _read(baseline), _read(candidate)
    layers: dict[str, _Layer] = {}
    for name in sorted(old.keys() | new.keys(), key=_natural):
        layer = layers.setdefault(layer_of(name), _Layer())
        layer.add(name, old.get(name), new.get(name))
    return tuple(layer.change(name) for name, layer in layers.items())


def layer_of(name: str) -> str:
    """The layer that a tensor belongs to: up to the first number, else all but the last part."""
    parts = name.split(".")
    for position, part in enumerate(parts):
        if part.isdecimal():
            return ".".join(parts[: position + 1])
    return ".".join(parts[:-1]) or name


def summary(changes: Sequence[LayerChange]) -> str:
    """All layers in a sentence; empty where no weights were compared.

    Counts the layers that are proven equal to the bit with their buffers, and those whose
    weights stood still while their buffers moved, as in a frozen layer that was left in
    training mode.
    """
    if not changes:
        return ""
    identical = sum(change.identical for change in changes)
    drifted = sum(change.relative == 0 and not change.identical for change in changes)
    moved = [change for change in changes if change.relative]
    parts = [f"{identical} of {len(changes)} layers are equal to the bit, buffers included"]
    if drifted:
        parts.append(f"{drifted} kept their weights while their buffers or number format changed")
    if moved:
        most = max(moved, key=lambda change: change.relative or 0.0)
        parts.append(f"{len(moved)} moved, most {most.layer} by {most.relative:.1%}")
    other = len(changes) - identical - drifted - len(moved)
    if other:
        parts.append(f"{other} could not be compared")
    return "; ".join(parts) + "."


@dataclass
class _Layer:
    """Sums over the tensors of one layer."""

    parameters: int = 0
    moved: float = 0.0
    before: float = 0.0
    compared: int = 0
    same_bits: bool = True
    buffers: int = 0
    buffers_moved: list[str] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)  # in order, each once

    def add(self, name: str, old: Tensor | None, new: Tensor | None) -> None:
        """Take in one tensor; None where a checkpoint has none of this name."""
        same = old is not None and new is not None and _equal(old, new)
        if _is_buffer(name, new if old is None else old):
            self.buffers += 1
            self.buffers_moved += [] if same else [name]
            return
        self.same_bits &= same
        self.parameters += max(side.size for side in (old, new) if side is not None)
        if old is None or new is None:
            self.notes[f"{name} is only in the {'candidate' if old is None else 'baseline'}"] = (
                None
            )
        elif old.shape != new.shape:
            self.notes[f"{name} has shape {_shape(old)} and {_shape(new)}"] = None
        else:
            self._measure(old, new)

    def _measure(self, old: Tensor, new: Tensor) -> None:
        if old.dtype != new.dtype:
            self.notes[f"stored as {old.dtype} and {new.dtype}"] = None
        wide_old, wide_new = old.astype(np.float64), new.astype(np.float64)
        self.moved += float(np.square(wide_new - wide_old).sum())
        self.before += float(np.square(wide_old).sum())
        self.compared += 1

    def change(self, layer: str) -> LayerChange:
        """What the sums say."""
        notes = list(self.notes)
        identical = self.same_bits and not self.buffers_moved
        if self.buffers_moved:
            weights = "weights equal to the bit, but " if self.same_bits and self.compared else ""
            notes.append(f"{weights}{len(self.buffers_moved)} of {self.buffers} buffers differ")
        elif identical:
            notes.append("equal to the bit")
        relative = None
        if self.compared and not math.isfinite(self.moved + self.before):
            notes.append("weights are not finite")
        elif self.moved == 0 and self.compared:
            relative = 0.0
        elif self.before > 0:
            relative = math.sqrt(self.moved / self.before)
        elif self.compared:
            notes.append("all old weights are zero")
        return LayerChange(
            layer=layer,
            parameters=self.parameters,
            relative=relative,
            note="; ".join(notes),
            buffers=self.buffers,
            buffers_moved=tuple(self.buffers_moved),
            identical=identical,
        )


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: weights are compared between .safetensors files only, which hold no code"
        )
    try:
        parts = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]  # ships no types
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such weight file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file ({error})") from None
    return dict(_tensors(parts, path))


def _tensors(
    parts: Sequence[tuple[str, dict[str, Any]]], path: Path
) -> Iterator[tuple[str, Tensor]]:
    for name, view in parts:
        data, shape, dtype = view["data"], view["shape"], str(view["dtype"])
        if dtype == "BF16":  # the upper half of a 32-bit float, which numpy does not know
            raw = np.frombuffer(data, dtype=np.uint16).astype(np.uint32) << 16
            yield name, raw.view(np.float32).reshape(shape)
        elif dtype in _DTYPES:
            yield name, np.frombuffer(data, dtype=_DTYPES[dtype]).reshape(shape)
        else:
            raise CheckpointError(f"{path}: tensor {name} has the type {dtype}, unknown to Assay")


def _is_buffer(name: str, tensor: Tensor | None) -> bool:
    return name.endswith(_BUFFERS) or (tensor is not None and tensor.dtype in _BUFFER_TYPES)


def _equal(old: Tensor, new: Tensor) -> bool:
    return old.shape == new.shape and old.dtype == new.dtype and old.tobytes() == new.tobytes()


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort ``model.10`` after ``model.9``."""
    return tuple(
        (part.isdecimal(), int(part), "") if part.isdecimal() else (False, 0, part)
        for part in name.split(".")
    )
