"""What is wrong with a run, or with the data of a config: all that is known of it, judged."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from backend import launch
from backend.analysis.diagnostics.actions import Source, resolver, typed
from backend.analysis.diagnostics.evidence import Evidence, evidence_of
from backend.analysis.diagnostics.judging import judged
from backend.analysis.diagnostics.rule import Advice
from backend.catalog import CATALOG, Catalog
from backend.config.compose import flatten
from backend.config.schema import TrainConfig
from backend.core.comparisons import Comparison
from backend.core.diagnosis import Action, Diagnosis
from backend.core.events import Diagnosed, Event
from backend.core.records import Run
from backend.core.store import RunStore
from backend.core.workdir import WorkDir
from backend.tracking import names

NO_DIFFERENCE = ("name", "seed", "experiment", "device", "diagnostics.")
"""Keys, or how they begin, in which runs of one recipe may differ."""


def diagnose_run(
    events: Sequence[Event],
    work: WorkDir,
    store: RunStore | None = None,
    run: Run | None = None,
    catalog: Catalog = CATALOG,
) -> Diagnosis:
    """All rules on a run as its events stand, with its comparisons, the other seeds of its
    recipe and its study, as far as the store has them. Raises StoreError."""
    evidence = evidence_for(events, work, store, run)
    return judged(evidence, act_for(evidence, work, catalog))


def evidence_for(
    events: Sequence[Event], work: WorkDir, store: RunStore | None = None, run: Run | None = None
) -> Evidence:
    """A run's evidence, before any rule looks at it. Raises StoreError."""
    told = [event for event in events if not isinstance(event, Diagnosed)]
    config = read_config(work)
    if store is None or run is None:
        return evidence_of(told, config)
    return evidence_of(
        told, config, comparisons_of(store, run), seeds_of(store, run), picked_of(store, run)
    )


def act_for(
    evidence: Evidence, work: WorkDir, catalog: Catalog = CATALOG
) -> Callable[[Advice], Action]:
    """What makes an advice an action on this run's own config."""
    kind = evidence.config.get("kind", "")
    ours = evidence.started is None or evidence.started.trainer == kind
    trainer = catalog.get(kind) if ours else None
    if trainer is None:  # others trained it: there is no config here to start from
        return resolver({}, evidence.config, "")
    return resolver(trainer.levers, evidence.config, typed(work.config))


def read_config(work: WorkDir) -> dict[str, str]:
    """A run's flat config; empty if there is none. Raises StoreError if it is damaged."""
    return flatten(work.read_config()) if work.config.exists() else {}


def comparisons_of(store: RunStore, run: Run) -> list[Comparison]:
    """The comparisons in which a checkpoint of the run is the candidate."""
    return [c for c in store.comparisons() if c.candidate.checkpoint.run == run.key]


def seeds_of(store: RunStore, run: Run) -> list[float]:
    """Headline values of the other finished runs that differ from this one in the seed only."""
    recipe = _recipe(run)
    same = [r for r in store.runs() if r.key != run.key and _recipe(r) == recipe]
    return [
        r.best[run.headline] for r in same if r.status == "finished" and run.headline in r.best
    ]


def _recipe(run: Run) -> tuple[str, str, dict[str, str]]:
    settings = {k: v for k, v in run.params.items() if not k.startswith(NO_DIFFERENCE)}
    return run.trainer, run.tags.get(names.DATA_SHA, ""), settings


def picked_of(store: RunStore, run: Run) -> int:
    """How many trials the run was chosen from; 1 if it was not chosen."""
    study = next((s for s in store.studies() if s.name == run.study), None)
    if study is None or run.trial not in study.picked:
        return 1
    return sum(trial.value is not None for trial in study.trials)


def check(
    config: TrainConfig, source: Source, workers: launch.Workers, catalog: Catalog = CATALOG
) -> Diagnosis:
    """The data rules alone, on what the trainer tells of its data before it trains.

    Nothing is kept. Raises what is wrong with the input as TrainingError.
    """
    spec = launch.spec_for(config, catalog)
    with tempfile.TemporaryDirectory(prefix="assay-check-") as folder:
        events = launch.survey(config, Path(folder) / "check", workers, catalog)
    evidence = evidence_of(events, config.flat())
    return judged(evidence, resolver(spec.levers, evidence.config, source), data_only=True)
