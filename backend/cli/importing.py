"""assay import, assay epochs: runs that others trained."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backend.cli._common import JsonOption, home_of, number, show, table

if TYPE_CHECKING:
    from backend.adopt import Adopted
    from backend.analysis.epochs import EpochComparison
    from backend.importers.source import Asked, Found

FOLLOW_SECONDS = 10.0

PathArgument = Annotated[
    Path, typer.Argument(resolve_path=True, help="The run's folder, or the file itself.")
]
NameOption = Annotated[str, typer.Option(help="How the run is called; default: its folder.")]
HeadlineOption = Annotated[
    str, typer.Option(help="The metric that ranks epochs; default: the best known one.")
]
DirectionOption = Annotated[
    Literal["maximize", "minimize"] | None,
    typer.Option(help="Whether more of the headline metric is better, if its name is unknown."),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="NAME=SPLIT/METRIC", help="Our key for a name of the source."),
]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, help="How many epochs were planned, if the source is silent.")
]
FollowOption = Annotated[
    bool, typer.Option("--follow", help="Read on while the training runs; Ctrl-C ends it.")
]
NewOption = Annotated[
    bool, typer.Option("--new", help="A run of its own, though its folder was imported before.")
]

importing = typer.Typer(
    help="Take in runs that others trained; nothing of theirs is executed.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(importing, name="import")
    app.command()(epochs)


def _of_folder(kind: str, help: str) -> None:
    """Add the command of a kind whose sources are one folder or file."""

    @importing.command(kind, help=help)
    def command(
        context: typer.Context, path: PathArgument, name: NameOption = "",
        headline: HeadlineOption = "", direction: DirectionOption = None,
        rename: MapOption = None, epochs: EpochsOption = None, follow: FollowOption = False,
        new: NewOption = False, as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        from backend.importers import history, mmengine, tensorboard, ultralytics

        readers = {
            "ultralytics": ultralytics.read,
            "mmengine": mmengine.read,
            "tensorboard": tensorboard.read,
            "json": history.read,
        }
        asked = _asked(name, headline, direction, rename, epochs)
        _import(context, asked, lambda: readers[kind](path, asked), follow, new, as_json)


_of_folder("ultralytics", "A run of Ultralytics: results.csv, args.yaml, weights.")
_of_folder("mmengine", "A work directory of mmengine or mmcv: JSON logs, config, weights.")
_of_folder("tensorboard", "TensorBoard event files: scalars and hyperparameters.")
_of_folder("json", "A loss.json, JSON lines, a mapping of lists, or a trainer_state.json.")


@importing.command()
def csv(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(resolve_path=True, help="Tables of one training, or a folder.")
    ],
    epoch: Annotated[str, typer.Option(help="The column that counts epochs.")] = "",
    step: Annotated[str, typer.Option(help="The column that counts optimizer steps.")] = "",
    name: NameOption = "", headline: HeadlineOption = "", direction: DirectionOption = None,
    rename: MapOption = None, epochs: EpochsOption = None, follow: FollowOption = False,
    new: NewOption = False, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Tables of epochs; several are joined by epoch."""
    from backend.importers import table as importer

    asked = _asked(name, headline, direction, rename, epochs)
    columns = importer.Columns(epoch, step)
    _import(
        context, asked, lambda: importer.read(paths, columns, asked, follow), follow, new, as_json
    )  # fmt: skip


