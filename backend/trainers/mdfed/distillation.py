"""Stage 2: a network that sees frames learns to feel what one that sees skeletons feels.

No labels are used (specs/mdfed.md, 3.4). Both agree in the features that the classifiers see, so
the teacher's classifiers serve the student as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from backend.core.errors import CheckpointError
from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.checkpoint import Saved
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.losses import TOTAL, Criterion, Term
from backend.trainers.mdfed.model.network import MdFed, Outputs, build_network
from backend.trainers.mdfed.parts import HEADS
from backend.trainers.mdfed.spec import LossConfig, MdFedConfig
from backend.trainers.mdfed.weights import load

DISTILL = "distill_loss"


class Distillation(Criterion):
    """How far the student's features are from those of ``teacher``.

    The teacher is frozen and stays in evaluation mode: otherwise its batch norms would drift and
    its dropout would blur what is to be learnt.
    """

    def __init__(self, teacher: MdFed) -> None:
        super().__init__(LossConfig(), torch.ones(teacher.mlc.out_features))
        self.teacher = teacher.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """The teacher's mode never changes."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Squared differences in valid frames, and how many values there are."""
        assert outputs.features is not None
        with torch.no_grad():
            wanted = self.teacher.features(batch)
        away = (outputs.features.float() - wanted.float())[batch.valid]
        number = torch.tensor(float(away.numel()), device=away.device)
        return {DISTILL: Term(away.square().sum(), number)}

    def means(self, terms: Mapping[str, Term]) -> dict[str, Tensor]:
        """Their mean, which is all of the loss."""
        mean = terms[DISTILL].mean()
        return {DISTILL: mean, TOTAL: mean}


def distiller(config: MdFedConfig, saved: Saved, elements: Sequence[str]) -> Learner:
    """A fresh student with the classifiers of a teacher of stage 1, and the distance to learn.

    Raises CheckpointError if the teacher's features or elements are others than the student's.
    """
    _require_same(config, saved, elements)
    student = build_network(config, len(elements))
    teacher = build_network(saved.fitting(config), len(elements))
    load(teacher, saved, elements)
    lend_heads(student, teacher)
    return Learner(student, Distillation(teacher))


def lend_heads(student: MdFed, teacher: MdFed) -> None:
    """Give the student the teacher's classifiers, frozen, so that it can be evaluated."""
    for name in HEADS:
        head, known = getattr(student, name), getattr(teacher, name)
        if known is not None:
            head.load_state_dict(known.state_dict())
            head.requires_grad_(False)


def _require_same(config: MdFedConfig, saved: Saved, elements: Sequence[str]) -> None:
    if tuple(elements) != saved.elements:
        other = sorted(set(elements) ^ set(saved.elements)) or ["their order"]
        raise CheckpointError(
            f"{saved.path}: the teacher knows other elements than {config.data} "
            f"({', '.join(other[:5])}); distil on data with its elements.txt"
        )
    for key in ("preset", "context"):
        teachers, students = getattr(saved.model, key), getattr(config.model, key)
        if teachers != students:
            raise CheckpointError(
                f"{saved.path}: the teacher has model.{key}={teachers}, the student {students}; "
                f"set model.{key}={teachers}"
            )
