"""The checkpoints of a run: which are kept, and which is the best."""

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from backend.core.digest import sha256
from backend.core.events import CheckpointRemoved, CheckpointSaved
from backend.core.records import Checkpoint, Direction, Record
from backend.core.trainer import Emit
from backend.nn.finetune.weights import read_facts, save_weights
from backend.runner.states import share

FOLDER = "checkpoints"


class Measured(Record):
    """What the seam adds to a checkpoint's facts. ``ema``: are the weights averaged?"""

    step: int
    epoch: int
    metrics: dict[str, float]
    ema: bool


@dataclass(frozen=True)
class Kept:
    """A checkpoint on disk. ``rank`` (the higher the better: the headline, then the tie-break) is
    None if it has no headline that is a number."""

    path: Path
    sha256: str
    step: int
    rank: tuple[float, float] | None
    wanted: bool


class Keeper:
    """Keeps the best, the last and each ``wanted`` checkpoint; ``prune`` deletes the others.

    ``tie`` is a metric, the lower the better, that decides between equal headline values.
    """

    def __init__(
        self, work_dir: Path, emit: Emit, headline: str, direction: Direction, tie: str = ""
    ) -> None:
        self._work_dir = work_dir
        self._emit = emit
        self._headline = headline
        self._tie = tie
        self._sign = 1 if direction == "maximize" else -1
        self._kept: list[Kept] = []

    @property
    def best(self) -> Kept | None:
        """The first of those with the best rank."""
        ranked = [(kept.rank, kept) for kept in self._kept if kept.rank is not None]
        return max(ranked, key=lambda pair: (pair[0], -pair[1].step))[1] if ranked else None

    @property
    def chosen(self) -> Kept | None:
        """The best, or the last if none has a score."""
        return self.best or (self._kept[-1] if self._kept else None)

    def improves(self, metrics: Mapping[str, float]) -> bool:
        """Would these be the best?"""
        rank, best = self._rank(metrics), self.best
        if rank is None:
            return False
        return best is None or best.rank is None or rank > best.rank

    def save(
        self,
        weights: Mapping[str, Tensor],
        facts: Mapping[str, object],
        measured: Measured,
        wanted: bool,
    ) -> None:
        """Write a checkpoint and tell of it. Raises OSError; the earlier ones are still there."""
        path = self._work_dir / FOLDER / f"step-{measured.step:07d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        strict = json.loads(measured.model_dump_json())  # a metric may be NaN, which JSON has not
        digest = save_weights(path, weights, {**facts, **strict, "wanted": wanted})
        rank = self._rank(measured.metrics)
        self._kept.append(Kept(path, digest, measured.step, rank, wanted))
        self._tell(measured)

    def prune(self) -> None:
        """Delete what better or later ones supersede."""
        self._remove(
            lambda kept: not (kept.wanted or kept in (self.best, self.chosen, self._kept[-1]))
        )

    def find(self, step: int) -> None:
        """Take up what an interrupted run left, up to and with ``step``; delete what is later.

        Later is also what it saved before its first state. Raises CheckpointError.
        """
        for path in sorted((self._work_dir / FOLDER).glob("step-*.safetensors")):
            self._take(path)
        self._remove(lambda kept: kept.step > step)
        self.prune()

    def take_over(self, start: Path) -> None:
        """Make those in the folder ``start``, of the run that this one continues, its own, and
        tell of them. Raises CheckpointError and OSError."""
        folder = self._work_dir / FOLDER
        folder.mkdir(exist_ok=True)
        for source in sorted(start.glob("step-*.safetensors")):
            path = folder / source.name
            if path in {kept.path for kept in self._kept}:  # of an attempt that was interrupted
                continue
            share(source.with_suffix(".json"), path.with_suffix(".json"))
            share(source, path)
            self._tell(self._take(path))

    @property
    def files(self) -> list[Path]:
        """What an exact continuation needs of them: the best and the last, with their facts."""
        needed = dict.fromkeys(kept.path for kept in (self.chosen, *self._kept[-1:]) if kept)
        return [file for path in needed for file in (path, path.with_suffix(".json"))]

    def relative(self, path: Path) -> str:
        """As events name it."""
        return path.relative_to(self._work_dir).as_posix()

    def _take(self, path: Path) -> Measured:
        facts = read_facts(path)
        measured = Measured.model_validate({k: facts[k] for k in Measured.model_fields})
        rank, wanted = self._rank(measured.metrics), bool(facts["wanted"])
        self._kept.append(Kept(path, sha256(path), measured.step, rank, wanted))
        return measured

    def _tell(self, measured: Measured) -> None:
        """Of the checkpoint that was added last."""
        added, best = self._kept[-1], self.best
        checkpoint = Checkpoint(
            path=self.relative(added.path),
            sha256=added.sha256,
            step=measured.step,
            epoch=measured.epoch,
            metrics=measured.metrics,
        )
        self._emit(CheckpointSaved(checkpoint=checkpoint, best=best is added))

    def _rank(self, metrics: Mapping[str, float]) -> tuple[float, float] | None:
        score, tie = metrics.get(self._headline), metrics.get(self._tie, math.inf)
        if score is None or not math.isfinite(score):
            return None
        return self._sign * score, -math.inf if math.isnan(tie) else -tie

    def _remove(self, doomed: Callable[[Kept], bool]) -> None:
        for kept in [kept for kept in self._kept if doomed(kept)]:
            with contextlib.suppress(FileNotFoundError):
                kept.path.unlink()
            kept.path.with_suffix(".json").unlink(missing_ok=True)
            self._kept.remove(kept)
            self._emit(CheckpointRemoved(path=self.relative(kept.path), sha256=kept.sha256))
