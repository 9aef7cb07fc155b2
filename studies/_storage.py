"""Optuna's side of the home: one SQLite file, studies that continue, trials that are retried."""

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from backend.core.errors import StoreError, StudyError
from backend.core.records import Direction
from backend.core.workdir import WorkDir
from backend.tracking.home import Home

MAX_RETRIES = 2
START_SECONDS = 60
SQLITE_TIMEOUT_SECONDS = 60
RUN = "run"
FINDING = "finding"
CAUSE = "cause"
REACHED = "reached"
COSTS = "costs"
METRIC, METRICS = "metric", "metrics"


@contextmanager
def storage_errors(home: Home) -> Iterator[None]:
    """Database trouble in one sentence."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ or error
        text = str(cause).splitlines()[0]
        raise StoreError(
            f"{home.optuna_url}: cannot be used as a study database ({text})"
        ) from error
    except RuntimeError as error:
        if "optuna version" not in str(error):
            raise
        raise StoreError(
            f"{home.optuna_url}: made by another version of Optuna; {error}"
        ) from error


def open_study(
    home: Home, name: str, directions: Sequence[Direction], seed: int, startup_trials: int,
    warmup_epochs: int,
) -> optuna.Study:  # fmt: skip
    """Open or create a study. Raises StudyError if it is stored with other directions.

    The sampler is seeded by the seed and the number of trials so far: the same launch draws
    the same trials, a continued one does not repeat them.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _refuse_foreign(home)
    with storage_errors(home):
        storage = RDBStorage(
            home.optuna_url, engine_kwargs={"connect_args": {"timeout": SQLITE_TIMEOUT_SECONDS}}
        )
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
        stored, wanted = ", ".join(directions_of(study)), ", ".join(directions)
        if stored != wanted:
            raise StudyError(
                f"study '{name}' is stored with direction '{stored}', but its file says "
                f"'{wanted}'; run it under another --name"
            )
        study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(study.trials), n_startup_trials=startup_trials, multivariate=False
        )
        study.pruner = optuna.pruners.MedianPruner(
            n_startup_trials=startup_trials - 1, n_warmup_steps=warmup_epochs
        )
    return study


def features_folder(home: Home, study: str) -> Path:
    """Where the trials of a study share features; names alike share one, which does no harm, for
    features are kept by what they were made from."""
    return home.root / "features" / re.sub(r"[^\w.+-]+", "-", study)


def directions_of(study: optuna.Study) -> list[Direction]:
    """Of each objective."""
    up = optuna.study.StudyDirection.MAXIMIZE
    return ["maximize" if direction is up else "minimize" for direction in study.directions]


def metrics_of(study: optuna.Study) -> list[str]:
    """Of each objective; empty names for a study that was stored by others."""
    stored: list[str] = study.user_attrs.get(METRICS) or [study.user_attrs.get(METRIC, "")]
    return (stored + [""] * len(study.directions))[: len(study.directions)]


def _refuse_foreign(home: Home) -> None:
    """Raise StoreError for a SQLite file with somebody else's tables: Optuna would add its own."""
    path = home.root / "optuna.db"
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in found}
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be used as a study database ({error})") from error
    if tables and "studies" not in tables:
        raise StoreError(
            f"{path}: a SQLite database, but not Optuna's; move it away or choose another --home"
        )


def load_study(home: Home, name: str) -> optuna.Study:
    """A stored study. Raises StudyError naming the stored ones if there is no such study."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with storage_errors(home):
        known = stored_names(home)
        if name not in known:
            listed = ", ".join(known) or "none yet"
            raise StudyError(f"no study '{name}' in {home.root}; there is: {listed}")
        return optuna.load_study(study_name=name, storage=home.optuna_url)


def stored_names(home: Home) -> list[str]:
    """The names of all stored studies."""
    if not (home.root / "optuna.db").exists():
        return []
    _refuse_foreign(home)
    with storage_errors(home):
        return optuna.get_all_study_names(home.optuna_url)


def reclaim(home: Home, study: optuna.Study) -> list[int]:
    """Retry trials that nobody supervises any more; return their numbers.

    A trial is alive while its supervisor holds the lock of its work directory; the system
    releases that lock however the supervisor ends. One that has not begun to train may be
    about to, in another process, and is left alone for START_SECONDS.
    """
    lost = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        work = WorkDir(home.work_dir(str(trial.user_attrs.get(RUN, "none"))))
        if not work.held() and (work.events.exists() or _age(trial) > START_SECONDS):
            study.tell(trial.number, state=TrialState.FAIL)
            retry(study, trial)
            lost.append(trial.number)
    return lost


def _age(trial: FrozenTrial) -> float:
    return time.time() - trial.datetime_start.timestamp() if trial.datetime_start else 0.0


def retry(study: optuna.Study, trial: FrozenTrial) -> None:
    """Put the same parameters in the queue again, at most MAX_RETRIES times.

    The new trial gets a run of its own and remembers which trial it repeats.
    """
    retries = int(trial.user_attrs.get("retries", 0))
    if retries < MAX_RETRIES:
        attrs = {"retry_of": trial.number, "retries": retries + 1}
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        study.enqueue_trial(params, user_attrs=attrs)
