"""The checkpoints of a run: which are kept, and which is the best."""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from backend.core.digest import sha256
from backend.core.events import CheckpointRemoved, CheckpointSaved
from backend.core.records import Checkpoint
from backend.core.trainer import Emit
from backend.nn.finetune.weights import parse_facts, read_facts, save_weights
from backend.trainers.yolo.model import Facts
from backend.trainers.yolo.spec import SPEC

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Kept:
    """A checkpoint on disk. ``score`` is None if its epoch was not validated."""

    path: Path
    sha256: str
    epoch: int
    score: float | None


class Keeper:
    """Keeps the best, the last and each ``save_period``-th checkpoint; deletes the others."""

    def __init__(self, work_dir: Path, emit: Emit, save_period: int) -> None:
        self._work_dir = work_dir
        self._emit = emit
        self._period = save_period
        self._kept: list[Kept] = []

    @property
    def best(self) -> Kept | None:
        """The first of those with the highest score."""
        scored = [(kept.score, kept) for kept in self._kept if kept.score is not None]
        return max(scored, key=lambda pair: (pair[0], -pair[1].epoch))[1] if scored else None

    def wants(self, epoch: int, validated: bool) -> bool:
        """Is a checkpoint due after this epoch?"""
        return validated or self._periodic(epoch)

    def has(self, epoch: int) -> bool:
        """Is this epoch's checkpoint on disk?"""
        return any(kept.epoch == epoch for kept in self._kept)

    def save(self, state: Mapping[str, Tensor], facts: Facts) -> None:
        """Write a checkpoint, tell of it, and delete what it supersedes. Raises OSError."""
        folder = self._work_dir / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"epoch-{facts.epoch:03d}.safetensors"
        strict = json.loads(facts.model_dump_json())  # a loss may be NaN, which JSON has not
        digest = save_weights(path, state, strict)
        self._kept.append(Kept(path, digest, facts.epoch, facts.metrics.get(SPEC.headline)))
        best = self.best
        checkpoint = Checkpoint(
            path=self.relative(path),
            sha256=digest,
            step=facts.step,
            epoch=facts.epoch,
            metrics=facts.metrics,
        )
        self._emit(
            CheckpointSaved(checkpoint=checkpoint, best=best is not None and best.path == path)
        )
        self._remove(lambda kept: not self._worth_keeping(kept))

    def find(self, epoch: int) -> None:
        """Take up what an interrupted run left, up to and with ``epoch``; delete what is later.

        Raises CheckpointError.
        """
        for path in (self._work_dir / FOLDER).glob("epoch-*.safetensors"):
            facts = parse_facts(Facts, SPEC.kind, path, read_facts(path))
            score = facts.metrics.get(SPEC.headline)
            self._kept.append(Kept(path, sha256(path), facts.epoch, score))
        self._kept.sort(key=lambda kept: kept.epoch)
        self._remove(lambda kept: kept.epoch > epoch)

    def relative(self, path: Path) -> str:
        """As events name it."""
        return path.relative_to(self._work_dir).as_posix()

    def _periodic(self, epoch: int) -> bool:
        return self._period > 0 and epoch % self._period == 0

    def _worth_keeping(self, kept: Kept) -> bool:
        return kept in (self.best, self._kept[-1]) or self._periodic(kept.epoch)

    def _remove(self, doomed: Callable[[Kept], bool]) -> None:
        for kept in [kept for kept in self._kept if doomed(kept)]:
            with contextlib.suppress(FileNotFoundError):
                kept.path.unlink()
            kept.path.with_suffix(".json").unlink(missing_ok=True)
            self._kept.remove(kept)
            self._emit(CheckpointRemoved(path=self.relative(kept.path), sha256=kept.sha256))
