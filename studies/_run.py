"""Run a study to its number of trials, and project it for readers."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from backend import launch
from backend.catalog import CATALOG, Catalog, load_config, spec_of
from backend.config.schema import TrainConfig
from backend.core.errors import ConfigError, StudyError
from backend.core.records import StudyObjective, StudyRecord, TrialRecord
from backend.tracking.home import Home
from studies import _storage
from studies._driver import COUNTED, Driver
from studies._interrupt import Interrupt
from studies._objective import Objective, Watch, no_watch
from studies._spec import StudySpec

MIN_FOR_IMPORTANCE = 4


@dataclass(frozen=True)
class StudyRun:
    """How to run a study: where, under which name, how many trials, how many at once."""

    home: Home
    spec: StudySpec
    base: TrainConfig
    name: str
    trials: int
    concurrent: int = 1
    catalog: Catalog = field(default_factory=lambda: CATALOG)
    watch: Watch = no_watch


def base_config(
    spec: StudySpec, path: Path | None, overrides: dict[str, object], catalog: Catalog = CATALOG
) -> TrainConfig:
    """The config that every trial starts from. Raises ConfigError."""
    path = path or spec.config
    if path is None:
        raise ConfigError(f"study '{spec.name}' has no config of its own; name one with --config")
    return load_config(path, overrides, catalog)


def run_study(run: StudyRun, workers: launch.Workers | None = None) -> StudyRecord:
    """Continue a study until it has ``run.trials`` completed or pruned trials.

    Trials whose supervisor or training process was killed are tried again. Raises
    StudyError when several trials in a row fail by their own fault.
    """
    run.spec.check(run.base)
    trainer = spec_of(run.base.kind, "config", run.catalog)
    objectives = run.spec.objectives(trainer)
    metrics = tuple(objective.metric for objective in objectives)
    run.home.prepare()
    launch.reap(run.home)
    study = _storage.open_study(
        run.home, run.name, [objective.direction for objective in objectives], run.spec.seed,
        run.spec.startup_trials, round(run.spec.warmup * run.base.epochs),
    )  # fmt: skip

    one_at_a_time = threading.Lock()

    def show() -> None:
        with one_at_a_time:
            _project(run, study)

    with _storage.storage_errors(run.home):
        _declare(study, run, metrics)
        _storage.reclaim(run.home, study)
        objective = Objective(
            home=run.home, study=run.name, spec=run.spec, base=run.base, trainer=trainer,
            metrics=metrics, workers=workers or launch.Workers(trainer.preload),
            interrupt=Interrupt(), catalog=run.catalog, watch=run.watch,
            started=show,
        )  # fmt: skip
        driver = Driver(study, objective, run.trials, show)
        driver.run(run.concurrent)
        return record(study)


def _declare(study: optuna.Study, run: StudyRun, metrics: tuple[str, ...]) -> None:
    """Remember what the study measures and queue its first trials, once."""
    metric = ", ".join(metrics)
    known = _storage.METRIC in study.user_attrs
    stored = ", ".join(_storage.metrics_of(study)) if known else metric
    if stored != metric:
        raise StudyError(
            f"study '{run.name}' is stored with metric '{stored}', not '{metric}'; run it under "
            "another --name"
        )
    base = run.base.flat()
    begun = study.get_trials(deepcopy=False, states=COUNTED)
    before = study.user_attrs.get("base", base) if begun else base
    changed = sorted(
        key for key in base.keys() | before.keys() if base.get(key) != before.get(key)
    )
    if changed:
        what = ", ".join(f"{key} {before.get(key, '')} -> {base.get(key, '')}" for key in changed)
        raise StudyError(
            f"study '{run.name}' is stored with another config: {what}; its trials would not be "
            "comparable, so run it under another --name"
        )
    if run.spec.listed:
        _declare_list(study, run)
    if not study.trials:
        study.set_user_attr(_storage.METRIC, metrics[0])
        if len(metrics) > 1:
            study.set_user_attr(_storage.METRICS, metrics)
        study.set_user_attr("description", run.spec.description)
        for params in run.spec.first(run.base):
            study.enqueue_trial(params)
    study.set_user_attr("base", base)
    study.set_user_attr("target", run.trials)


def _declare_list(study: optuna.Study, run: StudyRun) -> None:
    """Remember all that is to be tried; another list needs another name."""
    listed = [dict(params) for params in run.spec.first(run.base)]
    if study.user_attrs.get("listed", listed) != listed:
        raise StudyError(
            f"study '{run.name}' is stored with other values to try; run it under another --name"
        )
    study.set_user_attr("listed", listed)


def _project(run: StudyRun, study: optuna.Study) -> None:
    from backend.tracking.writer import log_study  # noqa: PLC0415 (MLflow takes seconds to import)

    log_study(run.home, record(study))


def record(study: optuna.Study) -> StudyRecord:
    """A study as the dashboard reads it."""
    trials = study.get_trials(deepcopy=False)
    complete = any(trial.state is TrialState.COMPLETE for trial in trials)
    objectives = _objectives(study, [t for t in trials if t.state in COUNTED])
    several = len(objectives) > 1
    return StudyRecord(
        name=study.study_name,
        metric=objectives[0].metric,
        direction=objectives[0].direction,
        target=int(study.user_attrs.get("target", len(trials))),
        trials=tuple(_trial(study, trial) for trial in trials),
        importances=objectives[0].importances,
        best=study.best_trial.number if complete and not several else None,
        description=str(study.user_attrs.get("description", "")),
        objectives=objectives if several else (),
        front=_front(study) if several else (),
    )


def _objectives(study: optuna.Study, counted: list[FrozenTrial]) -> tuple[StudyObjective, ...]:
    stored = zip(_storage.metrics_of(study), _storage.directions_of(study), strict=True)
    return tuple(
        StudyObjective(
            metric=metric, direction=direction, importances=_importances(study, counted, at)
        )
        for at, (metric, direction) in enumerate(stored)
    )


def _front(study: optuna.Study) -> tuple[int, ...]:
    """The trials that no other one dominates, the best in the first objective first."""
    sign = -1 if _storage.directions_of(study)[0] == "maximize" else 1
    ranked = sorted((sign * t.values[0], t.number) for t in study.best_trials)
    return tuple(number for _, number in ranked)


def _values(study: optuna.Study, trial: FrozenTrial) -> tuple[float, ...]:
    """A trial's value of each objective; of an unfinished one what it reached, if anything."""
    if trial.state is TrialState.COMPLETE:
        return tuple(trial.values)
    if len(study.directions) > 1:
        return tuple(trial.user_attrs.get(_storage.REACHED, ()))
    seen = trial.intermediate_values.values()
    best_of = max if _storage.directions_of(study) == ["maximize"] else min
    return (best_of(seen),) if seen else ()


