"""Which checkpoints stay, and what they say of themselves."""

import math
from pathlib import Path

import pytest
import torch

from backend.core.errors import CheckpointError
from backend.core.events import CheckpointRemoved, CheckpointSaved, Event
from backend.nn.finetune.weights import save_weights
from backend.trainers.yolo.checkpoints import Keeper
from backend.trainers.yolo.model import Facts

HEADLINE = "val/mAP50-95"
SCORES = {1: 0.2, 2: 0.5, 3: 0.5, 4: 0.3}


def facts(epoch: int, **metrics: float) -> Facts:
    return Facts(
        architecture={}, names=("a",), nc=1, base=1, imgsz=64, epoch=epoch, step=10 * epoch,
        ultralytics="8", metrics=metrics,
    )  # fmt: skip


def save_all(work: Path, period: int = 0) -> tuple[Keeper, list[Event]]:
    events: list[Event] = []
    keeper = Keeper(work, events.append, period)
    for epoch, score in SCORES.items():
        keeper.save({"w": torch.full((2,), float(epoch))}, facts(epoch, **{HEADLINE: score}))
    return keeper, events


@pytest.mark.parametrize(("period", "kept"), [(0, {2, 4}), (3, {2, 3, 4})])
def test_the_best_the_last_and_the_periodic_stay(
    tmp_path: Path, period: int, kept: set[int]
) -> None:
    keeper, events = save_all(tmp_path, period)
    left = {path.stem for path in (tmp_path / "checkpoints").iterdir()}
    assert left == {f"epoch-{epoch:03d}" for epoch in kept}
    assert keeper.best is not None
    assert keeper.best.epoch == 2  # the first of equals
    assert [e.checkpoint.epoch for e in events if isinstance(e, CheckpointSaved) and e.best] == [
        1,
        2,
    ]
    assert len([e for e in events if isinstance(e, CheckpointRemoved)]) == 4 - len(kept)


def test_what_is_later_than_the_state_is_dropped(tmp_path: Path) -> None:
    save_all(tmp_path)
    events: list[Event] = []
    keeper = Keeper(tmp_path, events.append, 0)
    keeper.find(2)
    assert keeper.has(2)
    assert not keeper.has(4)
    assert [e.path for e in events if isinstance(e, CheckpointRemoved)] == [
        "checkpoints/epoch-004.safetensors"
    ]


def test_a_loss_that_is_no_number_costs_no_checkpoint(tmp_path: Path) -> None:
    events: list[Event] = []
    keeper = Keeper(tmp_path, events.append, 0)
    metrics = {HEADLINE: 0.5, "val/box_loss": math.nan, "val/cls_loss": math.inf}
    keeper.save({"w": torch.zeros(2)}, facts(1, **metrics))
    (saved,) = events
    assert isinstance(saved, CheckpointSaved)
    assert math.isnan(saved.checkpoint.metrics["val/box_loss"])
    again = Keeper(tmp_path, events.append, 0)
    again.find(1)
    assert again.best is not None
    assert again.best.score == 0.5


def test_a_checkpoint_of_something_else_is_one_sentence(tmp_path: Path) -> None:
    keeper, _ = save_all(tmp_path)
    path = tmp_path / "checkpoints" / "epoch-002.safetensors"
    save_weights(path, {"w": torch.zeros(2)}, {"trainer": "yolo", "epoch": 2})
    with pytest.raises(CheckpointError, match=r"epoch-002.safetensors: its facts do not describe"):
        keeper.find(2)
