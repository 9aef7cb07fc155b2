"""What *Convergence* reads of a store for a view: runs, evidence, curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from backend.analysis.diagnostics.evidence import Curve, Evidence, evidence_of
from backend.analysis.diagnostics.views import (
    Mark,
    Shipping,
    curve_of,
    loss_parts,
    marks_of,
    shipping,
    with_total,
)
from backend.catalog import Catalog
from backend.core.diagnosis import Diagnosis
from backend.core.records import Checkpoint, Direction, Run
from backend.core.store import RunStore
from dashboard.curves import Line, Style, epoch_scale, line, styles
from dashboard.figures.convergence import Track
from dashboard.tables import direction, find_runs
from dashboard.view import View

MOST_RUNS = 8
_PREFIXES = ("train/", "val/", "lr/", "gradient/", "update/")


@dataclass(frozen=True)
class Scope:
    """``runs`` to look at, of which ``focus`` is the one whose details are shown. ``missing`` are
    names in the link that no run has; ``more`` how many selected runs are left out."""

    focus: Run
    runs: tuple[Run, ...]
    missing: tuple[str, ...]
    more: int


def scope_of(everything: Sequence[Run], view: View) -> Scope | None:
    """The selected runs, else the one that the view names, else the newest; None if there are
    none, or none of those that were asked for."""
    wanted = view.runs or ((view.run,) if view.run else ())
    chosen = find_runs(wanted, everything) if wanted else list(everything[:1])
    if not chosen:
        return None
    named = find_runs([view.run], chosen) if view.run else []
    missing = tuple(name for name in wanted if not find_runs([name], everything))
    focus = named[0] if named else chosen[0]
    shown = [run for run in chosen if run is focus or chosen.index(run) < MOST_RUNS][:MOST_RUNS]
    if focus not in shown:
        shown[-1] = focus
    return Scope(focus, tuple(shown), missing, len(chosen) - len(shown))


@dataclass(frozen=True)
class Subject:
    """The runs on screen and all that is drawn of them, each record read once."""

    store: RunStore
    scope: Scope
    smooth: float = 0.0

    @property
    def focus(self) -> Run:
        """The run whose details are shown."""
        return self.scope.focus

    @property
    def ordered(self) -> list[Run]:
        """The focus first: charts are named by their runs in this order."""
        return [self.focus, *(run for run in self.scope.runs if run.key != self.focus.key)]

    @cached_property
    def styles(self) -> dict[str, Style]:
        """How each run is drawn."""
        return {s.key: replace(s, baseline=False) for s in styles(self.scope.runs, "")}

    @cached_property
    def evidence(self) -> dict[str, Evidence]:
        """What each run told of itself beside its curves."""
        return {run.key: evidence_of(self.store.evidence(run.key)) for run in self.scope.runs}

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """What the rules said of the focus."""
        return self.store.diagnosis(self.focus.key)

    @cached_property
    def names(self) -> list[str]:
        """All metrics of the runs."""
        return self.store.metric_names([run.key for run in self.scope.runs])

    @cached_property
    def curves(self) -> dict[str, dict[str, Curve]]:
        """Run to metric to curve, of all metrics that this page draws."""
        keys = [run.key for run in self.scope.runs]
        wanted = [name for name in self.names if name.startswith(_PREFIXES)]
        found = self.store.series(keys, wanted)
        curves = {pair: curve_of(series) for pair, series in found.items()}
        return {
            key: {name: c for (run, name), c in curves.items() if run == key and c is not None}
            for key in keys
        }

    @cached_property
    def parts_drawn(self) -> list[str]:
        """The total of the loss, logged or summed, and its parts, of any run."""
        logged = (
            self.losses(run.key, split) for run in self.ordered for split in ("train", "val")
        )
        return list(dict.fromkeys(part for one in logged for part in one))

    @property
    def rates(self) -> list[str]:
        """The keys of learning rates."""
        return [name for name in self.names if name.startswith("lr/")]

    @cached_property
    def checkpoints(self) -> dict[str, list[Checkpoint]]:
        """The checkpoints of each run that still exist."""
        return {run.key: self.store.checkpoints(run.key) for run in self.scope.runs}

    def losses(self, key: str, split: str) -> dict[str, Curve]:
        """Part of the loss to curve, of one run and split."""
        curves = self.curves[key]
        return with_total(curves, loss_parts(self.evidence[key], list(curves)), split)

    def line(self, key: str, curve: Curve) -> Line:
        """A curve as it is drawn in the colour of its run."""
        return line(
            self.styles[key], curve.steps.astype(float), curve.values.tolist(), self.smooth
        )

    def lines(self, metric: str) -> list[Line]:
        """A metric of all runs that have it."""
        return [self.line(run.key, curve) for run in self.scope.runs
                if (curve := self.curves[run.key].get(metric)) is not None]  # fmt: skip

    def tracks(self, part: str) -> list[Track]:
        """Training and validation of a part of the loss, of all runs."""
        return [
            Track(self.line(run.key, curve), split)
            for run in self.scope.runs
            for split in ("train", "val")
            if (curve := self.losses(run.key, split).get(part)) is not None
        ]

    def marks(self, run: Run) -> list[Mark]:
        """What happened to a run."""
        last = max((int(curve.steps[-1]) for curve in self.curves[run.key].values()), default=0)
        told, saved = self.evidence[run.key], self.checkpoints[run.key]
        return marks_of(told, saved, run.best_epoch, last)

    def shipping(self, catalog: Catalog) -> Shipping | None:
        """Which evaluations of the focus could be shipped."""
        run = self.focus
        headline = self.curves[run.key].get(run.headline)
        if headline is None:
            return None
        loss = next(iter(self.losses(run.key, "val").values()), None)
        way = self.direction(run, catalog)
        return shipping(headline, way, loss, self._epochs(run, headline))

    def direction(self, run: Run, catalog: Catalog) -> Direction | None:
        """Which way its headline is better."""
        return self.evidence[run.key].direction(run.headline) or direction(
            run.headline, run.trainer, catalog
        )

    def _epochs(self, run: Run, headline: Curve) -> Mapping[int, float]:
        plan = self.evidence[run.key].plan
        if plan and plan.steps_per_epoch:
            return {s: s / plan.steps_per_epoch for s in headline.steps.tolist()}
        scale = epoch_scale(self.checkpoints[run.key])
        if scale is None:
            by_epoch = int(headline.steps[-1]) == run.epochs
            return {step: step for step in headline.steps.tolist()} if by_epoch else {}
        epochs = scale(headline.steps.astype(float)).tolist()
        return dict(zip(headline.steps.tolist(), epochs, strict=True))


def subject_of(store: RunStore, view: View) -> Subject | None:
    """The runs that a view asks for; None if there are none."""
    scope = scope_of(store.runs(), view)
    return Subject(store, scope, view.smooth) if scope else None
