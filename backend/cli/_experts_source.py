"""What is known of a run's experts."""

from dataclasses import dataclass

from backend.analysis.experts import reports_of
from backend.cli._located import locate
from backend.core.experts import ExpertReport
from backend.core.records import Run
from backend.core.store import RunStore
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore


@dataclass(frozen=True)
class Observed:
    """What is known of a run now. ``state`` says in words where it stands, ``over`` if nothing
    more will come; ``run`` is its record where it has one, ``others`` what it may stand beside."""

    title: str
    state: str
    over: bool
    reports: tuple[ExpertReport, ...]
    run: Run | None = None
    others: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()


def observe(home: Home, ref: str) -> Observed:
    """What is known of a run by its key, name, work directory or event file.

    Raises StoreError if there is no such run, or its event file is damaged before its end.
    """
    found = locate(home, ref)
    if found.events is None and found.run is not None:
        reports = tuple(MlflowStore(home).experts(found.run.key))
    else:
        reports = reports_of(found.events or ())
    return Observed(
        found.title, found.state, found.over, reports, found.run, found.others, found.notes
    )


def recorded(store: RunStore, run: Run) -> Observed:
    """What a store knows of a run."""
    reports = tuple(store.experts(run.key))
    return Observed(
        run.key, run.status, run.status != "running", reports, run, tuple(store.runs())
    )