def _trial(study: optuna.Study, trial: FrozenTrial) -> TrialRecord:
    names = {TrialState.FAIL: "failed", TrialState.COMPLETE: "complete"}
    values = _values(study, trial)
    return TrialRecord.model_validate(
        {
            "number": trial.number,
            "state": names.get(trial.state, trial.state.name.lower()),
            "value": next(iter(values), None),
            "values": values if len(study.directions) > 1 else (),
            "params": trial.params or trial.system_attrs.get("fixed_params", {}),
            "run": str(trial.user_attrs.get(_storage.RUN, "")),
            "started": trial.datetime_start.timestamp() if trial.datetime_start else None,
            "ended": trial.datetime_complete.timestamp() if trial.datetime_complete else None,
            "note": str(trial.user_attrs.get("note", "")),
            "finding": str(trial.user_attrs.get(_storage.FINDING, "")),
            "costs": trial.user_attrs.get(_storage.COSTS, {}),
        }
    )


def _importances(
    study: optuna.Study, trials: list[FrozenTrial], at: int
) -> dict[str, float] | None:
    """fANOVA (Hutter et al. 2014) of the objective at place ``at``; None while undefined.

    Completed and pruned trials count, a pruned one with the best value that it reached: leaving
    it out would hide just the choices that do worst. Parameters that not every trial has are
    left out.
    """
    seen = [(trial, values[at]) for trial in trials if (values := _values(study, trial))]
    if len(seen) < MIN_FOR_IMPORTANCE or len({value for _, value in seen}) < 2:
        return None
    common = set.intersection(*(set(trial.params) for trial, _ in seen))
    varied = [p for p in sorted(common) if len({trial.params[p] for trial, _ in seen}) > 1]
    if not varied:
        return None
    copied = optuna.create_study(direction=study.directions[at])
    for trial, value in seen:
        copied.add_trial(
            create_trial(
                params={p: trial.params[p] for p in varied},
                distributions={p: trial.distributions[p] for p in varied},
                value=value,
            )
        )
    evaluator = FanovaImportanceEvaluator(seed=0)
    shares = get_param_importances(copied, evaluator=evaluator, params=varied)
    return {name: float(share) for name, share in shares.items()}
