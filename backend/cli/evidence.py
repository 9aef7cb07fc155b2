"""assay evaluate, compare."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import JsonOption, SetOption, home_of, number, show, signed, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.core.comparisons import (
        Comparison,
        DataComparison,
        Family,
        MetricDelta,
        RecipeComparison,
    )
    from backend.core.records import Checkpoint, EvalReport
    from backend.core.trainer import TrainerSpec

MOST_ROWS = 40
MOST_COLUMNS = 6
"""Metrics of a table of checkpoints, where the trainer names none."""
CLASS_COLUMNS = {
    "tracking": ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "track_length"),
}
"""Of the table per class, by task; all that a class has where the task is not named."""

SplitOption = Annotated[str, typer.Option(help="The split of the dataset to score on.")]
ConfigOption = Annotated[
    Path | None, typer.Option(help="Data and settings to score by; default: the run's own.")
]
SIDE_HELP = (
    "A weight file, RUN, RUN@last, RUN@<epoch>, MODEL@champion, or with --gt predictions; several "
    "joined by commas are seeds of one recipe."
)
CHECKPOINT_HELP = "A weight file, RUN (its best), RUN@last, RUN@<epoch> or MODEL@champion."
CHECKPOINTS_HELP = f"{CHECKPOINT_HELP} RUN@all: each one that it kept."


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(evaluate)
    app.command()(compare)


def evaluate(
    context: typer.Context,
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINTS_HELP)],
    config: ConfigOption = None,
    split: SplitOption = "val",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score one checkpoint, or each one that a run kept, without training."""
    from backend import launch
    from backend.compare import evaluate_each
    from backend.config.compose import parse_overrides
    from backend.sides import find_side, kept_sides, shared_config
    from backend.tracking.store import MlflowStore

    home = home_of(context)
    home.prepare()
    store, run = MlflowStore(home), checkpoint.removesuffix("@all")
    every = run != checkpoint
    sides = kept_sides(home, store, run) if every else [find_side(home, store, checkpoint)]
    shared = shared_config(None, sides[0], parse_overrides(overrides or []), config)
    spec = launch.spec_for(shared)
    reports = evaluate_each(home, sides, shared, split, launch.Workers(spec.preload))
    if every:
        scored = [(s.contender.checkpoint, r) for s, r in zip(sides, reports, strict=True)]
        _show_all(store.run(run).name, scored, spec, as_json)
        return
    side, report = sides[0], reports[0]
    if as_json:
        show(report.model_dump_json(indent=2))
        return
    show(
        *whole(report, f"{side.contender.label} on {report.split}", spec),
        "", per_class(report), f"predictions: {report.predictions}",
        *(f"warning: {warning}" for warning in report.warnings),
    )  # fmt: skip


def _show_all(
    run: str,
    scored: "list[tuple[Checkpoint, EvalReport]]",
    spec: "TrainerSpec",
    as_json: bool,
) -> None:
    """Each checkpoint of a run, which is the best, and whether it is better than the last."""
    from backend.analysis.kept import judge_kept

    found = judge_kept(run, scored)
    if as_json:
        show(found.model_dump_json(indent=2))
        return
    shown = [key.removeprefix("val/") for key in spec.columns.values() if key.startswith("val/")]
    measured = scored[-1][1].metrics
    names = [name for name in shown if name in measured] or list(measured)[:MOST_COLUMNS]
    rows = [
        (f"{kept.epoch}{'*' if kept.best else ''}", str(kept.step),
         *(number(kept.metrics.get(name)) for name in names))
        for kept in found.checkpoints
    ]  # fmt: skip
    title = f"{run}: every checkpoint on {found.split} ({found.units} {found.unit}s)"
    show(
        table(title, ("epoch", "step", *names), rows),
        "",
        *found.sentences,
        *(f"warning: {warning}" for warning in found.warnings),
    )


