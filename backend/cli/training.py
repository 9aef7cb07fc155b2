"""assay train, trainers list, replay."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import FastOption, JsonOption, SetOption, home_of, show, table

if TYPE_CHECKING:
    from backend.core.events import RunFinished
    from backend.core.workdir import WorkDir
    from backend.tracking.home import Home

STOPPED = 130
STOPPED_BY_SIGNAL = 75
"""Like EX_TEMPFAIL: the same job, started again with --resume, goes on."""
A_WASTE = 6
"""A finding ended it; the same code as of ``assay diagnose``."""

trainers = typer.Typer(help="The trainers that Assay drives.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(train)
    app.command()(replay)
    app.add_typer(trainers, name="trainers")


def train(
    context: typer.Context,
    config: Annotated[Path | None, typer.Argument(help="A YAML file; see configs/train.")] = None,
    overrides: SetOption = None,
    fast: FastOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved config and end.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN[@EPOCH]",
            help="Continue an interrupted run, by its key; with @EPOCH: a new one begins where "
            "that was at the epoch's end, if it kept its state.",
        ),
    ] = None,
) -> None:
    """Train a config as one run, tracked in MLflow."""
    if (config is None) == (resume is None):
        raise typer.BadParameter("name a CONFIG to train, or a run to --resume")
    key, at, epoch = (resume or "").partition("@")
    if resume is not None and (dry_run or fast or (overrides and not at)):
        raise typer.BadParameter("a resumed run keeps its config; start a new run to change it")
    if at:
        _branch(home_of(context), key, epoch, overrides or [])
    elif resume is not None:
        _continue(home_of(context), resume)
    elif config is not None:
        _start(home_of(context), config, overrides or [], fast, dry_run)


def _start(home: "Home", path: Path, assignments: list[str], fast: bool, dry_run: bool) -> None:
    import yaml

    from backend import launch
    from backend.catalog import load
    from backend.config.compose import parse_overrides

    loaded = load(path, parse_overrides(assignments), fast)
    if dry_run:
        show(yaml.safe_dump(loaded.config.model_dump(mode="json"), sort_keys=False))
        return
    if fast:
        show(f"--fast: {', '.join(f'{key} {value}' for key, value in loaded.fast.items())}")
    launch.reap(home)
    tags = {"fast": "true"} if fast else None
    work = launch.prepare(home, loaded.config, loaded.spec, tags=tags)
    _run(home, work, loaded.spec.preload)


def _continue(home: "Home", key: str) -> None:
    from backend.catalog import CATALOG
    from backend.core.errors import ConfigError
    from backend.core.workdir import WorkDir

    work = WorkDir(home.work_dir(key))
    trainer = work.read_run().trainer
    if trainer not in CATALOG:
        raise ConfigError(f"run {key} was imported from {trainer}; continue it where it trains")
    _run(home, work, CATALOG[trainer].preload)


def _branch(home: "Home", key: str, epoch: str, assignments: list[str]) -> None:
    from backend import launch
    from backend.catalog import CATALOG
    from backend.config.compose import parse_overrides

    if not epoch.isdecimal():
        raise typer.BadParameter(f"--resume {key}@{epoch}: name an epoch, such as {key}@48")
    work = launch.prepare_from(home, key, int(epoch), parse_overrides(assignments))
    show(f"run {work.path.name} begins after epoch {int(epoch)} of run {key}")
    _run(home, work, CATALOG[work.read_run().trainer].preload)


def _run(home: "Home", work: "WorkDir", preload: tuple[str, ...]) -> None:
    from backend import launch
    from backend.cli._progress import TrainingProgress

    with TrainingProgress() as progress:
        reader = progress.reader(f"run {work.path.name}", notes=True)
        finished = launch.run(home, work, launch.Workers(preload), [reader])
    conclude(work, finished)


def conclude(work: "WorkDir", finished: "RunFinished") -> None:
    """Say how a training ended; raise what it failed with."""
    from backend.core.errors import TrainingError
    from backend.launch import BY_SIGNAL

    if finished.refused:
        raise TrainingError(finished.reason)
    again = f"continue it: assay train --resume {work.path.name}"
    if finished.interrupted and finished.status == "failed":
        raise TrainingError(f"{finished.reason}; {again}")
    if finished.status == "failed":
        raise TrainingError(f"{finished.reason} (everything it printed: {work.output})")
    if finished.reason:
        show(f"{finished.status}: {finished.reason}")
    if finished.best:
        show(f"best checkpoint: {work.path / finished.best}")
    if work.summary.exists():
        show(f"{work.results.name} and {work.summary.name} are in {work.path}")
    if work.tensorboard.exists():
        show(f"curves: tensorboard --logdir {work.tensorboard}")
    if finished.finding:
        show(f"what to do about it: assay diagnose {work.path.name}")
        raise typer.Exit(A_WASTE)
    if finished.status == "stopped":
        show(again)
        ended = finished.reason.startswith(BY_SIGNAL)
        raise typer.Exit(STOPPED_BY_SIGNAL if ended else STOPPED)


@trainers.command("list")
def list_trainers(as_json: JsonOption = False) -> None:
    """Trainers with their tasks and freezing strategies."""
    import json

    from backend.catalog import CATALOG

    if as_json:
        shown = ("title", "task", "headline", "strategies")
        listed = {
            kind: {name: getattr(spec, name) for name in shown} for kind, spec in CATALOG.items()
        }
        show(json.dumps(listed, indent=2))
        return
    for kind, spec in CATALOG.items():
        title = f"{kind}: {spec.title} ({spec.task}), ranked by {spec.headline}"
        show(table(title, ("freezing strategy", "what it does"), list(spec.strategies.items())))


def replay(
    context: typer.Context,
    work_dir: Annotated[
        Path, typer.Argument(help="A run's folder below mlruns/work, or its key.")
    ],
) -> None:
    """Rebuild a run in MLflow, and its files, from its work directory."""
    from backend.core.workdir import WorkDir
    from backend.keeping import restore

    home = home_of(context)
    folder = work_dir if work_dir.is_dir() else home.work_dir(str(work_dir))
    home.prepare()
    run = restore(home, WorkDir(folder.absolute()))
    show(f"run {run.key} is in {home.tracking_uri} as {run.mlflow_run_id} ({run.status})")
