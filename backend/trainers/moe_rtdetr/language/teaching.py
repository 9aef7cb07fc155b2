"""What the gate is taught with: prompts alone before the first step, then one per image."""

import random

import torch
from torch.nn import functional

from backend.nn.moe.class_losses import Target
from backend.trainers.moe_rtdetr.language.gate import LanguageGate
from backend.trainers.moe_rtdetr.language.prompts import Prompt, Prompts, asked_rows
from backend.trainers.moe_rtdetr.model.batch import Batch

ASKED = "asked"
"""Where a target holds what its image's prompt asks for, bool [C]; none: an unknown prompt."""

_POOL, _STEPS, _BATCH = 4096, 400, 64
_UNKNOWN = 0.05


def teach(gate: LanguageGate, prompts: Prompts, most_objects: int) -> None:
    """Learn the words before any image is seen; takes seconds with the built-in encoder.

    In the batches of stage 2 alone they come too slowly: after 200 steps of 8 prompts about half
    of the held-out ones are understood, after this nearly all. Randomness is that of ``random``
    and torch. ``most_objects`` are those of the fullest training frame.
    """
    gate.most_objects.fill_(most_objects)
    device = gate.most_objects.device
    drawn = [prompts.any() for _ in range(_POOL)]
    vectors = torch.cat([gate.encoded(some) for some in _texts(drawn)])
    targets = asked_rows(drawn, len(gate.classes)).float().to(device)
    optimizer = torch.optim.Adam(gate.mlp.parameters(), lr=gate.config.lr)
    for _ in range(_STEPS):
        rows = torch.randint(_POOL, (_BATCH,)).to(device)
        logits = gate.mlp(vectors[rows])
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(logits, targets[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    optimizer.zero_grad()


class Prompter:
    """Gives each image of a batch a prompt, in the loader's processes.

    A share ``everything`` asks for all classes, half of them without a word, as detectors are
    used; half of the rest asks for a class that is in the image. Some ask for something else,
    so that the gate keeps telling that apart; it is deaf to them, and everything is looked for.
    """

    def __init__(self, prompts: Prompts, everything: float) -> None:
        self._prompts = prompts
        self._everything = everything

    def __call__(self, batch: Batch) -> Batch:
        """The batch with ``prompts``, and what they ask for in its targets."""
        drawn = [self.draw(target["class_labels"].tolist()) for target in batch.targets]
        rows = asked_rows(drawn, len(self._prompts.classes))
        targets: list[Target] = [
            {**target, ASKED: row} for target, row in zip(batch.targets, rows, strict=True)
        ]
        return batch._replace(targets=targets, prompts=tuple(p.text for p in drawn))

    def draw(self, present: list[int]) -> Prompt:
        """A prompt for an image with these classes in it."""
        if random.random() < self._everything:
            every = self._prompts.everything.asked
            return self._prompts.all() if random.random() < 0.5 else Prompt("", every)
        if random.random() < _UNKNOWN:
            return self._prompts.unknown()
        wanted = random.choice(sorted(set(present))) if present and random.random() < 0.5 else None
        return self._prompts.asking(wanted)


def _texts(prompts: list[Prompt]) -> list[list[str]]:
    """In batches, which a text model needs."""
    texts = [prompt.text for prompt in prompts]
    return [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
