"""assay study list | run | show."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.cli._common import JsonOption, SetOption, home_of, number, show, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.core.records import StudyRecord, TrialRecord
    from backend.core.sinks import EventSink
    from backend.core.workdir import WorkDir
    from backend.tracking.home import Home

SWEEP = "sweep"

study = typer.Typer(help="Searches over freezing, learning rates and more.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(study, name="study")


def studies(module: str) -> Any:
    """A module of the studies package, which sits above this one and is found by name."""
    return importlib.import_module(f"studies.{module}")


@study.command("list")
def list_studies(context: typer.Context) -> None:
    """Study files, and the studies stored so far."""
    specs = [studies("_spec").find(name) for name in studies("_spec").names()]
    show(table("study files", ("name", "trials", "what it searches"),
               [(s.name, str(s.trials), s.description) for s in specs]))  # fmt: skip
    stored = studies("_storage").stored_names(home_of(context))
    show("", f"stored studies: {', '.join(stored) or 'none yet'}")


@study.command()
def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A study file; see `assay study list`.")],
    config: Annotated[
        Path | None, typer.Option(help="The config every trial starts from.")
    ] = None,
    study_name: Annotated[
        str | None, typer.Option("--name", help="Store it under this name; default: the file's.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Go on until so many are completed or pruned.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials at the same time.")] = 1,
    overrides: SetOption = None,
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,...", help="Of the study sweep: the values of a key."),
    ] = None,
) -> None:
    """Start a study, or continue it where it was left."""
    from backend.cli._progress import TrainingProgress
    from backend.config.compose import parse_overrides

    if over and name != SWEEP:
        raise typer.BadParameter(f"--over is for the study '{SWEEP}'")
    spec = studies("_spec").find(name)
    base = studies("_run").base_config(spec, config, parse_overrides(overrides or []))
    stored = study_name or spec.name
    if name == SWEEP:
        spec, stored = _sweep(home_of(context), base, over, study_name, config)
    total = (
        min(trials or spec.count(base), spec.count(base)) if spec.listed else trials or spec.trials
    )
    with TrainingProgress(f"study {stored}", total=total) as progress:
        record = studies("_run").run_study(
            studies("_run").StudyRun(
                home=home_of(context), spec=spec, base=base, name=stored, trials=total,
                concurrent=workers, watch=watcher(progress),
            )
        )  # fmt: skip
    show(*summary(record, costs(home_of(context))))


def _sweep(
    home: "Home", base: Any, over: list[str] | None, name: str | None, config: Path | None
) -> tuple[Any, str]:
    """The sweep that is asked for, or that is stored under the name; and its name."""
    sweep = studies(SWEEP)
    spec = sweep.over(over, base) if over else (sweep.stored(home, name) if name else None)
    spec = spec or sweep.STUDY
    return spec, name or sweep.name_of(spec, base, config or Path(SWEEP))


@study.command("show")
def show_study(context: typer.Context, name: str, as_json: JsonOption = False) -> None:
    """The trials of a stored study, best first."""
    stored = studies("_storage").load_study(home_of(context), name)
    record = studies("_run").record(stored)
    if as_json:
        show(record.model_dump_json(indent=2))
    else:
        show(*summary(record, costs(home_of(context))))


def costs(home: "Home") -> dict[str, float]:
    """GFLOP of one image by run, as far as its trainer counts them."""
    from backend.analysis.experts import gflops_by_run
    from backend.tracking.store import MlflowStore

    return gflops_by_run(MlflowStore(home).runs())


def watcher(progress: Any) -> Any:
    """A bar for each trial, labelled with what it tries."""

    def watch(number: int, overrides: dict[str, object], work: "WorkDir") -> "Sequence[EventSink]":
        return [progress.reader(f"trial {number} · {describe(overrides)}")]

    return watch


def describe(params: dict[str, Any]) -> str:
    """A trial's parameters in a line."""
    return " ".join(
        f"{_called(key)}={_short(value) if isinstance(value, float) else value}"
        for key, value in params.items()
        if value is not None
    )


