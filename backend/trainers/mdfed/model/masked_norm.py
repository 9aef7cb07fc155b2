"""Batch norm that sees only frames that are there."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch norm over channels last; frames that are not valid come out as zeros.

    They do not count in the statistics, so padding changes nothing, whatever stands in it.
    """

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """``x`` (..., C) with ``valid`` (leading axes of x) bool."""
        assert valid is not None
        rows = x[valid]
        flat = rows.reshape(-1, x.shape[-1])
        if self.training and len(flat) < 2:  # one row has no variance
            known = functional.batch_norm(
                flat, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        else:
            known = super().forward(flat)
        out = torch.zeros(x.shape, dtype=known.dtype, device=x.device)
        out[valid] = known.reshape(rows.shape)
        return out
