import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from backend.core.errors import StoreError
from backend.tracking import database
from backend.tracking.database import SCHEMA, prepare
from backend.tracking.errors import store_errors
from backend.tracking.home import Home


def mlflow_like(path: Path, revision: str = SCHEMA) -> None:
    """A file with the tables by which MLflow's databases are known."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE alembic_version (version_num TEXT);"
            "CREATE TABLE experiments (x); CREATE TABLE runs (x); CREATE TABLE metrics (x);"
            f"INSERT INTO alembic_version VALUES ('{revision}')"
        )


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("hello")
    with pytest.raises(StoreError, match=r"mlflow\.db: not a SQLite database"):
        Home(tmp_path).prepare()


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(StoreError, match="an empty file"):
        Home(tmp_path).prepare()


def test_anothers_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="but not MLflow's"):
        Home(tmp_path).prepare()
    assert path.read_bytes() == before


def test_a_truncated_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    mlflow_like(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreError, match="not a database, or a damaged one"):
        Home(tmp_path).prepare()


def test_a_locked_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    mlflow_like(path)
    prepare(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another"), store_errors(path):
            prepare(path, patience=0)
    prepare(path, patience=0)


def test_readers_and_a_writer_may_meet(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    mlflow_like(path)
    prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_system_without_wal_is_refused() -> None:
    with (
        closing(sqlite3.connect(":memory:")) as connection,  # it answers as such file systems do
        pytest.raises(StoreError, match="does not support SQLite's WAL mode"),
    ):
        database._use_wal(connection, Path("/net/mlflow.db"))


def test_another_look_at_a_database_in_use_loses_nothing(tmp_path: Path) -> None:
    """POSIX locks belong to a process: closing any file of the database would drop them, and the
    next process to leave would delete the log under the connection that is still open."""
    path = tmp_path / "mlflow.db"
    mlflow_like(path)
    prepare(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writing:
        writing.execute("INSERT INTO runs VALUES ('before')")
        prepare(path)
        look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT x FROM runs')"
        subprocess.run([sys.executable, "-c", f"{look}.fetchall()", str(path)], check=True)
        writing.execute("INSERT INTO runs VALUES ('after')")
        with closing(sqlite3.connect(path)) as reading:
            assert reading.execute("SELECT x FROM runs").fetchall() == [("before",), ("after",)]
