"""What an interrupted run needs to go on: ``ultralytics/weights/last.pt``, plain tensors.

It replaces Ultralytics' own last.pt, which is a pickle, holds the weights as float16 averages
only, and starts the order of images afresh: this one repeats the uninterrupted run to the bit
on the CPU (without gradient accumulation across epochs, whose remainder is dropped).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.core.errors import ConfigError
from backend.nn.finetune.resuming import check_config, read_resumable
from backend.nn.finetune.weights import save_state
from backend.trainers.yolo.spec import YoloConfig

FOLDER = "ultralytics"
VERSION = 2
MAY_CHANGE = (
    *("workers", "cache", "threads", "save_period", "patience", "val_period", "export"),
    *("model", "weights_dir", "allow_download", "trust_pickle"),
    *("synthetic.annotated_dir", "synthetic.backgrounds_dir"),
)
"""Besides those that a run of each trainer may change; the model and what is pasted are compared
by content."""


@dataclass(frozen=True)
class Identity:
    """What a run was started with; ``config`` is what was asked for, whatever the machine made of
    it."""

    config: YoloConfig
    source: str
    data: str
    pasted: str = ""

    def as_state(self) -> dict[str, object]:
        config = self.config.model_dump(mode="json")
        return {
            **{"config": json.dumps(config), "source": self.source, "data": self.data},
            "pasted": self.pasted,
        }


def last_path(work_dir: Path) -> Path:
    """The file that makes a run resumable."""
    return work_dir / FOLDER / "weights" / "last.pt"


def read_progress(work_dir: Path) -> dict[str, Any] | None:
    """The state of an interrupted run, or None for a new one.

    Raises TrainingError for a finished run and CheckpointError for a damaged state.
    """
    return read_resumable(last_path(work_dir), work_dir, VERSION, "epoch")


def check_same(work_dir: Path, state: dict[str, Any], identity: Identity) -> tuple[str, ...]:
    """Refuse to continue a run as another one; return what a person should know.

    Raises ConfigError naming what differs.
    """
    now = identity.as_state()
    check_config(work_dir, str(state["config"]), str(now["config"]), MAY_CHANGE)
    if state["source"] != identity.source:
        raise ConfigError(
            f"{work_dir}: the interrupted run started from another model file than "
            f"{identity.config.model}; continue it with the same or start a new run"
        )
    told = {
        "the training data": state["data"] != identity.data,
        "what is pasted": state.get("pasted", "") != identity.pasted,
    }
    return tuple(
        f"{what} changed since the run was interrupted"
        for what, changed in told.items()
        if changed
    )


def write_progress(work_dir: Path, identity: Identity, state: dict[str, object]) -> None:
    """The state after an epoch, the whole file or none of it. Raises OSError."""
    path = last_path(work_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_state(path, {"version": VERSION, "finished": False, **identity.as_state(), **state})


def sweep(work_dir: Path) -> None:
    """Remove the files that a process was killed over while it wrote them."""
    for path in (*work_dir.glob(f"{FOLDER}/weights/.*"), *work_dir.glob("checkpoints/.*")):
        path.unlink(missing_ok=True)


def write_finished(work_dir: Path, epoch: int) -> None:
    """Mark the run as finished and scored; what was needed to go on is dropped.

    Raises OSError.
    """
    save_state(last_path(work_dir), {"version": VERSION, "finished": True, "epoch": epoch})
