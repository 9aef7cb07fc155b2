"""What a user may call one side of a comparison, and what is known of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.catalog import CATALOG, Catalog, load_config
from backend.config import compose
from backend.config.schema import Section, TrainConfig
from backend.core.comparisons import Contender, Selection
from backend.core.digest import sha256, sha256_of_tree
from backend.core.errors import CheckpointError, ComparisonError, StoreError
from backend.core.events import Evaluated, RunStarted
from backend.core.records import Checkpoint, EvalReport, Run
from backend.core.sinks import first_event, read_events
from backend.core.store import RunStore
from backend.core.workdir import WorkDir
from backend.hardware.attempts import trained_with
from backend.scoring.evidence import Task
from backend.scoring.files import evaluate_files
from backend.tracking.home import Home


@dataclass(frozen=True)
class Side:
    """A checkpoint and the config that it was trained by (None: not known).

    ``report`` is the evaluation that came with it, for predictions without usable weights.
    """

    contender: Contender
    config: TrainConfig | None
    report: EvalReport | None = None


def find_side(home: Home, store: RunStore, text: str, catalog: Catalog = CATALOG) -> Side:
    """What a user may call a checkpoint.

    A weight file; ``RUN`` (its best checkpoint), ``RUN@last`` or ``RUN@7`` (an epoch); or
    ``MODEL@champion`` (the registered model's). Raises CheckpointError or StoreError.
    """
    path = Path(text).expanduser()
    if path.suffix == ".json" and path.is_file():
        raise CheckpointError(
            f"{path}: no weights; predictions need their ground truth, --gt PATH"
        )
    if path.is_file():
        return _from_file(store, path.absolute(), catalog)
    if path.suffix in {".safetensors", ".pt", ".pth"}:
        raise CheckpointError(f"{path}: no such weight file")
    name, _, which = text.partition("@")
    if which == "champion":
        champions = store.champions()
        if name not in champions:
            known = ", ".join(sorted(champions)) or "none yet"
            raise CheckpointError(
                f"no registered model '{name}' has a champion; there is: {known}"
            )
        return _from_file(store, Path(champions[name].path), catalog)
    return _from_run(home, store, name, which or "best", catalog)


def kept_sides(home: Home, store: RunStore, name: str, catalog: Catalog = CATALOG) -> list[Side]:
    """Every checkpoint that a run still has, in the order of their steps.

    Raises CheckpointError if there is none, or if one is not the file that the run saved.
    """
    run, work, checkpoints = _kept(home, store, name)
    if not checkpoints:
        raise CheckpointError(f"run {run.key} keeps no checkpoint, so there is nothing to score")
    for kept in checkpoints:
        if sha256(Path(kept.path)) != kept.sha256:
            raise CheckpointError(
                f"{kept.path}: not the file that run {run.key} saved after epoch {kept.epoch}; "
                "restore it, or delete it to leave it out"
            )
    config = _config(run, work, catalog)
    sides = []
    for kept in checkpoints:
        label = f"{run.name}@{kept.epoch}"
        sides.append(Side(_contender(store, run, kept, label, config), config))
    return sides


def prediction_side(task: Task, gt: Path, pred: Path, options: Section, out: Path) -> Side:
    """A file (or folder) of predictions, scored against ``gt``; its evidence goes to ``out``."""
    report = evaluate_files(task, gt, pred, options, out)
    checkpoint = Checkpoint(path=report.predictions, sha256=sha256_of_tree(pred), step=0, epoch=0)
    return Side(Contender(label=str(pred), checkpoint=checkpoint, trainer=""), None, report)


def shared_config(
    baseline: Side | None, candidate: Side, overrides: Mapping[str, object], config: Path | None,
    catalog: Catalog = CATALOG,
) -> TrainConfig:  # fmt: skip
    """The one config by which both sides are scored: given, the candidate's or the baseline's."""
    if config is not None:
        return load_config(config, overrides, catalog)
    found = candidate.config or (baseline.config if baseline else None)
    if found is None:
        raise ComparisonError(
            "no checkpoint here comes from a run that Assay trained, so the data and image size "
            "are unknown; name them with --config FILE"
        )
    kinds = {side.config.kind for side in (baseline, candidate) if side and side.config}
    if len(kinds) > 1:
        raise ComparisonError(f"checkpoints of different trainers: {', '.join(sorted(kinds))}")
    changed = compose.apply_overrides(found.model_dump(mode="json"), overrides)
    return compose.validate(type(found), changed, "the run's config") if overrides else found


def _from_run(home: Home, store: RunStore, name: str, which: str, catalog: Catalog) -> Side:
    run, work, checkpoints = _kept(home, store, name)
    label = run.name if which == "best" else f"{run.name}@{which}"
    if not checkpoints:
        report = _last_report(work)
        if report is None or which != "best":
            why = ": ".join(filter(None, (run.status, run.reason)))
            raise CheckpointError(f"run {run.key} has no checkpoint ({why})")
        return Side(_contender(store, run, _stand_in(report), label, None), None, report)
    if which == "best":
        chosen = [c for c in checkpoints if run.best_epoch in (c.epoch, None)][-1:]
    elif which == "last":
        chosen = checkpoints[-1:]
    else:
        chosen = [c for c in checkpoints if str(c.epoch) == which]
    if not chosen:
        epochs = ", ".join(str(c.epoch) for c in checkpoints)
        raise CheckpointError(f"run {run.key} keeps no checkpoint '{which}'; epochs: {epochs}")
    config = _config(run, work, catalog)
    report = None if config else _last_report(work)
    return Side(_contender(store, run, chosen[0], label, config), config, report)


def _kept(home: Home, store: RunStore, name: str) -> tuple[Run, WorkDir, list[Checkpoint]]:
    """A run, its folder and the checkpoints that it still has. Raises CheckpointError."""
    run = store.run(name)
    work = WorkDir(home.work_dir(run.key))
    if not work.path.exists():
        raise CheckpointError(f"run {run.key}: its work folder {work.path} is gone")
    return run, work, store.checkpoints(run.key)


def _from_file(store: RunStore, path: Path, catalog: Catalog) -> Side:
    work = WorkDir(path.parent.parent)
    facts = _facts(path)
    checkpoint = Checkpoint(
        path=str(path),
        sha256=sha256(path),
        step=int(facts.get("step", 0)),
        epoch=int(facts.get("epoch", 0)),
    )
    if not work.run.exists():
        return Side(Contender(label=path.name, checkpoint=checkpoint, trainer=""), None)
    about = work.read_run()
    label = f"{about.name} {path.stem}"
    checkpoint = checkpoint.model_copy(update={"run": about.key})
    try:
        run = store.run(about.key)
    except StoreError:  # a run of another home
        known = about.trainer in catalog
        foreign = load_config(work.config, catalog=catalog) if known else None
        params = foreign.flat() if foreign else {}
        contender = Contender(
            label=label, checkpoint=checkpoint, trainer=about.trainer, params=params
        )
        return Side(contender, foreign)
    config = _config(run, work, catalog)
    return Side(_contender(store, run, checkpoint, label, config), config)


def _facts(path: Path) -> dict[str, int]:
    """What the checkpoint's JSON says of its step and epoch; nothing for a foreign file."""
    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors" or not beside.exists():
        return {}
    try:
        facts = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise CheckpointError(f"{beside}: damaged; restore it, or delete it to go on without")
    return {key: facts[key] for key in ("step", "epoch") if isinstance(facts.get(key), int)}


def _config(run: Run, work: WorkDir, catalog: Catalog) -> TrainConfig | None:
    """What the run was trained with, also by the machine's choice; None for a run that others
    trained."""
    if run.trainer not in catalog:
        return None
    config, knobs = load_config(work.config, catalog=catalog), catalog[run.trainer].knobs
    return trained_with(config, work.path, knobs) if knobs else config


def _contender(
    store: RunStore, run: Run, checkpoint: Checkpoint, label: str, config: TrainConfig | None
) -> Contender:
    started = _started(WorkDir(Path(run.work_dir)))
    return Contender(
        label=label,
        checkpoint=checkpoint,
        trainer=run.trainer,
        params=config.flat() if config else run.params,
        data={item.split: item.digest for item in started.data} if started else {},
        environment=started.environment if started else {},
        code=run.tags.get("mlflow.source.git.commit", ""),
        selection=_selection(store, run),
        steps=_steps(store, run, checkpoint),
    )


def _steps(store: RunStore, run: Run, checkpoint: Checkpoint) -> int | None:
    """Those of the whole training for its best or last checkpoint, else those until it."""
    kept = store.checkpoints(run.key)
    if kept and checkpoint.epoch in (run.best_epoch, kept[-1].epoch):
        return kept[-1].step
    return checkpoint.step or None


def _started(work: WorkDir) -> RunStarted | None:
    """How a run began."""
    event = first_event(work.events)
    return event if isinstance(event, RunStarted) else None


def _last_report(work: WorkDir) -> EvalReport | None:
    events = read_events(work.events) if work.events.exists() else []
    reports = [e.event.report for e in events if isinstance(e.event, Evaluated)]
    return reports[-1] if reports else None


def _stand_in(report: EvalReport) -> Checkpoint:
    """Predictions in the place of the weights that made them."""
    path = Path(report.predictions)
    if not path.exists():
        raise CheckpointError(f"{path}: the predictions are gone; import them again")
    return Checkpoint(path=str(path), sha256=sha256_of_tree(path), step=0, epoch=0)


def _selection(store: RunStore, run: Run) -> Selection | None:
    """Was this run picked by a study, as its best or as one of its Pareto front?"""
    study = next((s for s in store.studies() if s.name == run.study), None)
    if study is None or run.trial not in study.picked:
        return None
    valued = sum(trial.value is not None for trial in study.trials)
    metric = " and ".join(aim.metric for aim in study.aims)
    return Selection(study=study.name, trials=valued, metric=metric)
