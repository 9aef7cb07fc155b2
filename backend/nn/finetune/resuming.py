"""What every resumable training does with the file that it goes on from, and without room."""

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping, Sequence
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


MAY_CHANGE = (
    *("name", "experiment", "device", "data", "source", "tensorboard", "diagnostics."),
    *("hardware.recover", "hardware.recover_order", "hardware.max_attempts"),
    *("hardware.smallest_size", "hardware.sample"),
)
"""Config keys (those ending in a dot: sections) that a continued run of each trainer may change;
data is compared by content. What the machine changed is not among them: the config that was asked
for is compared."""


def check_config(work_dir: Path, before: str, now: str, may_change: Sequence[str]) -> None:
    """Compare two configs as JSON but for ``MAY_CHANGE`` and the trainer's own ``may_change``.

    Raises ConfigError naming the first key that differs.
    """
    free = (*MAY_CHANGE, *may_change)
    sides: list[Mapping[str, str]] = [flatten(json.loads(side)) for side in (before, now)]
    for key in sorted(sides[0].keys() | sides[1].keys()):
        old, new = (side.get(key) or "none" for side in sides)
        if old != new and not any(_covers(name, key) for name in free):
            raise ConfigError(
                f"{work_dir}: the interrupted run had {key} = {old}, now it is {new}; continue it "
                "with the same config or start a new run"
            )


def _covers(name: str, key: str) -> bool:
    return key == name or (name.endswith(".") and key.startswith(name))


@contextlib.contextmanager
def full_disk_explained(work_dir: Path) -> Iterator[None]:
    """Turn a full disk, or a limit of a file's size, into one sentence. Raises TrainingError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            why = f"{error.filename or work_dir}: larger than a file may be here (ulimit -f)"
            do = "raise that limit"
        elif error.errno in {errno.ENOSPC, errno.EDQUOT}:
            why, do = f"{work_dir}: the disk is full", "make room"
        else:
            raise
        raise TrainingError(
            f"{why}; {do} and resume, the run continues after what it saved last"
        ) from error
