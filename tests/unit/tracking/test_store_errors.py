import errno
import sqlite3

import pytest

from backend.core.errors import StoreError
from backend.tracking.errors import is_temporary, store_errors


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EFBIG, "File too large"), "the disk is full"),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full"),
        (sqlite3.OperationalError("disk I/O error"), "the disk is full, over its quota"),
        (sqlite3.OperationalError("database is locked"), "locked by another process"),
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be written"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "cannot be written"),
        (sqlite3.DatabaseError("file is not a database"), "not a database"),
        (sqlite3.DatabaseError("database disk image is malformed"), "a damaged one"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "does not answer"),
        (sqlite3.OperationalError("no such table: runs\nmore"), "runs.db: no such table: runs"),
    ],
)
def test_each_trouble_has_its_sentence(error: Exception, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught, store_errors("runs.db"):
        raise error
    assert str(caught.value).startswith("runs.db: ")
    assert "\n" not in str(caught.value)


def test_the_cause_counts_not_its_wrapping() -> None:
    error = sqlite3.DatabaseError("commit failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StoreError, match="the disk is full"), store_errors("runs.db"):
        raise error


def test_a_mistake_of_ours_stays_what_it_is() -> None:
    with pytest.raises(KeyError), store_errors("runs.db"):
        raise KeyError("x")


def test_our_own_sentence_passes_unchanged() -> None:
    with pytest.raises(StoreError, match=r"^as it was$"), store_errors("runs.db"):
        raise StoreError("as it was")


def test_only_trouble_of_stores_is_tried_again() -> None:
    assert is_temporary(sqlite3.OperationalError("database is locked"))
    assert is_temporary(ConnectionResetError())
    assert not is_temporary(KeyError("x"))
