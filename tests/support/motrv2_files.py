"""Checkpoints of small MOTRv2 networks, and configs that start from them."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backend.core.events import Event
from backend.datasets.tracking import TrackingSplit
from backend.nn.finetune.weights import save_weights
from backend.trainers.motrv2.checkpoint import Known, facts_of
from backend.trainers.motrv2.model.geometry import TINY
from backend.trainers.motrv2.model.learner import ClipLearner, ClipTraining
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.model.previous import Previous
from backend.trainers.motrv2.spec import Motrv2Config
from backend.trainers.motrv2.trainer import Motrv2Trainer
from tests.support.conformance import Never

EIGHT = ("Player", "Defense", "Attack", "Block", "Reception", "Service", "Setting", "Stand")


def config(**overrides: Any) -> Motrv2Config:
    """A small network; ``overrides`` with two underscores for each dot."""
    small = Motrv2Config.model_validate(
        {"kind": "motrv2", "data": "players", "device": "cpu", "model": {"preset": "tiny"}}
    )
    return small.replace({key.replace("__", "."): value for key, value in overrides.items()})


def saved(
    path: Path,
    classes: tuple[str, ...] = ("Person",),
    previous: tuple[str, ...] = (),
    seed: int = 5,
    **sizes: Any,
) -> Motr:
    """A checkpoint with random weights in ``path``; the network in it. ``previous`` classes left
    random classifiers."""
    torch.manual_seed(seed)
    geometry = replace(TINY, classes=len(classes), **sizes)
    learner = ClipLearner(geometry, ClipTraining())
    if previous:
        old = Motr(replace(TINY, classes=len(previous))).class_embed.state_dict()
        learner.previous = Previous({f"class_embed.{name}": one for name, one in old.items()})
    split = TrackingSplit(Path("players"), "train", classes, tuple(range(len(classes))), ())
    facts = facts_of(config(), Known(geometry, previous), split)
    save_weights(path, learner.state_dict(), facts)
    return learner


def trained(config: Motrv2Config, work: Path) -> tuple[Path, list[Event]]:
    """The best checkpoint of a training in this process, and its events."""
    events: list[Event] = []
    outcome = Motrv2Trainer(config, work).fit(events.append, Never())
    assert outcome.best is not None
    return work / outcome.best, events


def shortened(root: Path, frames: int) -> Path:
    """The same data with the first ``frames`` of each sequence."""
    late = [one for one in root.rglob("img1/*") if int(one.stem) > frames]
    for image in late:
        image.unlink()
    keys = {(one.parent.parent.name, int(one.stem)) for one in late}
    for folder in {one.parent.parent for one in late}:
        truth, about = folder / "gt" / "gt.txt", folder / "seqinfo.ini"
        rows = truth.read_text().splitlines()
        truth.write_text("".join(f"{row}\n" for row in rows if int(row.split(",")[0]) <= frames))
        about.write_text(re.sub(r"seqLength=\d+", f"seqLength={frames}", about.read_text()))
    path = root / "det_db.json"
    kept = {
        key: lines
        for key, lines in json.loads(path.read_text()).items()
        if key == "_meta" or (key.split("/")[-3], int(Path(key).stem)) not in keys
    }
    path.write_text(json.dumps(kept))
    return root
