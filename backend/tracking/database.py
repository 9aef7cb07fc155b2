"""MLflow's SQLite file: made in one piece, in WAL mode, and refused when it is not MLflow's.

Left alone, MLflow would add its tables to any SQLite file it is pointed at, and two processes
that start together would both create them.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote

from backend.core.errors import StoreError

SCHEMA = "dc11669786a5"  # the revision of MLflow 3.17, whose tables sqlite_rows.py reads
TABLES = {"alembic_version", "experiments", "runs", "metrics"}
LOCK_SECONDS = 5.0
SQLITE = "sqlite:///"


def prepare(path: Path, patience: float = LOCK_SECONDS) -> None:
    """Make the database if it is missing; check that it is MLflow's and can be written.

    Waits ``patience`` seconds for a lock. Raises StoreError, or what sqlite3 and MLflow raise.
    """
    if not path.exists():
        _create(path)
    if not path.stat().st_size:
        raise StoreError(f"{path}: an empty file, not an MLflow database; delete it")
    with closing(sqlite3.connect(path, timeout=patience, isolation_level=None)) as connection:
        _refuse_other_files(connection, path)
        _refuse_other_schemas(connection, path)
        _use_wal(connection, path)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def url(path: Path) -> str:
    """How SQLAlchemy is told to open a SQLite file."""
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")


def path_of(uri: str) -> Path | None:
    """The file behind such a URL, a relative one from here; None if it names a server."""
    return Path(unquote(uri.removeprefix(SQLITE))).absolute() if uri.startswith(SQLITE) else None


def revision(connection: sqlite3.Connection) -> str:
    """The schema revision of an MLflow database; empty if it is none."""
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not found >= TABLES:
        return ""
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def _create(path: Path) -> None:
    """Build under another name, then give it its own: nobody ever sees half a database."""
    from backend.tracking import schema  # noqa: PLC0415 (MLflow is slow to import)

    with _scratch_name(path) as scratch:
        schema.create(url(scratch), path.parent / "artifacts")
        with closing(sqlite3.connect(scratch)) as connection:
            _use_wal(connection, path)
        try:
            os.link(scratch, path)  # unlike a rename, this never replaces another's database
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            if not path.exists():
                scratch.rename(path)


@contextmanager
def _scratch_name(path: Path) -> Iterator[Path]:
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield scratch
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            scratch.with_name(scratch.name + suffix).unlink(missing_ok=True)


def _refuse_other_files(connection: sqlite3.Connection, path: Path) -> None:
    """SQLite looks, not ``open``: a process that closes a file of its own loses the locks of its
    connections to it, and another then deletes the log that they still write to."""
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        if "file is not a database" not in str(error):
            raise
        raise StoreError(
            f"{path}: not a SQLite database; move it away or choose another --home"
        ) from error


def _refuse_other_schemas(connection: sqlite3.Connection, path: Path) -> None:
    found = revision(connection)
    if found == SCHEMA:
        return
    if not found:
        raise StoreError(
            f"{path}: a SQLite database, but not MLflow's; move it away or choose another --home"
        )
    from backend.tracking import schema  # noqa: PLC0415 (MLflow is slow to import)

    age = schema.compare(found)
    if age == "newer":
        raise StoreError(
            f"{path}: was made by a newer MLflow than the installed one; upgrade MLflow, or "
            "choose another place with --home"
        )
    if age == "older":
        raise StoreError(
            f"{path}: was made by an older MLflow; copy it to a safe place, then run: "
            f"mlflow db upgrade sqlite:///{path}"
        )


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Let readers read while a training writes; needs a local file system."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"{path}: this file system does not support SQLite's WAL mode (a network folder?); "
            "choose a folder on a local disk with --home, or a server with --tracking-uri"
        )