def _short(value: float) -> str:
    """Two digits, or three that say all of it: 0.125 was chosen, 0.00027 drawn."""
    whole = f"{value:.3g}"
    return whole if float(whole) == value else f"{value:.2g}"


def _called(key: str) -> str:
    """The last name of a key; of a rate ``lr.detector``, of that of all groups ``lr``."""
    group, _, name = key.removesuffix(".all").rpartition(".")
    return f"lr.{name}" if group.endswith(".lr") else name


def summary(record: "StudyRecord", gflops: "Mapping[str, float]") -> list[object]:
    """The study as a table, best trial first, and what mattered.

    With several objectives the Pareto front has a table of its own before the others.
    """
    from backend.analysis.costs import NOTE, known_costs
    from backend.analysis.experts import against_dense
    from backend.analysis.findings import stopped_trials

    sign = -1 if record.direction == "maximize" else 1

    def rank(trial: "TrialRecord") -> tuple[bool, float]:
        return (trial.state != "complete", sign * trial.value if trial.value is not None else 0.0)

    ranked = sorted(record.trials, key=rank)
    things = _tables(record, ranked, gflops) if not record.objectives else [
        *_tables(record, [t for t in ranked if t.number in record.front], gflops, "Pareto front"),
        *_front_note(record),
        *_tables(record, [t for t in ranked if t.number not in record.front], gflops, "the rest"),
    ]  # fmt: skip
    things += [f"{said}." for said in (*stopped_trials(record), *against_dense(record, gflops))]
    note = [NOTE] if known_costs(record) else []
    return [*things, *_importances(record), *note]


def _tables(
    record: "StudyRecord",
    trials: "Sequence[TrialRecord]",
    gflops: "Mapping[str, float]",
    part: str = "",
) -> list[object]:
    """One table, or none for no trials of a part."""
    from backend.analysis.costs import known_costs

    if part and not trials:
        return []
    aims = record.aims
    costly = any(trial.run in gflops for trial in record.trials)
    took = known_costs(record)
    rows = [
        (str(t.number), t.state, *_values(t, len(aims)), *_cost(gflops.get(t.run), costly),
         *(cost.text(t) for cost in took), describe(dict(t.params)), t.run)
        for t in trials
    ]  # fmt: skip
    judged = "; ".join(f"{aim.metric}, {aim.direction}" for aim in aims)
    heads = [aim.metric for aim in aims] if record.objectives else ["value"]
    title = f"study {record.name}{f', {part}' if part else ''}: {judged}"
    heads += [*(["GFLOP"] if costly else []), *(cost.title for cost in took)]
    columns = ("trial", "state", *heads, "parameters", "run")
    return [table(title, columns, rows)]


def _values(trial: "TrialRecord", count: int) -> tuple[str, ...]:
    if count == 1:
        return (number(trial.value),)
    return tuple(map(number, trial.values)) or ("",) * count


def _front_note(record: "StudyRecord") -> list[object]:
    if not record.front:
        return ["No trial has all values yet, so there is no front."]
    first = record.metric
    return [
        f"No trial is better than one of the front in every objective; listed by {first}, best "
        "first. Which one to take is your choice; two of them on data that no trial saw: assay "
        "compare RUN RUN --split holdout."
    ]


def _importances(record: "StudyRecord") -> list[object]:
    things: list[object] = []
    for aim in record.aims:
        ordered = sorted((aim.importances or {}).items(), key=lambda item: -item[1])
        shares = ", ".join(f"{key} {share:.0%}" for key, share in ordered)
        of = f" for {aim.metric}" if record.objectives else ""
        things += [f"importance{of}: {shares}"] if shares else []
    return things


def _cost(gflops: float | None, shown: bool) -> tuple[str, ...]:
    return ("" if gflops is None else f"{gflops:.3g}",) if shown else ()
