"""The network with the loss of a clip: what the Runner trains and a checkpoint holds."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn

from backend.nn.recomputing import recomputed
from backend.trainers.motrv2.batch import Batch, Clip, Frame
from backend.trainers.motrv2.model.criterion import (
    denoising_terms,
    frame_terms,
    per_box,
    summed,
)
from backend.trainers.motrv2.model.denoising import denoising_mask, jittered
from backend.trainers.motrv2.model.geometry import Geometry
from backend.trainers.motrv2.model.interaction import Passing, forget_poor, kept_in_training
from backend.trainers.motrv2.model.matcher import Pairs, assign
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.model.previous import Previous
from backend.trainers.motrv2.model.queries import Found, Queries
from backend.trainers.motrv2.model.transformer import Memory


@dataclass(frozen=True)
class ClipTraining:
    """How clips are trained on.

    ``jitter`` moves the denoising queries of a network that has them; 0 leaves them out.
    ``recompute`` computes each frame but the last again in the backward pass, to save memory.
    ``frozen_eval`` keeps dropout and batch norms out of parts that are frozen as a whole.
    ``still_norms`` trains batch norms with their running statistics: those of a clip, whose
    frames show one place, are far from those of a data set.
    """

    passing: Passing = field(default_factory=Passing)
    jitter: float = 0.05
    recompute: bool = False
    frozen_eval: bool = True
    still_norms: bool = False


@dataclass(frozen=True)
class ClipOutcome:
    """``terms`` by the reference's names, over the clip's boxes and without weights; how many
    queries each frame ``passed`` to the next."""

    terms: dict[str, Tensor]
    passed: tuple[int, ...]


class ClipLearner(Motr):
    """``Motr`` with a loss; no tensor has another name. ``previous`` holds what was replaced."""

    def __init__(self, geometry: Geometry, training: ClipTraining) -> None:
        super().__init__(geometry)
        self.clip_training = training
        self.previous = Previous({})

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted terms to be summed, and ``track_queries``: how many a frame passes on; means
        over the clips."""
        found = [self._clip_loss(clip) for clip in batch.clips]
        return {name: torch.stack([one[name] for one in found]).mean(0) for name in found[0]}

    def _clip_loss(self, clip: Clip) -> dict[str, Tensor]:
        outcome = self.run(clip)
        passed = torch.tensor(outcome.passed or (0,), dtype=torch.float32)
        mean = passed.mean().to(clip[0].image.device)
        return summed(outcome.terms) | {"track_queries": mean}

    def run(self, clip: Clip) -> ClipOutcome:
        """All terms of a clip, frame after frame."""
        terms: dict[str, Tensor] = {}
        passed: list[int] = []
        kept: Queries | None = None
        for index, (frame, memory) in enumerate(zip(clip, self._memories(clip), strict=True)):
            queries = self.new_queries(frame)
            queries = queries.followed_by(kept) if kept is not None else queries
            last = index == len(clip) - 1
            found, denoised = self._look(frame, memory, queries, last)
            queries, pairs = assign(queries, found, frame)
            terms |= frame_terms(index, found, pairs, frame)
            if self._denoises:
                terms |= denoising_terms(index, denoised, frame)
            if not last:
                kept = self._passed(queries, found, pairs[-1])
                passed.append(len(kept))
        return ClipOutcome(per_box(terms.items(), clip, shared=self.training), tuple(passed))

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for parts that are frozen as a whole, and norms that are still."""
        super().train(mode)
        if mode and self.clip_training.frozen_eval:
            _rest(self)
        if mode and self.clip_training.still_norms:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    @property
    def _denoises(self) -> bool:
        return self.geometry.denoising and self.clip_training.jitter > 0

    def _memories(self, clip: Clip) -> list[Memory] | list[None]:
        """The encoded frames; None where each is to be encoded with its queries."""
        frozen = self.prefix_is_frozen
        if self.clip_training.recompute and not frozen:
            return [None] * len(clip)
        with torch.no_grad() if frozen else nullcontext():
            return self._encoded(clip)

    def _encoded(self, clip: Clip) -> list[Memory]:
        """Frames of one size are encoded together."""
        if len({frame.image.shape for frame in clip}) > 1:
            return [self.encode(frame.image[None]) for frame in clip]
        memory = self.encode(torch.stack([frame.image for frame in clip]))
        return [memory.frame(index) for index in range(len(clip))]

    def _look(
        self, frame: Frame, memory: Memory | None, queries: Queries, last: bool
    ) -> tuple[Found, Found]:
        """What the queries find, and the denoising ones."""
        content, anchors, mask = queries.content, queries.anchors, None
        if self._denoises:
            extra = self.refine_embed.weight.expand(len(frame.boxes), -1)
            content = torch.cat([content, extra])
            anchors = torch.cat([anchors, jittered(frame.boxes, self.clip_training.jitter)])
            mask = denoising_mask(len(queries), len(extra), content.device)
        arguments = (frame.image, memory, content, anchors, mask)
        if not self.clip_training.recompute or last or not torch.is_grad_enabled():
            return self._seen(*arguments).split(len(queries))
        found: Found = recomputed(self._seen, self.backbone, *arguments)
        return found.split(len(queries))

    def _seen(
        self,
        image: Tensor,
        memory: Memory | None,
        content: Tensor,
        anchors: Tensor,
        mask: Tensor | None,
    ) -> Found:
        memory = self.encode(image[None]) if memory is None else memory
        return self.decode(memory, content, anchors, mask)

    def _passed(self, queries: Queries, found: Found, pairs: Pairs) -> Queries:
        """The queries of the next frame that come from this one."""
        passing = self.clip_training.passing
        good = found.scores > passing.update_threshold
        if passing.gate == "matched":
            good = good.index_fill(0, pairs.query, True)
        kept = kept_in_training(queries, found, passing)
        staying = forget_poor(queries.taken(kept))
        passed: Queries = self.track_embed(staying, found.taken(kept), good[kept])
        return passed


def _rest(module: nn.Module) -> None:
    """Evaluation mode for what is frozen as a whole: a module by its own parameters, or, without
    any, by those of the nearest module around it that has some."""
    if not any(parameter.requires_grad for parameter in module.parameters()):
        module.eval()
        return
    for child in module.children():
        if any(True for _ in child.parameters()):
            _rest(child)
