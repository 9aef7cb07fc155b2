"""A part of a large tensor in place of all of it: the same elements each time."""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

LIMIT = 2**16
"""Elements of a tensor up to which it is looked at whole."""


def sampled(tensor: Tensor) -> Tensor:
    """At most ``LIMIT`` elements at even distances; a small tensor as it is. A view, if the
    tensor is contiguous."""
    tensor = tensor.detach()
    if tensor.numel() <= LIMIT:
        return tensor
    return tensor.reshape(-1)[:: _stride(tensor)]


def scales(tensors: Sequence[Tensor]) -> Tensor:
    """What the norm of each sample is to be multiplied by; float64 [n], on the CPU."""
    kept = [math.ceil(t.numel() / _stride(t)) for t in tensors]
    ratios = [t.numel() / max(k, 1) for t, k in zip(tensors, kept, strict=True)]
    return torch.tensor(ratios, dtype=torch.float64).sqrt()


def norms(tensors: Sequence[Tensor], order: int = 2) -> Tensor:
    """The norm of each tensor; float64 [n], where the tensors are."""
    exact = functools.reduce(torch.promote_types, (t.dtype for t in tensors), torch.float32)
    found = torch._foreach_norm(list(tensors), order, dtype=exact)
    return torch.stack(list(found)).double()


def _stride(tensor: Tensor) -> int:
    return max(math.ceil(tensor.numel() / LIMIT), 1)
