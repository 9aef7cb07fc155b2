"""assay export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import JsonOption, home_of, number, show, table
from backend.cli.evidence import CHECKPOINT_HELP, ConfigOption

if TYPE_CHECKING:
    from backend.config.schema import TrainConfig
    from backend.core.trainer import ExportReport
    from backend.sides import Side


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(export)


def export(
    context: typer.Context,
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)],
    to: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="onnx, ultralytics: a .pt for its own tools, or motrv2: a .pth for those of "
            "MOTRv2; default: the trainer's first.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; default: the run's folder export, or beside the file."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Score both on its val split; default: the run's data.")
    ] = None,
    imgsz: Annotated[int | None, typer.Option(help="Image size; default: as trained.")] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Take any batch and image size (onnx).")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint in another format, after checking that it answers alike."""
    from tempfile import TemporaryDirectory

    from backend import launch
    from backend.core.trainer import ExportRequest
    from backend.sides import find_side
    from backend.tracking.store import MlflowStore

    home = home_of(context)
    home.prepare()
    side = find_side(home, MlflowStore(home), checkpoint)
    given = {"imgsz": imgsz, "data": str(data) if data else None}
    changes: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    shared = _config(side, changes, config)
    weights = Path(side.contender.checkpoint.path)
    spec = launch.spec_for(shared)
    to = to or next(iter(spec.exports), "onnx")
    known = side.config is not None or config is not None
    request = ExportRequest(
        checkpoint=str(weights),
        format=to,
        out=str((out or _place(weights, to)).absolute()),
        data=str(shared.data) if data or (known and shared.data.exists()) else "",
        dynamic=dynamic,
    )
    with TemporaryDirectory() as scratch:
        workers = launch.Workers(spec.preload)
        report = launch.export(shared, request, Path(scratch) / "export", workers)
    show(*([report.model_dump_json(indent=2)] if as_json else _told(report)))


def _config(side: "Side", changes: dict[str, object], config: Path | None) -> "TrainConfig":
    """The given config, the run's, or for a checkpoint of Assay without its run what it says."""
    from backend.catalog import resolve
    from backend.sides import shared_config

    weights = Path(side.contender.checkpoint.path)
    if config or side.config or weights.suffix != ".safetensors":
        return shared_config(None, side, changes, config)
    from backend.nn.finetune.weights import read_facts

    facts = read_facts(weights)
    known = {"model": str(weights), "imgsz": facts["imgsz"]} if "imgsz" in facts else {}
    base = {"kind": facts.get("trainer"), "data": "", **known}
    return resolve(base, changes, str(weights))


def _place(weights: Path, to: str) -> Path:
    """A file of this format in the folder ``export`` of the checkpoint's run, or beside it."""
    from backend.core.exporting import SUFFIXES
    from backend.core.workdir import WorkDir

    work = WorkDir(weights.parent.parent)
    folder = work.path / "export" if work.run.exists() else weights.parent
    return folder / f"{weights.stem}{SUFFIXES.get(to, '')}"


def _told(report: "ExportReport") -> list[object]:
    from backend.analysis import text

    def row(name: str) -> tuple[str, str, str]:
        both = (report.reference.get(name), report.metrics[name])
        digits = 0 if text.counted(both) else 4
        return name, number(both[0], digits), number(both[1], digits)

    rows = [row(name) for name in report.metrics]
    facts = [
        (name, f"{value:.2g}" if isinstance(value, float) else str(value))
        for name, value in report.facts.items()
    ]
    differ = "" if report.difference is None else f", outputs differ by {report.difference:.1e}"
    return [
        f"{report.path} ({report.bytes / 1e6:.1f} MB{differ})",
        *([table("scored now", ("metric", "checkpoint", report.format), rows)] if rows else []),
        table("what it is", ("fact", "value"), facts),
        *(f"warning: {warning}" for warning in report.warnings),
    ]
