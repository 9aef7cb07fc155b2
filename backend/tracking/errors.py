"""Trouble with a database, a disk or a tracking server, as one sentence.

The only place that turns errors of sqlite3, SQLAlchemy, MLflow and the system into StoreError.
It knows them by their module's name and their text, so that it imports none of them.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from backend.core.errors import StoreError

FOREIGN = {"sqlite3", "sqlalchemy", "alembic", "mlflow", "requests", "urllib3"}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
LOCKED_TEXTS = ("database is locked", "database table is locked")
FULL_TEXTS = ("database or disk is full", "no space left", "file too large", "disk quota")
FAILING_TEXTS = ("disk i/o error",)  # what SQLite says of quotas and limits, too
FORBIDDEN_TEXTS = ("readonly database", "permission denied", "read-only file system")
DAMAGED_TEXTS = ("file is not a database", "malformed")
SILENT_TEXTS = ("connection refused", "max retries exceeded", "timed out", "failed to resolve")
RACE_TEXT = "unique constraint failed"  # another process wrote the same row first
TEMPORARY_CODES = {"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED"}


@contextmanager
def store_errors(place: object) -> Iterator[None]:
    """Raise StoreError, naming ``place``, for whatever a store or the system raises inside."""
    try:
        yield
    except Exception as error:
        if not is_store_error(error):
            raise
        raise StoreError(sentence(error, place)) from error


def is_store_error(error: BaseException) -> bool:
    """Does this error come from a database, a server, or the file system?"""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in FOREIGN


def is_temporary(error: BaseException) -> bool:
    """May the same call succeed later (a lock, a full disk, a race, a server that restarts)?"""
    code = getattr(error, "error_code", None)
    race = RACE_TEXT in str(error).lower()
    return is_store_error(error) and (code is None or code in TEMPORARY_CODES or race)


def sentence(error: BaseException, place: object) -> str:
    """What is wrong, where, and what to do."""
    chain = list(_chain(error))
    text = "\n".join(str(link) for link in chain).lower()
    codes = {link.errno for link in chain if isinstance(link, OSError)}

    def any_of(texts: tuple[str, ...]) -> bool:
        return any(known in text for known in texts)

    if codes & FULL or any_of(FULL_TEXTS):
        return f"{place}: the disk is full; free some space and try again"
    if any_of(FAILING_TEXTS):
        return f"{place}: the disk is full, over its quota, or failing; free some space on it"
    if any_of(LOCKED_TEXTS):
        return (
            f"{place}: the database is locked by another process; "
            "wait for it or end it, then try again"
        )
    if codes & FORBIDDEN or any_of(FORBIDDEN_TEXTS):
        return f"{place}: cannot be written (permission denied); choose another place with --home"
    if any_of(DAMAGED_TEXTS):
        return f"{place}: not a database, or a damaged one; move it away or restore a copy"
    if any_of(SILENT_TEXTS):
        return f"{place}: the tracking server does not answer; is it running?"
    return f"{place}: {_first_line(_root(error))}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _root(error: BaseException) -> BaseException:
    return _root(error.__cause__) if error.__cause__ else error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
