"""assay score."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import JsonOption, number, show, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.scoring.evidence import Scores, Task

PredOption = Annotated[Path, typer.Option(help="The predictions.")]

app = typer.Typer(help="Score prediction files, whoever made them.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add this group's commands."""
    parent.add_typer(app, name="score")


@app.command()
def detection(
    gt: Annotated[Path, typer.Option(help="COCO ground truth (json), or a YOLO data.yaml.")],
    pred: Annotated[Path, typer.Option(help="COCO results (json).")],
    split: Annotated[str, typer.Option(help="The split of a data.yaml.")] = "val",
    confidence: Annotated[
        float | None,
        typer.Option(help="For precision, recall and F1; default: where F1 is highest."),
    ] = None,
    iou: Annotated[float, typer.Option(help="For precision, recall and F1.")] = 0.5,
    first_category: Annotated[
        int | None, typer.Option(help="With a data.yaml: the id of the first class, 0 or 1.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """COCO AP and AR, by pycocotools; precision, recall and F1 at one confidence."""
    options = {
        "split": split, "confidence": confidence, "iou": iou, "first_category": first_category,
    }  # fmt: skip
    _score("detection", gt, pred, options, as_json)


@app.command()
def tracking(
    gt: Annotated[Path, typer.Option(help="A folder of MOT sequences (gt/gt.txt, seqinfo.ini).")],
    pred: Annotated[Path, typer.Option(help="A folder of MOT text files, one per sequence.")],
    classes: Annotated[
        Path | None, typer.Option(help="A file that names the classes, one per line from 1.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """HOTA, CLEAR and identity metrics, by trackeval; all objects together and per class."""
    _score("tracking", gt, pred, {"classes": classes}, as_json)


@app.command()
def temporal(
    gt: Annotated[Path, typer.Option(help="ActivityNet or THUMOS annotations (json).")],
    pred: Annotated[Path, typer.Option(help="ActivityNet results (json).")],
    subset: Annotated[
        str | None, typer.Option(help="Which subset; default: the one that was predicted.")
    ] = None,
    tiou: Annotated[
        str, typer.Option(help="The thresholds of temporal IoU, separated by commas.")
    ] = "0.3,0.4,0.5,0.6,0.7",
    as_json: JsonOption = False,
) -> None:
    """Mean average precision of segments per temporal IoU, and their mean."""
    options = {"subset": subset, "tiou": tiou}
    _score("temporal", gt, pred, options, as_json)


@app.command()
def spotting(
    gt: Annotated[Path, typer.Option(help="F3Set annotations (json).")],
    pred: Annotated[Path, typer.Option(help="F3Set-style predictions (json).")],
    elements: Annotated[
        Path | None, typer.Option(help="elements.txt; default: the one beside the annotations.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Frames per step; default: the annotations' own.")
    ] = None,
    tolerance: Annotated[int, typer.Option(min=0, help="In strided frames.")] = 1,
    separator: Annotated[str, typer.Option(help="Between the elements of a label.")] = "_",
    frames: Annotated[
        str | None, typer.Option(help="raw or strided: the predictions' frames; default: as told.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least score of an event; 0.5 for raw scores.")
    ] = None,
    suppress: Annotated[
        int | None, typer.Option(help="Frames in which a raw score must be the highest.")
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="Of averaging raw scores of overlapping windows.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="Groups of elements (json), to decode raw scores by.")
    ] = None,
    compat: Annotated[
        str | None, typer.Option(help="f3ed: the older rule for what is missed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """F1 of events within a tolerance, Edit, strict variants, AP and AUROC per frame."""
    options = {
        "elements": elements, "stride": stride, "tolerance": tolerance, "separator": separator,
        "frames": frames, "threshold": threshold, "suppress": suppress, "order": order,
        "groups": groups, "compat": compat,
    }  # fmt: skip
    _score("spotting", gt, pred, options, as_json)


def _score(
    task: str, gt: Path, pred: Path, options: "Mapping[str, object]", as_json: bool
) -> None:
    from backend.config.compose import validate
    from backend.scoring.tasks import TASKS

    given = {key: value for key, value in options.items() if value is not None}
    chosen = validate(TASKS[task].options, given, f"assay score {task}")
    evidence = TASKS[task].read(gt, pred, chosen)
    scores = published(evidence.scores(), TASKS[task])
    if as_json:
        show(scores.model_dump_json(indent=2))
    else:
        compared = {column.metric for column in evidence.columns}
        show(*tables(scores, TASKS[task], compared))


def published(scores: "Scores", task: "Task") -> "Scores":
    """The scores under the names that the field's evaluator prints."""

    def named(values: dict[str, float | None]) -> dict[str, float | None]:
        return {task.published.get(name, name): value for name, value in values.items()}

    per_class = {label: named(values) for label, values in scores.per_class.items()}
    renamed = {"metrics": named(scores.metrics), "per_class": per_class}
    return scores.model_copy(update=renamed)


def tables(scores: "Scores", task: "Task", compared: set[str]) -> list[object]:
    """The metrics overall and per class; of averages over views only those that are compared."""
    rows = [
        (name, _text(task, name, value))
        for name, value in scores.metrics.items()
        if name in compared or not name.startswith(("cls_", "det_"))
    ]
    names = list(dict.fromkeys(n for values in scores.per_class.values() for n in values))[:8]
    classes = [
        (label, *(_text(task, name, values.get(name)) for name in names))
        for label, values in scores.per_class.items()
    ]
    return [
        table(f"{scores.task} ({scores.units} {task.unit}s)", ("metric", "value"), rows),
        *(["", table("per class", ("class", *names), classes)] if classes else []),
        *(f"warning: {warning}" for warning in scores.warnings),
    ]


def _text(task: "Task", name: str, value: float | None) -> str:
    """A metric with four decimals; a count without any."""
    unit = next((spec.unit for spec in task.metrics if spec.name == name), "")
    counted = unit not in ("", "%") or name == "instances"
    return number(value, 0 if counted and value is not None and value.is_integer() else 4)
