"""Where runs, databases and artifacts are kept. Imports no MLflow: many only need paths."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backend.core.errors import StoreError
from backend.tracking import database as sqlite
from backend.tracking.errors import store_errors

UNSAFE = re.compile(r"%[0-9A-Fa-f]{2}|\?")


@dataclass(frozen=True, init=False)
class Home:
    """A folder, and the MLflow database in it or a tracking server instead of it.

    root/  mlflow.db  optuna.db  artifacts/  work/<key>/
    """

    root: Path
    tracking_uri: str

    def __init__(self, root: Path, tracking_uri: str | None = None) -> None:
        root = root.expanduser().absolute()
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "tracking_uri", tracking_uri or sqlite.url(root / "mlflow.db"))

    def __str__(self) -> str:
        return str(self.database or self.tracking_uri)

    @property
    def database(self) -> Path | None:
        """The SQLite file that MLflow uses; None if that is a server."""
        return sqlite.path_of(self.tracking_uri)

    @property
    def optuna_url(self) -> str:
        """The database of studies."""
        return sqlite.url(self.root / "optuna.db")

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts, unless a server keeps them."""
        return self.root / "artifacts"

    @property
    def work(self) -> Path:
        """The work directories of all runs."""
        return self.root / "work"

    def work_dir(self, key: str) -> Path:
        """The work directory of one run."""
        return self.work / key

    def new_key(self, kind: str) -> str:
        """A new run's key: local time, kind, four random digits. Keys sort by time."""
        now = datetime.now().astimezone()
        return f"{now:%Y%m%d-%H%M%S}-{kind}-{secrets.token_hex(2)}"

    def prepare(self) -> None:
        """Make what is missing and check what is there; quick if all is well.

        Raises StoreError if the folder cannot be written, the disk is full, or the database is
        locked, damaged, not MLflow's, or of another MLflow version.
        """
        if found := UNSAFE.search(str(self.root)):
            raise StoreError(
                f"{self.root}: MLflow reads '{found[0]}' in a path as part of an address; choose "
                "another --home"
            )
        with store_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        if self.database:
            with store_errors(self.database):
                sqlite.prepare(self.database)
        with store_errors(self.root):
            for folder in (self.artifacts, self.work):
                folder.mkdir(exist_ok=True)
