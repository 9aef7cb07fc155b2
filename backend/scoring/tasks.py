"""The four tasks, and their evidence on disk."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.errors import DataError
from backend.core.workdir import write_atomic
from backend.scoring.detection import task as detection
from backend.scoring.evidence import Evidence, Task
from backend.scoring.spotting import task as spotting
from backend.scoring.temporal import task as temporal
from backend.scoring.tracking import task as tracking

TASKS: dict[str, Task] = {
    task.name: task for task in (detection.TASK, tracking.TASK, temporal.TASK, spotting.TASK)
}


def save_evidence(path: Path, task: str, evidence: Evidence) -> None:
    """Evidence as an ``.npz`` file; it can be read without pickled objects."""
    file = io.BytesIO()
    about = np.array([task, TASKS[task].evaluator])
    arrays: dict[str, Any] = {"about": about, **evidence.arrays()}
    np.savez_compressed(file, **arrays)
    write_atomic(path, file.getvalue())


def load_evidence(path: Path, task: str) -> Evidence:
    """What ``save_evidence`` wrote.

    Raises DataError for a damaged file, another task's, or one of another evaluator.
    """
    expected = [task, TASKS[task].evaluator]
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        said = [str(text) for text in arrays.pop("about")]
        if said == expected:
            return TASKS[task].restore(arrays)
    except FileNotFoundError:
        raise DataError(f"{path}: no such evidence file; evaluate the checkpoint again") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged evidence ({error}); evaluate again") from None
    raise DataError(f"{path}: made by {said}, not by {expected}; evaluate again")
