"""assay evaluate, compare, score."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import JsonOption, SetOption, home_of, number, show, signed, table

if TYPE_CHECKING:
    from backend.core.records import Comparison, DataComparison, EvalReport

SplitOption = Annotated[str, typer.Option(help="The split of the dataset to score on.")]
ConfigOption = Annotated[
    Path | None, typer.Option(help="Data and settings to score by; default: the run's own.")
]
CHECKPOINT_HELP = "A weight file, RUN (its best), RUN@last, RUN@<epoch>, or MODEL@champion."

score_app = typer.Typer(help="Score prediction files, whoever made them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(evaluate)
    app.command()(compare)
    app.add_typer(score_app, name="score")


def evaluate(
    context: typer.Context,
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)],
    config: ConfigOption = None,
    split: SplitOption = "val",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score one checkpoint, without training."""
    from backend import compare as comparing
    from backend import launch
    from backend.config.compose import parse_overrides
    from backend.tracking.store import MlflowStore

    home = home_of(context)
    home.prepare()
    side = comparing.find_side(home, MlflowStore(home), checkpoint)
    shared = comparing.shared_config(None, side, parse_overrides(overrides or []), config)
    workers = launch.Workers(launch.spec_for(shared).preload)
    report = comparing.evaluate_one(home, side, shared, split, workers)
    if as_json:
        show(report.model_dump_json(indent=2))
        return
    rows = [(name, number(value)) for name, value in report.metrics.items()]
    show(
        table(f"{side.contender.label} on {report.split} ({report.units} images)",
              ("metric", "value"), rows),
        "", per_class(report), f"predictions: {report.predictions}",
        *(f"warning: {warning}" for warning in report.warnings),
    )  # fmt: skip


def compare(
    context: typer.Context,
    baseline: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)],
    candidate: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)],
    config: ConfigOption = None,
    split: SplitOption = "holdout",
    margin: Annotated[
        float, typer.Option(min=0, help="Differences inside this count as equivalent.")
    ] = 0.01,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates.")] = 1000,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is CANDIDATE better than BASELINE? Both are scored now, on the same images."""
    from backend import compare as comparing
    from backend import launch
    from backend.analysis.comparison import ComparisonSettings
    from backend.config.compose import parse_overrides
    from backend.tracking.store import MlflowStore

    home = home_of(context)
    home.prepare()
    store = MlflowStore(home)
    sides = comparing.find_side(home, store, baseline), comparing.find_side(home, store, candidate)
    shared = comparing.shared_config(*sides, parse_overrides(overrides or []), config)
    spec = launch.spec_for(shared)
    how = comparing.Comparing(
        config=shared,
        split=split,
        settings=ComparisonSettings(primary=spec.primary, margin=margin, replicates=replicates),
    )
    result = comparing.compare(home, *sides, how, launch.Workers(spec.preload))
    if as_json:
        show(result.model_dump_json(indent=2))
        return
    show(*conclusion(result), f"report: {home.work_dir(result.key) / 'report.md'}")


def conclusion(result: "Comparison") -> list[object]:
    """A comparison as tables."""
    head = result.headline
    things: list[object] = [
        f"{result.candidate.label} against {result.baseline.label}: {head.verdict} in "
        f"{head.name} ({number(head.baseline)} → {number(head.candidate)})",
        deltas("on the target data", result.target, result.confidence),
    ]
    if result.source is not None:
        things += [
            "",
            deltas("forgetting: on the source domain", result.source, result.confidence),
        ]
    return [*things, *(f"warning: {warning}" for warning in result.warnings)]


def deltas(title: str, data: "DataComparison", confidence: float) -> object:
    """The metrics of one dataset, old and new."""
    rows = [
        (
            *(m.name, number(m.baseline), number(m.candidate), signed(m.delta)),
            f"{signed(m.low)} … {signed(m.high)}",
            *("–" if m.wins is None else f"{m.wins:.0%}", m.verdict),
        )
        for m in data.metrics
    ]
    return table(
        f"{title} ({data.split}, {data.units} {data.unit}s)",
        (
            "metric",
            "old",
            "new",
            "difference",
            f"{confidence:.0%} interval",
            "new wins",
            "verdict",
        ),
        rows,
    )


def per_class(report: "EvalReport") -> object:
    """Per-class scores."""
    names = sorted({name for scores in report.per_class.values() for name in scores})
    rows = [
        (label, *(number(scores.get(name)) for name in names))
        for label, scores in report.per_class.items()
    ]
    return table("per class", ("class", *names), rows)


@score_app.command()
def detection(
    gt: Annotated[Path, typer.Option(help="COCO ground truth (json).")],
    pred: Annotated[Path, typer.Option(help="COCO results (json).")],
    as_json: JsonOption = False,
) -> None:
    """COCO mAP of a results file, by pycocotools."""
    import json

    from backend.scoring.detection import load_ground_truth, load_predictions, score

    truth = load_ground_truth(gt)
    scores = score(truth, load_predictions(pred))
    if as_json:
        answer = {
            "task": "detection",
            "metrics": scores.metrics,
            "per_class": scores.per_class,
            "units": len(truth["images"]),
            "warnings": list(scores.warnings),
        }
        show(json.dumps(answer, indent=2))
        return
    rows = [(name, number(value)) for name, value in scores.metrics.items()]
    show(table("detection", ("metric", "value"), rows))
    show(*(f"warning: {warning}" for warning in scores.warnings))