def compare(
    context: typer.Context,
    baseline: Annotated[str, typer.Argument(help=SIDE_HELP)],
    candidates: Annotated[list[str], typer.Argument(metavar="CANDIDATE...", help=SIDE_HELP)],
    config: ConfigOption = None,
    split: SplitOption = "holdout",
    gt: Annotated[
        Path | None, typer.Option(help="Ground truth: the sides are files of predictions.")
    ] = None,
    task: Annotated[str, typer.Option(help="What such files predict.")] = "detection",
    margin: Annotated[
        list[str] | None,
        typer.Option(metavar="[METRIC=]VALUE", help="Differences inside it count as equivalent."),
    ] = None,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates.")] = 1000,
    overrides: SetOption = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the report as Markdown.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Is CANDIDATE better than BASELINE? Both are scored now, on the same units.

    Several candidates are judged together; runs joined by commas are seeds of one recipe.
    """
    from tempfile import TemporaryDirectory

    from backend import compare as comparing
    from backend.cli import _sides
    from backend.core.errors import ComparisonError

    with TemporaryDirectory() as scratch:
        truth = _sides.Truth(gt, task, overrides or []) if gt else None
        sides = _sides.find(home_of(context), [baseline, *candidates], truth, Path(scratch))
        settings = _sides.settings(margin or [], replicates)
        how = sides.how(config, split, settings, [] if truth else overrides or [])
        if sides.seeds:
            if html or markdown:
                raise ComparisonError("recipes have no report in HTML or Markdown; use --json")
            recipes = comparing.compare_seeds(sides.home, sides.recipes(), how)
            text = recipes.model_dump_json(indent=2)
            show(*([text] if as_json else recipe_tables(recipes)))
            return
        old, *new = sides.single()
        results = comparing.compare_several(sides.home, old, new, how)
        _sides.write_reports(results, html, markdown)
    if as_json:
        texts = [result.model_dump_json(indent=2) for result in results]
        show(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
        return
    for result in results:
        where = sides.home.work_dir(result.key) / "report.md"
        show(*conclusion(result), *([f"report: {where}"] if how.keep else []), "")
    if results[0].family:
        show(family_table(results[0].family))


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
    from backend.analysis import text

    def row(m: "MetricDelta") -> tuple[str, ...]:
        digits = text.digits_of(m.unit, 4)
        values = (number(m.baseline, digits), number(m.candidate, digits), signed(m.delta, digits))
        interval = bounds(m.low, m.high, partial(signed, digits=digits))
        chances = (text.p_value(m.p_value), text.share(m.wins))
        return (m.name, *values, interval, *chances, m.verdict)

    return table(
        f"{title} ({', '.join(filter(None, [data.split, f'{data.units} {data.unit}s']))})",
        (
            "metric",
            "old",
            "new",
            "difference",
            f"{text.level(confidence)} interval",
            "p",
            "new wins",
            "verdict",
        ),
        [row(one) for one in data.metrics],
    )


def family_table(family: "Family") -> object:
    """Several candidates, with intervals that hold for all of them at once."""
    from backend.analysis import text

    rows = [
        (
            *(m.label, number(family.baseline_value), number(m.value), signed(m.delta)),
            *(bounds(m.low, m.high), text.p_value(m.p_value), m.verdict),
        )
        for m in family.members
    ]
    return table(
        f"all {len(family.members)} against {family.baseline} in {family.metric}, adjusted for "
        "their number (max-statistic)",
        ("candidate", "old", "new", "difference", f"{text.level(family.confidence)} interval", "p",
         "verdict"),
        rows,
    )  # fmt: skip


def recipe_tables(found: "RecipeComparison") -> list[object]:
    """Two recipes over their seeds."""
    from backend.analysis import text

    sides = (("baseline", found.baseline), ("candidate", found.candidate))
    rows = [
        (name, str(len(side.values)), number(side.iqm), bounds(side.low, side.high, number),
         " ".join(number(value) for value in side.values))
        for name, side in sides
    ]  # fmt: skip
    level = f"{text.level(found.confidence)} interval"
    return [
        f"the candidate's recipe is {found.verdict} in {found.metric}: {signed(found.delta)} "
        f"({level} {bounds(found.low, found.high)}); one of its runs beats one of the baseline's "
        f"with probability {found.improvement:.2f} "
        f"({bounds(found.improvement_low, found.improvement_high, number)})",
        table(f"interquartile means over seeds ({found.units} units)",
              ("recipe", "seeds", "IQM", level, "each seed"), rows),
        *(f"warning: {warning}" for warning in found.warnings),
    ]  # fmt: skip


def bounds(low: float | None, high: float | None, text: "Callable[..., str]" = signed) -> str:
    """An interval; a dash where there is none."""
    return "–" if low is None or high is None else f"{text(low)} … {text(high)}"


def whole(report: "EvalReport", title: str, spec: "TrainerSpec") -> list[object]:
    """Metrics over all classes; of very many those that the trainer names, in its order."""
    from backend.analysis import text

    names = list(report.metrics)
    if len(names) > MOST_ROWS:
        names = [one.name for one in spec.metrics if one.name in report.metrics]
    values = {name: report.metrics[name] for name in names}
    rows = [(name, number(v, 0 if text.counted((v,)) else 4)) for name, v in values.items()]
    rest = len(report.metrics) - len(names)
    made = table(f"{title} ({text.plural(report.units, report.unit)})", ("metric", "value"), rows)
    return [made, *([f"{text.plural(rest, 'metric')} more: --json"] if rest else [])]


def per_class(report: "EvalReport") -> object:
    """Per-class scores."""
    from backend.analysis import text

    found = {name for scores in report.per_class.values() for name in scores}
    chosen = CLASS_COLUMNS.get(report.task, tuple(sorted(found)))
    names = [name for name in chosen if name in found]
    counts = {n for n in names if text.counted(s.get(n) for s in report.per_class.values())}
    rows = [
        (label, *(number(scores.get(name), 0 if name in counts else 4) for name in names))
        for label, scores in report.per_class.items()
    ]
    return table("per class", ("class", *names), rows)
