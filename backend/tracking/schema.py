"""The tables of the installed MLflow. Imports MLflow: seconds, so only when it is needed."""

from pathlib import Path
from typing import Literal

from alembic.script import ScriptDirectory
from alembic.util import CommandError
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from backend.tracking.silence import silence_mlflow

silence_mlflow()


def create(uri: str, artifacts: Path) -> None:
    """Make MLflow's tables, and its default experiment, in a new SQLite database."""
    store = SqlAlchemyStore(uri, str(artifacts))
    store.engine.dispose()
    SqlAlchemyStore._engine_map.pop(uri, None)  # its cache would keep the scratch file open


def compare(revision: str) -> Literal["current", "older", "newer"]:
    """How a database's schema revision stands to the installed MLflow's."""
    script = ScriptDirectory.from_config(_get_alembic_config(""))
    if revision in script.get_heads():
        return "current"
    try:
        script.get_revision(revision)
    except CommandError:
        return "newer"
    return "older"
