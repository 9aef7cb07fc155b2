"""What an interrupted run needs to go on: ``runner/state.pt``, plain tensors and numbers.

It stands in for mmengine's own checkpoint, which is a pickle that torch's safe mode refuses.
It is written between optimizer steps and read in safe mode; what came after it is repeated,
to the bit.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.config.schema import TrainConfig
from backend.core.errors import ConfigError
from backend.nn.finetune.resuming import check_config, read_resumable
from backend.nn.finetune.weights import save_state
from backend.runner.states import START, STATE, keep, share
from backend.runner.training import Training

VERSION = 2
MAY_CHANGE = (
    *("runner.workers", "runner.prefetch", "runner.threads"),
    *("runner.log_interval", "runner.deterministic", "runner.max_nonfinite"),
    *("runner.validation.", "runner.checkpoints.", "runner.unused_parameters"),
)
"""Besides those that a run of each trainer may change."""


def state_path(work_dir: Path) -> Path:
    """The file that makes a run resumable."""
    return work_dir / "runner" / "state.pt"


def identity(
    training: Training, processes: int, requested: TrainConfig | None = None
) -> dict[str, object]:
    """What makes two trainings the same one; ``requested`` is the config before the machine
    changed it."""
    return {
        "config": json.dumps((requested or training.config).model_dump(mode="json")),
        "source": training.source,
        "data": json.dumps([(item.split, item.digest) for item in training.data.inputs]),
        "processes": processes,
    }


def read_progress(work_dir: Path) -> dict[str, Any] | None:
    """The state of an interrupted run, or None for a new one.

    Raises TrainingError for a finished run and CheckpointError for a damaged state.
    """
    return read_resumable(state_path(work_dir), work_dir, VERSION, "step")


def check_same(
    work_dir: Path,
    state: dict[str, Any],
    now: dict[str, object],
    may_change: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Refuse to continue a run as another one; return what a person should know. ``may_change``
    are further config keys that change no result.

    Raises ConfigError naming what differs.
    """
    check_config(work_dir, str(state["config"]), str(now["config"]), (*MAY_CHANGE, *may_change))
    if state["processes"] != now["processes"]:
        raise ConfigError(
            f"{work_dir}: the interrupted run had {state['processes']} processes, now there are "
            f"{now['processes']}; continue it with as many or start a new run"
        )
    if state["source"] != now["source"]:
        raise ConfigError(
            f"{work_dir}: the interrupted run started from other pretrained weights; continue "
            "it with the same or start a new run"
        )
    if state["data"] != now["data"]:
        return ("the data changed since the run was interrupted",)
    return ()


def read_start(work_dir: Path) -> dict[str, Any] | None:
    """The state of another run with which this one begins, or None if it begins with none.

    Raises CheckpointError for a damaged state.
    """
    return read_resumable(work_dir / START / STATE, work_dir, VERSION, "step")


def write_progress(
    work_dir: Path, state: dict[str, object], kept: tuple[int, Sequence[Path]] | None = None
) -> None:
    """The whole file or none of it; ``kept`` is an epoch whose state stays, and the checkpoints
    that belong to it. Raises OSError."""
    path = state_path(work_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"version": VERSION, "finished": False, **state}
    if kept is None:
        save_state(path, whole)
    else:
        share(keep(work_dir, *kept, lambda place: save_state(place, whole)), path)


def write_finished(work_dir: Path, step: int) -> None:
    """Mark the run as finished and scored; what was needed to go on is dropped.

    Raises OSError.
    """
    save_state(state_path(work_dir), {"version": VERSION, "finished": True, "step": step})
