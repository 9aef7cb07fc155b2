"""A tiny tracking data set, and networks whose answers are set by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backend.trainers.motrv2.checkpoint import Saved
from backend.trainers.motrv2.model.geometry import TINY
from backend.trainers.motrv2.model.learner import ClipLearner, ClipTraining
from backend.trainers.motrv2.spec import Motrv2Config
from tests.support.tracking_folders import clean, folders, rows_of, write_rows

EIGHT = ("p", "q", "r", "s", "t", "u", "v", "w")


def data_of(root: Path, classes: tuple[str, ...] = EIGHT, label: int = 6) -> Path:
    """The clean data set with other classes, in which every object is of class ``label``."""
    clean(root)
    (root / "classes.json").write_text(json.dumps({"base": 1, "names": list(classes)}))
    for folder in folders(root):
        write_rows(folder, [[*row[:7], label, 1] for row in rows_of(folder)])
    database = json.loads((root / "det_db.json").read_text())
    for key, lines in database.items():
        if key != "_meta":
            cells = [line.split(",") for line in lines]
            database[key] = [",".join([*row[:4], str(label), row[5]]) for row in cells]
    (root / "det_db.json").write_text(json.dumps(database))
    return root


def config_of(root: Path, **given: Any) -> Motrv2Config:
    """A config for its small images."""
    return Motrv2Config.model_validate(
        {
            "data": str(root),
            "device": "cpu",
            "images": {"short": 64, "long": 96},
            "clips": {"lengths": [2]},
            "tracker": {"min_area": 1},
            "learning": {"val_clips": 4},
            **given,
        }
    )


def handset(classes: int = 8, column: int = 5, score: float = 3.0) -> ClipLearner:
    """A network that finds a box at each query's anchor, so at each proposal, with one score of
    one class; all other classes are silent. In evaluation mode."""
    torch.manual_seed(3)
    vectors = classes if classes > 1 else 0
    made = ClipLearner(replace(TINY, classes=classes, proposal_classes=vectors), ClipTraining())
    with torch.no_grad():
        for head in made.class_embed:
            head.weight.zero_()
            head.bias.fill_(-9)
            head.bias[column] = score
        for box in made.bbox_embed:
            box.layers[-1].weight.zero_()
            box.layers[-1].bias.zero_()
        made.position.weight.fill_(0.001)  # the learned queries see next to nothing
    return made.eval()


def saved_of(network: ClipLearner, classes: tuple[str, ...] = EIGHT, **facts: Any) -> Saved:
    """The network as a checkpoint that was read."""
    told = {"trainer": "motrv2", "classes": classes, "geometry": network.geometry, **facts}
    return Saved(path=Path("hand.safetensors"), weights=network.state_dict(), **told)
