"""What every resumable training does with the file that it goes on from, and on a full disk."""

import contextlib
import errno
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from backend.config.compose import flatten
from backend.core.errors import CheckpointError, ConfigError, TrainingError
from backend.nn.finetune.weights import load_state


def read_resumable(
    path: Path, work_dir: Path, version: int, counted: str
) -> dict[str, Any] | None:
    """The state of an interrupted run, or None for a new one.

    ``counted`` names the entry that tells how far it came (``step``, ``epoch``). Raises
    TrainingError for a finished run and CheckpointError for a damaged state.
    """
    if not path.is_file():
        return None
    state = load_state(path)
    if state.get("version") != version:
        raise CheckpointError(f"{path}: written by another version of Assay; start a new run")
    if state["finished"]:
        raise TrainingError(
            f"{work_dir}: this run is finished after {state[counted]} {counted}s; to train its "
            "model further, start a new run from its checkpoint"
        )
    return state


def check_config(work_dir: Path, before: str, now: str, may_change: Callable[[str], bool]) -> None:
    """Compare two configs as JSON. Raises ConfigError naming the first key that differs."""
    sides: list[Mapping[str, str]] = [flatten(json.loads(side)) for side in (before, now)]
    for key in sorted(sides[0].keys() | sides[1].keys()):
        old, new = (side.get(key) or "none" for side in sides)
        if old != new and not may_change(key):
            raise ConfigError(
                f"{work_dir}: the interrupted run had {key} = {old}, now it is {new}; continue it "
                "with the same config or start a new run"
            )


@contextlib.contextmanager
def full_disk_explained(work_dir: Path) -> Iterator[None]:
    """Turn a full disk into one sentence. Raises TrainingError."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise TrainingError(
            f"{work_dir}: the disk is full; make room and resume, the run continues after what "
            "it saved last"
        ) from error
