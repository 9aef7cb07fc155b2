"""What a gate makes of a prompt, and what it then costs to answer."""

import torch
from torch import Tensor, nn

from backend.trainers.moe_rtdetr.language.evaluation import Accuracy, Question, Understanding
from backend.trainers.moe_rtdetr.language.gate import ASKED_FROM, LanguageGate
from backend.trainers.moe_rtdetr.language.prompts import Prompts
from backend.trainers.moe_rtdetr.model.cost import gflops
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.outputs import Gate, Output


def questions(prompts: Prompts) -> tuple[Question, ...]:
    """One for each class, each group, and everything."""
    names = [phrase.name for phrase in prompts.classes]
    return tuple(
        Question(
            phrase.name,
            f"find the {phrase.of(chinese=False)[0]}",
            tuple(names[label] for label in sorted(phrase.asked)),
        )
        for phrase in prompts.phrases
    )


def accuracy(gate: LanguageGate, prompts: Prompts) -> Accuracy:
    """On prompts in templates that are not trained on."""
    held_out = prompts.held_out()
    return Accuracy(gate.understood(held_out), len(held_out))


@torch.no_grad()
def understanding(
    network: MoeRtDetr, gate: LanguageGate, image_size: tuple[int, int], prompt: str | None
) -> Understanding:
    """For an image of height x width; None: without a prompt. Raises ConfigError."""
    if prompt is None:
        return Understanding(gate.classes, gflops=gflops(network, image_size))
    chosen = gate.gate_of([prompt], network.groups, network.call.queries)
    asked = (chosen.relevance[0] >= ASKED_FROM).tolist()
    allowed = [True] * len(network.experts)
    if chosen.allowed is not None:
        allowed = chosen.allowed[0].tolist()
    return Understanding(
        classes=tuple(name for name, yes in zip(gate.classes, asked, strict=True) if yes),
        skipped=tuple(name for name, yes in zip(network.experts, allowed, strict=True) if not yes),
        gflops=gflops(_Asked(network, chosen), image_size),
    )


class _Asked(nn.Module):
    """The network with a gate, as something that takes images only."""

    def __init__(self, network: MoeRtDetr, gate: Gate) -> None:
        super().__init__()
        self.network = network
        self._gate = gate

    def forward(self, images: Tensor) -> Output:
        output: Output = self.network(images, gate=self._gate)
        return output