@importing.command()
def predictions(
    context: typer.Context,
    task: Annotated[str, typer.Option(help="detection, tracking, temporal or spotting.")],
    gt: Annotated[Path, typer.Option(resolve_path=True, help="Ground truth.")],
    pred: Annotated[Path, typer.Option(resolve_path=True, help="Predictions.")],
    checkpoint: Annotated[
        Path | None, typer.Option(resolve_path=True, help="The weights that made them.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "--option", metavar="KEY=VALUE", help="An option of the task's scoring."
        ),
    ] = None,
    name: NameOption = "",
    new: NewOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predictions, scored and kept so that they can be compared."""
    from dataclasses import replace

    from backend.adopt import take_in
    from backend.config.compose import parse_overrides, validate
    from backend.core.errors import ConfigError
    from backend.importers import predictions as importer
    from backend.scoring.tasks import TASKS

    if task not in TASKS:
        raise ConfigError(f"no task '{task}'; choose one of {', '.join(TASKS)}")
    how = validate(TASKS[task].options, parse_overrides(options or []), f"--set, {task}")
    found = importer.read(TASKS[task], (gt, pred), how, checkpoint)
    found = replace(found, name=name or found.name, named=bool(name))
    _conclude(take_in(home_of(context), [found], anew=new), as_json)


@importing.command("motrv2-args")
def motrv2_args(
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Arguments of MOTRv2's training, or its script."),
    ],
    out: Annotated[Path, typer.Option(help="The config to write, .yaml.")],
    data: Annotated[
        Path | None, typer.Option(help="The folder of MOT sequences, if the file is silent.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """A config from MOTRv2's arguments; says what is taken, left open and without effect."""
    from backend.cli._motrv2_arguments import write_config

    write_config(path, out, data, as_json=as_json)


def epochs(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A run's key or name.")],
    first: Annotated[int, typer.Argument(metavar="A", help="The old epoch.")],
    second: Annotated[int, typer.Argument(metavar="B", help="The new epoch.")],
    headline: HeadlineOption = "",
    margin: Annotated[
        float, typer.Option(min=0, help="Differences inside this decide nothing.")
    ] = 0.01,
    as_json: JsonOption = False,
) -> None:
    """Is epoch B of a run better than epoch A? What the curve alone can say."""
    from backend.analysis.epochs import compare_epochs, curves_of, directions_of, metric_named
    from backend.core.sinks import read_events
    from backend.core.workdir import WorkDir
    from backend.tracking.store import MlflowStore

    found = MlflowStore(home_of(context)).run(run)
    curves, started = curves_of(read_events(WorkDir(Path(found.work_dir)).events))
    result = compare_epochs(
        curves,
        directions_of(started, curves),
        (first, second),
        headline=metric_named(headline, curves) if headline else started.headline,
        run=found.name,
        margin=margin,
    )
    if as_json:
        show(result.model_dump_json(indent=2))
        return
    show(*result.sentences, _changes(result))


def _asked(
    name: str,
    headline: str,
    direction: Literal["maximize", "minimize"] | None,
    pairs: list[str] | None,
    epochs: int | None,
) -> "Asked":
    from backend.core.errors import ConfigError
    from backend.core.events import METRIC_KEY
    from backend.importers.source import Asked

    rename = {}
    for pair in pairs or []:
        theirs, found, ours = pair.rpartition("=")
        if not found or not METRIC_KEY.fullmatch(ours):
            raise ConfigError(
                f"--map {pair}: not NAME=SPLIT/METRIC with a lower-case split, such as "
                "'F1 score=val/f1'"
            )
        rename[theirs] = ours
    return Asked(name, headline, direction, rename, epochs)


def _import(
    context: typer.Context, asked: "Asked", read: "Callable[[], Found]", follow: bool, new: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Read once, or on and on, and say what came of it."""
    import time

    from backend.adopt import polls, take_in
    from backend.importers.source import described

    def once() -> "Found":
        return described(read(), asked)

    def told(found: "Found", values: int) -> None:
        if follow and values and not as_json:
            last = max(point.epoch for point in found.points)
            show(f"epoch {last}: {values} new values")

    reads = polls(once, lambda: time.sleep(FOLLOW_SECONDS)) if follow else iter([once()])
    _conclude(take_in(home_of(context), reads, anew=new, told=told), as_json)


def _conclude(result: "Adopted", as_json: bool) -> None:
    if as_json:
        show(result.model_dump_json(indent=2))
        return
    if result.nothing_new:
        show(f"run {result.key}: nothing new ({result.total_values} values, {result.status})")
        return
    best = "" if result.best_epoch is None else f", best at epoch {result.best_epoch}"
    show(
        f"run {result.key}: {result.values} new values, {result.checkpoints} checkpoints; ranked "
        f"by {result.headline}{best}",
        *(["the source had rewritten its history, so all was read anew"] * result.rewritten),
        *(f"note: {note}" for note in result.notes),
        *([f"{result.status}: {result.reason}"] if result.reason else []),
    )


def _changes(result: "EpochComparison") -> object:
    rows = [
        (
            *(change.name, number(change.first), number(change.second)),
            "–" if change.delta is None else f"{change.delta:+.4f}".replace("-", "−"),
            "–" if change.slope is None else f"{change.slope:+.5f}".replace("-", "−"),
            *(number(change.scatter, 5), "against" if change.against else ""),
        )
        for change in result.metrics
        if change.delta is not None
    ]
    names = ("metric", f"epoch {result.first}", f"epoch {result.second}", "difference",
             "trend per epoch", "scatter", "")  # fmt: skip
    return table(f"run {result.run}", names, rows)
