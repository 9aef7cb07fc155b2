"""What a user may call a run, and what is known of it: its events, or else the store.

The event file is ahead of MLflow while a run trains and outlives it, so it is asked first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.core.errors import StoreError
from backend.core.events import Envelope, MetricsLogged, RunFinished, RunStarted
from backend.core.records import Run
from backend.core.sinks import Tail
from backend.core.workdir import WorkDir
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore


@dataclass(frozen=True)
class Located:
    """A run. ``state`` says in words where it stands, ``over`` if nothing more will come.

    ``events`` is None if its work directory is gone; ``run`` its record where it has one;
    ``others`` all runs.
    """

    title: str
    state: str
    over: bool
    work: WorkDir
    events: tuple[Envelope, ...] | None
    run: Run | None = None
    others: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()


def locate(home: Home, ref: str) -> Located:
    """The run of a key, a name, a work directory or an event file.

    Raises StoreError if there is no such run, or its event file is damaged before its end.
    """
    path = Path(ref)
    if path.is_dir():
        return _from_events(home, path / "events.jsonl", ref)
    if path.is_file():
        return _from_events(home, path, ref)
    own = WorkDir(home.work_dir(ref))
    if own.run.is_file():  # also of a run that MLflow has not heard of yet
        return _from_events(home, own.events, ref)
    store = MlflowStore(home)
    run = store.run(ref)
    work = WorkDir(Path(run.work_dir))
    if work.events.is_file():
        return _from_events(home, work.events, run.key)
    state = f"{run.status}; its work directory is gone, so this is MLflow's"
    return Located(run.key, state, run.status != "running", work, None, run, tuple(store.runs()))


def _from_events(home: Home, path: Path, ref: str) -> Located:
    work = WorkDir(path.resolve().parent)
    if not path.is_file() and not work.run.is_file():
        raise StoreError(f"{path}: no event file; is this a run's work directory?")
    envelopes = Tail(path).poll()
    run, others = _recorded(home, work, ref)
    state, over = _state(envelopes, work)
    torn = path.is_file() and not path.read_bytes().endswith(b"\n") and bool(path.stat().st_size)
    notes = (f"The last line of {path} is cut short; what comes before it counts.",)
    title = run.key if run else (work.path if path.name == work.events.name else path).name
    return Located(title, state, over, work, tuple(envelopes), run, others, notes if torn else ())


def _recorded(home: Home, work: WorkDir, ref: str) -> tuple[Run | None, tuple[Run, ...]]:
    """The run's record and all runs; a store that cannot be read is no reason to see nothing."""
    try:
        runs = tuple(MlflowStore(home).runs())
    except StoreError:
        return None, ()
    key = work.path.name
    return next((run for run in runs if run.key in (key, ref)), None), runs


def _state(envelopes: Sequence[Envelope], work: WorkDir) -> tuple[str, bool]:
    if not envelopes:
        return "nothing has been told yet", False
    last = envelopes[-1].event
    planned = [e.event.epochs for e in envelopes if isinstance(e.event, RunStarted)]
    epoch = max(
        (e.event.epoch for e in envelopes if isinstance(e.event, MetricsLogged)), default=0
    )
    where = f"epoch {epoch} of {planned[-1]}" if planned else f"epoch {epoch}"
    if isinstance(last, RunFinished):
        reason = f": {last.reason}" if last.reason else ""
        return f"{last.status} in {where}{reason}", True
    if work.lock.exists() and not work.held():
        return f"without an end in {where}, and nobody supervises it any more", True
    return f"training, {where}", False
