"""Folders that appear whole or not at all."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.core.errors import DataError


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``folder`` when the block ends without an error.

    Raises DataError if something cannot be written, or if ``folder`` has got content meanwhile.
    """
    making = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        making.mkdir(parents=True)
        yield making
        making.replace(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"{folder}: cannot be written ({reason}); choose another folder"
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
