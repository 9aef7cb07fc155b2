"""The numbers of a training: per epoch, of its final evaluation, and of what was exported."""

from collections.abc import Sequence

from backend.analysis import text
from backend.analysis.report.blocks import Block, cell, code, table
from backend.analysis.report.course import Course
from backend.analysis.report.trends import Watched
from backend.core.events import FileSaved
from backend.core.records import EvalReport

MOST_ROWS = 60
MOST_COLUMNS = 8


def best_epoch(course: Course) -> int | None:
    """The first epoch with the best headline; None where that is not defined."""
    curve, direction = course.finite(course.headline), course.direction(course.headline)
    if not curve or direction is None:
        return None
    return Watched(course.headline, direction, curve, 0).best


def results_per_epoch(course: Course) -> list[Block]:
    """Each validation, with the headline's difference to the one before."""
    keys = [
        key
        for key in course.keys(losses=False)
        if not key.startswith("train/") or key == course.headline
    ][:MOST_COLUMNS]
    epochs = sorted({epoch for key in keys for epoch in course.curves[key]})
    if not epochs:
        return []
    best = best_epoch(course)
    head = ["epoch", *map(cell, keys)]
    has_headline = course.headline in keys
    if has_headline:
        head.insert(2, "difference")
    before: float | None = None
    rows = []
    for epoch in epochs:
        values = [course.curves[key].get(epoch) for key in keys]
        row = [f"**{epoch}** (best)" if epoch == best else str(epoch)]
        row += [text.number(value, 4) for value in values]
        if has_headline:
            now = values[0]
            change = None if now is None or before is None else now - before
            row.insert(2, text.signed(change, 4))
            before = before if now is None else now
        rows.append(row)
    note = "The difference is to the validation before; a single difference decides nothing."
    return ["## Results per epoch", note, *_shortened(head, rows, best)]


def losses_per_epoch(course: Course) -> list[Block]:
    """Losses of training (the mean of each epoch) and validation."""
    keys = course.keys(losses=True)[: 2 * MOST_COLUMNS]
    epochs = sorted({epoch for key in keys for epoch in course.curves[key]})
    if not epochs:
        return []
    rows = [
        [str(epoch), *(text.number(course.curves[key].get(epoch), 4) for key in keys)]
        for epoch in epochs
    ]
    note = "A training loss is the mean of an epoch, as far as it was logged."
    return ["## Losses per epoch", note, *_shortened(["epoch", *map(cell, keys)], rows, None)]


def _shortened(head: Sequence[str], rows: list[list[str]], best: int | None) -> list[Block]:
    """A long table without part of its middle; the best epoch stays."""
    if len(rows) <= MOST_ROWS:
        return [table(head, rows, left=1)]
    every = -(-len(rows) // MOST_ROWS)
    last = len(rows) - 1
    kept = [
        row
        for place, row in enumerate(rows)
        if place % every == 0 or place == last or row[0].startswith("**")
    ]
    note = f"{len(kept)} of {len(rows)} epochs are shown; differences are to the epoch before."
    return [note if best is not None else f"{len(kept)} of {len(rows)} epochs are shown.",
            table(head, kept, left=1)]  # fmt: skip


def evaluation(course: Course) -> list[Block]:
    """The final evaluation: the conditions, the metrics, each class."""
    report = course.evaluated
    if report is None:
        return []
    said = (
        f"{code(report.checkpoint.rsplit('/', 1)[-1])} on "
        f"{cell(text.scored_on(report.units, report.unit, report.split))}, by "
        f"{cell(report.evaluator)}"
    )
    settings = ", ".join(f"{cell(k)} {cell(v)}" for k, v in sorted(report.settings.items()))
    rows = [
        (cell(name), text.number(value, 0 if text.counted((value,)) else 4))
        for name, value in report.metrics.items()
    ]
    return [
        "## Final evaluation",
        f"{said}{f' ({settings})' if settings else ''}.{_in_training(course, report)}",
        table(("metric", "value"), rows, left=1),
        *_per_class(report),
    ]


def _in_training(course: Course, report: EvalReport) -> str:
    """What training measured of the same weights on the same split, if that is another number."""
    split, _, name = course.headline.partition("/")
    saved = [one for one in course.saved if f"/{report.checkpoint}".endswith(f"/{one.path}")]
    values = [one.metrics.get(course.headline) for one in saved]
    if split != report.split or not values or values[-1] is None:
        return ""
    ours, theirs = (text.number(value, 4) for value in (report.metrics.get(name), values[-1]))
    if ours == theirs or name not in report.metrics:
        return ""
    return (
        f" The validation during training gave {cell(course.headline)} {theirs} for these "
        "weights: it had settings of its own."
    )


def _per_class(report: EvalReport) -> list[Block]:
    if not report.per_class:
        return []
    names = list(dict.fromkeys(name for scores in report.per_class.values() for name in scores))
    counts = {n for n in names if text.counted(s.get(n) for s in report.per_class.values())}
    rows = [
        (cell(label), *(text.number(scores.get(n), 0 if n in counts else 4) for n in names))
        for label, scores in report.per_class.items()
    ]
    return ["### Per class", table(("class", *map(cell, names)), rows, left=1)]


def exported(course: Course) -> list[Block]:
    """What was exported of the best checkpoint, and how far it answers alike."""
    name = course.headline.partition("/")[2]
    rows = [
        (
            code(file.path),
            cell(file.kind),
            code(file.sha256[:12]),
            _fact(file, "difference", ".1e"),
            _fact(file, name, ".4f"),
            _fact(file, f"checkpoint {name}", ".4f"),
        )
        for file in course.files
        if not file.kind.endswith("_report")
    ]
    head = ("file", "format", "sha256", "outputs differ by", cell(name), f"{cell(name)} before")
    return ["## Exported files", table(head, rows, left=3)] if rows else []


def _fact(file: FileSaved, name: str, form: str) -> str:
    value = file.facts.get(name)
    return format(value, form) if isinstance(value, int | float) else text.ABSENT
