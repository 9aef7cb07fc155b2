"""The losses of specs/mdfed.md, 3.2, as sums and weights.

A training steps on the mean of each batch, a validation reports the mean over all its frames.
Both come from the same sums, and what is not a number stays so: nothing is left out in silence.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.model.context import Refined
from backend.trainers.mdfed.model.network import Outputs
from backend.trainers.mdfed.spec import LossConfig

TOTAL = "loss"
_TINY = 1e-12  # keeps the gradient of a power finite where nothing is left to learn


class Term(NamedTuple):
    """What was lost in all, and the weight that it is divided by."""

    lost: Tensor
    weight: Tensor

    def mean(self) -> Tensor:
        """0 where there was nothing to lose: no event, or no frame that is there."""
        return self.lost / torch.where(self.weight > 0, self.weight, 1)


class Criterion(nn.Module):
    """Terms of each part of the loss, and their total.

    ``positive`` (K,) weighs the presence of an element. ``loss.focal_gamma`` turns the cross
    entropies of all parts into focal ones (Lin et al., 2017); 0 leaves them as they are.
    """

    def __init__(self, loss: LossConfig, positive: Tensor) -> None:
        super().__init__()
        self.loss = loss
        self.register_buffer("positive", positive.float(), persistent=False)

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """By name: ``lcl_loss``, ``mlc_loss`` and, with a context module, ``ctx_loss``."""
        terms = {
            "lcl_loss": self._lcl(outputs.event_logits, batch),
            "mlc_loss": self._mlc(outputs.element_logits, batch),
        }
        if outputs.refined is not None:
            terms["ctx_loss"] = self._ctx(outputs.refined, batch)
        return terms

    def means(self, terms: Mapping[str, Term]) -> dict[str, Tensor]:
        """The mean of each part, and the weighted total under ``loss``."""
        means = {name: term.mean() for name, term in terms.items()}
        weighted = [self._share(name) * mean for name, mean in means.items()]
        return {**means, TOTAL: torch.stack(weighted).sum()}

    def _share(self, name: str) -> float:
        share: float = getattr(self.loss, name.removesuffix("_loss"))
        return share

    def _lcl(self, logits: Tensor, batch: Batch) -> Term:
        """Of valid frames; an event's frame weighs ``fg_weight``."""
        event = batch.coarse[batch.valid]
        lost = functional.cross_entropy(logits[batch.valid].float(), event, reduction="none")
        weight = torch.where(event == 1, self.loss.fg_weight, 1.0)
        return Term((weight * self._focused(lost)).sum(), weight.sum())

    def _mlc(self, logits: Tensor, batch: Batch) -> Term:
        """Of labelled frames."""
        labelled = batch.valid & (batch.coarse == 1)
        return self._bits(logits[labelled], batch.fine[labelled])

    def _ctx(self, refined: Refined, batch: Batch) -> Term:
        """Of the events that the context module saw."""
        at, exist = refined.events
        fine = batch.fine.gather(1, at[..., None].expand(-1, -1, batch.fine.shape[2]))
        return self._bits(refined.logits[exist], fine[exist])

    def _bits(self, logits: Tensor, fine: Tensor) -> Term:
        lost = functional.binary_cross_entropy_with_logits(
            logits.float(), fine.float(), reduction="none"
        )
        weight = torch.where(fine > 0, self.get_buffer("positive"), 1.0)
        number = torch.tensor(float(fine.numel()), device=lost.device)
        return Term((weight * self._focused(lost)).sum(), number)

    def _focused(self, lost: Tensor) -> Tensor:
        """Times ``(1 - p)^gamma``, p being the probability of what is true."""
        gamma = self.loss.focal_gamma
        if not gamma:
            return lost
        return lost * (-torch.expm1(-lost)).clamp(min=_TINY) ** gamma


class LossSums:
    """Losses over many batches, however they were cut."""

    def __init__(self, criterion: Criterion) -> None:
        self._criterion = criterion
        self._sums: dict[str, Term] = {}

    def add(self, terms: Mapping[str, Term]) -> None:
        """Take a batch in. Sums are kept in float64."""
        for name, term in terms.items():
            lost, weight = (value.detach().double().cpu() for value in term)
            if name in self._sums:
                lost, weight = lost + self._sums[name].lost, weight + self._sums[name].weight
            self._sums[name] = Term(lost, weight)

    def means(self) -> dict[str, float]:
        """Of each part and in total; empty before the first batch."""
        if not self._sums:
            return {}
        return {name: float(value) for name, value in self._criterion.means(self._sums).items()}
