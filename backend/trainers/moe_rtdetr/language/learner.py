"""The loss of stage 2: what was not asked for is not there."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from backend.nn.moe.class_losses import Target
from backend.trainers.moe_rtdetr.language.gate import ASKED_FROM, LanguageGate
from backend.trainers.moe_rtdetr.language.teaching import ASKED
from backend.trainers.moe_rtdetr.model.batch import Batch
from backend.trainers.moe_rtdetr.model.criterion import Criterion, asked_targets
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr


def gated_losses(
    network: MoeRtDetr, gate: LanguageGate, criterion: Criterion, batch: Batch
) -> Mapping[str, Tensor]:
    """The losses of stage 1 on the objects asked for, and the gate's own; see ``Prompter``.

    The detection loss does not reach the gate: what a prompt means follows from its words, and a
    detector's false alarms must not teach the gate to doubt a class. Routers are
    balanced on images for which no expert is skipped, see ``load_balance_loss``.
    """
    asked = torch.stack([target[ASKED] for target in batch.targets])
    logits = gate(batch.prompts)
    spoken = torch.tensor([bool(prompt) for prompt in batch.prompts], device=asked.device)
    followed = (spoken & asked.any(1)).unsqueeze(1)
    relevance = logits.detach().sigmoid().where(followed, 1.0)
    chosen = gate.gate(relevance, network.groups, network.call.queries)
    wanted = asked.where(followed, True)
    targets = _asked_only(batch.targets, wanted)
    output = network(batch.images, targets, gate=chosen)
    losses = dict(criterion.losses(output, targets).logged())
    own = gate.config.weight * _relevance_loss(logits, asked, spoken)
    right = ((relevance >= ASKED_FROM) == wanted).all(1).float().mean()
    return losses | {"loss": losses["loss"] + own, "gate_loss": own, "prompt_accuracy": right}


def _asked_only(targets: Sequence[Target], wanted: Tensor) -> list[Target]:
    plain = [
        {name: value for name, value in target.items() if name != ASKED} for target in targets
    ]
    return asked_targets(plain, wanted)


def _relevance_loss(logits: Tensor, asked: Tensor, spoken: Tensor) -> Tensor:
    """Binary cross-entropy over prompts with words; 0 where there is none."""
    each = functional.binary_cross_entropy_with_logits(logits, asked.float(), reduction="none")
    return (each.mean(1) * spoken).sum() / spoken.sum().clamp(min=1)
