"""Made data sets that appear whole, once, and are told apart from anything else."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from backend.core.errors import DataError
from backend.core.folders import whole_folder

STAMP = "synthetic.json"
"""What a set was made with, in its folder."""


def write_once(
    folder: Path,
    stamp: Mapping[str, object],
    what: str,
    write: Callable[[Path], None],
    drawn: str = "seed or size",
) -> None:
    """What ``write`` puts into the folder that it is given, unless it is there already.

    ``what`` calls it in a sentence and ``drawn`` the rest of its stamp. Raises DataError for a
    folder that holds something else or cannot be written.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        _require_same(folder, stamp, what, drawn)
        return
    try:
        with whole_folder(folder) as making:
            write(making)
            write_json(making / STAMP, stamp)
    except DataError:
        if not (folder / STAMP).is_file():
            raise
        _require_same(folder, stamp, what, drawn)  # another process was faster


def write_json(path: Path, data: object) -> None:
    """One line of json. Raises OSError."""
    path.write_text(json.dumps(data) + "\n", encoding="utf-8")


def _require_same(folder: Path, stamp: Mapping[str, object], what: str, drawn: str) -> None:
    try:
        found = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(
            f"{folder}: exists but holds no synthetic {what}; choose another folder"
        ) from None
    if found != stamp:
        raise DataError(
            f"{folder}: holds {what} of another version, {drawn}; delete the folder or choose "
            "another"
        )
