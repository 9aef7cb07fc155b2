"""Supervised pre-training of the tiny backbone on made clips, so that it is worth freezing.

The demo cannot fetch VideoMAE's weights, and a frozen backbone with random ones would show
nothing. Its task is simpler than the demo's (``motion_clips``): which way a shape moves, and its
colour. The file that comes out is one for ``model.pretrained``.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from backend.core.errors import CheckpointError, DataError
from backend.nn.finetune.weights import read_facts, save_weights
from backend.runner.seeds import seed_model
from backend.synthetic.untrimmed import MotionClips, motion_clips
from backend.trainers.adatad.model.backbone import Backbone
from backend.trainers.adatad.model.geometry import SMALL

_MADE_BY = "backend.trainers.adatad.pretraining"


@dataclass(frozen=True)
class Pretraining:
    """``steps`` of AdamW with a linear warm-up and a cosine on ``clips`` clips; ``unseen``
    further ones tell what was learnt."""

    clips: int = 1000
    unseen: int = 200
    steps: int = 300
    batch: int = 32
    lr: float = 2e-3
    warmup: int = 40
    weight_decay: float = 0.05
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup)
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True)
class Pretrained:
    """Weights in a file, and the share of unseen clips of which the motion and the colour were
    named right."""

    path: Path
    motion: float
    colour: float


def pretrained(path: Path, plan: Pretraining = Pretraining()) -> Pretrained:
    """The backbone that ``plan`` gives, as safetensors in ``path``, made unless it is there.

    The same plan gives the same weights on the same machine. Raises DataError for a file that
    something else wrote, and if it cannot be written.
    """
    told = {"made_by": _MADE_BY, "plan": asdict(plan)}
    if not path.is_file():
        with _one_thread():
            task = _Task(plan)
            task.train()
            right = task.right()
        weights = {f"backbone.{name}": one for name, one in task.backbone.state_dict().items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_weights(path, weights, {**told, "right": right})
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error}); choose another home") from error
    return _known(path, told)


def _known(path: Path, told: Mapping[str, object]) -> Pretrained:
    try:
        facts = read_facts(path)
    except CheckpointError:
        facts = {}
    right = facts.get("right")
    if not isinstance(right, dict) or any(facts.get(key) != one for key, one in told.items()):
        raise DataError(f"{path}: is not what this pre-training writes; delete or move it")
    return Pretrained(path, **right)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small tensors take torch ten times as long if their threads wait for a busy core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Task:
    """The tiny backbone with a linear layer on its mean feature: first motions, then colours."""

    def __init__(self, plan: Pretraining) -> None:
        self.plan = plan
        seed_model(plan.seed)
        made = motion_clips(plan.clips + plan.unseen, plan.seed)
        self._frames = torch.from_numpy(made.frames).permute(0, 1, 4, 2, 3)
        self._labels = _labels(made)
        self._sizes = [len(made.motions), len(made.colours)]
        self.backbone = Backbone(replace(SMALL, adapter="none"))
        self._named = nn.Linear(SMALL.width, sum(self._sizes))

    def train(self) -> None:
        """All steps."""
        plan = self.plan
        parameters = [*self.backbone.parameters(), *self._named.parameters()]
        optimizer = torch.optim.AdamW(parameters, plan.lr, weight_decay=plan.weight_decay)
        for step in range(plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(step)
            rows = torch.randint(plan.clips, (plan.batch,))
            motion, colour = self._scores(rows)
            loss = cross_entropy(motion, self._labels[rows, 0])
            loss = loss + cross_entropy(colour, self._labels[rows, 1])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()

    @torch.no_grad()
    def right(self) -> dict[str, float]:
        """The share of unseen clips whose motion and colour are named right."""
        rows = torch.arange(self.plan.clips, self.plan.clips + self.plan.unseen)
        found = torch.stack([one.argmax(1) for one in self._scores(rows)], 1)
        motion, colour = (found == self._labels[rows]).double().mean(0).tolist()
        return {"motion": motion, "colour": colour}

    def _scores(self, rows: Tensor) -> list[Tensor]:
        frames = self._frames[rows]
        valid = torch.ones(frames.shape[:2], dtype=torch.bool)
        features = self.backbone(frames, valid).mean(-1)
        return list(self._named(features).split(self._sizes, 1))


def _labels(made: MotionClips) -> Tensor:
    """(clips, 2): motion and colour."""
    return torch.stack([torch.from_numpy(made.motion), torch.from_numpy(made.colour)], 1)
