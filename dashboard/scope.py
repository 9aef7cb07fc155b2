"""Which runs a page shows for a view, and against which baseline."""

from collections.abc import Sequence
from dataclasses import dataclass

from backend.catalog import CATALOG, Catalog
from backend.core.comparisons import Comparison
from backend.core.records import Run
from backend.core.store import RunStore
from dashboard.tables import choose_baseline, direction, find_runs, in_order
from dashboard.view import View

MOST_CHARTS = 12
FIRST_CHARTS = 6
OF_THE_MACHINE = ("system/", "hardware/")  # they have a section of their own


READ_AGAIN = " (read again)"  # on the first token after a failure: what is shown may be stale


def is_news(now: object, known: object, token: str | None) -> bool:
    """Whether something must be shown: it is new, or its last showing may have failed."""
    return now != known or (token or "").endswith(READ_AGAIN)


@dataclass(frozen=True)
class Scope:
    """``runs`` with the baseline first; ``missing`` are names in the link that no run has."""

    runs: tuple[Run, ...]
    baseline: Run | None
    missing: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """The keys of the runs."""
        return [run.key for run in self.runs]

    @property
    def others(self) -> list[Run]:
        """The runs that are compared with the baseline."""
        return [run for run in self.runs if run is not self.baseline]


def scope_of(store: RunStore, view: View) -> Scope:
    """The selected runs and their baseline.

    A baseline that the user picked is always shown; the champion only counts if it is among
    the selected runs, and the first of these stands in for both.
    """
    runs = store.runs()
    wanted = view.runs or _sides(store.comparisons(), view.comparison)
    chosen = find_runs(wanted, runs)
    picked = find_runs([view.baseline], runs) if view.baseline else []
    baseline = next(iter(picked), None)
    if baseline is None and chosen:
        baseline = choose_baseline("", chosen, store.champions()) or chosen[0]
    rest = [run for run in chosen if baseline is None or run.key != baseline.key]
    missing = tuple(name for name in wanted if not find_runs([name], runs))
    if not chosen:
        return Scope((), None, missing)
    return Scope((*([baseline] if baseline else []), *rest), baseline, missing)


def _sides(comparisons: Sequence[Comparison], key: str) -> tuple[str, ...]:
    for comparison in comparisons:
        if comparison.key == key:
            sides = (comparison.baseline, comparison.candidate)
            return tuple(side.checkpoint.run for side in sides if side.checkpoint.run)
    return ()


def default_metrics(names: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """The charts to begin with: headline, training losses, then other validation metrics."""
    if not runs:
        return []
    headlines = [run.headline for run in runs]
    losses = [n for n in names if n.startswith("train/") and n.endswith("loss")]
    validation = in_order((n for n in names if n.startswith("val/")), runs[0].trainer)
    others = [n for n in names if not n.startswith(OF_THE_MACHINE)]
    order = dict.fromkeys([*headlines, *losses, *validation, *others])
    return [name for name in order if name in set(names)][:FIRST_CHARTS]


def chosen_metrics(view: View, names: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """The charts that a view asks for, as far as they exist."""
    wanted = [name for name in view.metrics if name in set(names)]
    return wanted[:MOST_CHARTS] or default_metrics(names, runs)


def better_when(metric: str, runs: Sequence[Run], catalog: Catalog = CATALOG) -> str:
    """``higher is better``, ``lower is better`` or nothing."""
    way = direction(metric, runs[0].trainer, catalog) if runs else None
    return {"maximize": "higher is better", "minimize": "lower is better"}.get(way or "", "")
