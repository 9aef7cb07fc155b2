"""The loss of clips outside of training: the same number whenever it is taken."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from backend.nn.observing.probing import undisturbed
from backend.trainers.motrv2.batch import Clip
from backend.trainers.motrv2.model.criterion import summed
from backend.trainers.motrv2.model.learner import ClipLearner


@torch.no_grad()
def clip_losses(learner: ClipLearner, clips: Iterable[Clip]) -> dict[str, float]:
    """The mean over clips of ``loss`` and its parts, of a learner in evaluation mode.

    Each clip's denoising queries are drawn from its own seed, and no track query is dropped.
    Empty without clips.
    """
    device = learner.position.weight.device
    found: dict[str, list[float]] = {}
    with undisturbed(device), _plain(learner):
        for place, clip in enumerate(clips):
            torch.manual_seed(place)
            outcome = learner.run(tuple(frame.to(device) for frame in clip))
            for name, value in summed(outcome.terms).items():
                found.setdefault(name, []).append(float(value))
    parts = {name: float(np.mean(values)) for name, values in found.items()}
    return {"loss": sum(parts.values()), **parts} if parts else {}


@contextmanager
def _plain(learner: ClipLearner) -> Iterator[None]:
    """Without what training draws and what it does to save memory."""
    training = learner.clip_training
    passing = replace(training.passing, drop=0.0, insert=0.0)
    learner.clip_training = replace(training, passing=passing, recompute=False)
    try:
        yield
    finally:
        learner.clip_training = training
