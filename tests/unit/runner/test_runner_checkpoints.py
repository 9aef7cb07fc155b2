import errno
import json
import math
import os
from pathlib import Path

import pytest
import torch

from backend.core.digest import sha256
from backend.core.events import CheckpointRemoved, CheckpointSaved, Event
from backend.core.records import Direction
from backend.nn.finetune.weights import load_weights
from backend.runner.checkpoints import Keeper, Measured

WEIGHTS = {"weight": torch.arange(3.0)}


def keeper(folder: Path, events: list[Event], direction: Direction = "maximize") -> Keeper:
    return Keeper(folder, events.append, "val/score", direction)


def save(keeper: Keeper, step: int, score: float | None, wanted: bool = False) -> None:
    metrics = {} if score is None else {"val/score": score}
    measured = Measured(step=step, epoch=step, metrics=metrics, ema=False)
    keeper.save(WEIGHTS, {"classes": ["a"]}, measured, wanted)


def on_disk(folder: Path) -> list[int]:
    return sorted(int(path.stem[5:]) for path in (folder / "checkpoints").glob("*.safetensors"))


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 3)])
def test_the_best_follows_the_direction(direction: Direction, best: int, tmp_path: Path) -> None:
    events: list[Event] = []
    kept = keeper(tmp_path, events, direction)
    for step, score in enumerate((0.5, 0.9, 0.1, 0.9), 1):
        save(kept, step, score)
        kept.prune()
    assert kept.best is not None
    assert kept.best.step == best
    assert on_disk(tmp_path) == sorted({best, 4})
    flags = [event.best for event in events if isinstance(event, CheckpointSaved)]
    assert flags == [
        step in ({1, 2} if direction == "maximize" else {1, 3}) for step in range(1, 5)
    ]


def test_what_was_asked_for_is_kept_and_what_was_removed_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    kept = keeper(tmp_path, events)
    for step in range(1, 6):
        save(kept, step, 1 / step, wanted=step == 3)
        kept.prune()
    assert on_disk(tmp_path) == [1, 3, 5]
    removed = [event.path for event in events if isinstance(event, CheckpointRemoved)]
    assert removed == [
        "checkpoints/step-0000002.safetensors",
        "checkpoints/step-0000004.safetensors",
    ]


def test_a_score_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    kept = keeper(tmp_path, [])
    save(kept, 1, math.nan)
    assert kept.best is None
    assert kept.chosen is not None
    assert not kept.improves({"val/score": math.nan})
    assert kept.improves({"val/score": -1.0})
    save(kept, 2, 0.5)
    assert not kept.improves({"val/score": 0.5})
    facts = json.loads((tmp_path / "checkpoints/step-0000001.json").read_text())
    assert facts["metrics"] == {"val/score": "NaN"}
    assert facts["classes"] == ["a"]


def test_an_interrupted_run_takes_up_what_it_left(tmp_path: Path) -> None:
    before = keeper(tmp_path, [])
    for step, score in enumerate((0.5, 0.9, 0.1, 0.95), 1):
        save(before, step, score)
    events: list[Event] = []
    after = keeper(tmp_path, events)
    after.find(3)
    assert after.best is not None
    assert (after.best.step, after.best.rank) == (2, (0.9, -math.inf))
    assert after.best.sha256 == sha256(after.best.path)
    assert on_disk(tmp_path) == [2, 3]
    assert sum(isinstance(event, CheckpointRemoved) for event in events) == 2
    keeper(tmp_path, events).find(0)
    assert on_disk(tmp_path) == []


def test_a_full_disk_leaves_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    kept = keeper(tmp_path, events)
    save(kept, 1, 0.1)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(kept, 2, 0.9)
    assert on_disk(tmp_path) == [1]
    assert len(events) == 1
    assert kept.best is not None
    assert kept.best.step == 1
    weights, _ = load_weights(kept.best.path)
    assert torch.equal(weights["weight"], WEIGHTS["weight"])
    assert not [p for p in tmp_path.rglob(".*") if p.is_file()]


def tied(folder: Path, pairs: list[tuple[float, float]]) -> Keeper:
    kept = Keeper(folder, lambda event: None, "val/score", "maximize", tie="val/loss")
    for step, (score, loss) in enumerate(pairs, 1):
        metrics = {"val/score": score, "val/loss": loss}
        kept.save(WEIGHTS, {}, Measured(step=step, epoch=step, metrics=metrics, ema=False), False)
    return kept


def test_the_lower_tie_decides_between_equal_scores_only(tmp_path: Path) -> None:
    zeros = tied(tmp_path / "a", [(0, 0.9), (0, 0.5), (0, 0.7), (0, math.nan), (0, 0.5)])
    assert zeros.best is not None
    assert zeros.best.step == 2, "of equal ties the first"
    assert zeros.improves({"val/score": 0.0, "val/loss": 0.4})
    assert not zeros.improves({"val/score": 0.0, "val/loss": 0.5})
    assert not zeros.improves({"val/score": 0.0})
    scored = tied(tmp_path / "b", [(0.1, 0.1), (0.2, 9.0)])
    assert scored.best is not None
    assert scored.best.step == 2, "a better score counts more than any loss"
