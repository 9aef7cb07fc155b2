"""Rows for the tables: records in, plain values and their texts out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from backend.analysis.experts.views import has_experts
from backend.catalog import CATALOG, Catalog
from backend.core.comparisons import Comparison, MetricDelta
from backend.core.diagnosis import SEVERITIES
from backend.core.records import (
    Checkpoint,
    Direction,
    Run,
)
from backend.importers.keys import direction_of
from dashboard.formatting import duration, moment, number, plain, signed
from dashboard.palette import run_color
from dashboard.view import Summary

Row = dict[str, object]
STRATEGY = "freeze.strategy"
GROUP_RATES = "runner.optimizer.lr."  # then the name of a group of parameters
DECAY = "optimizer.layer_decay"
VERDICT, FINDING = "diagnosis", "finding."  # tags: what the rules said, and severity by rule
OTHER_DATA = "trained on other data than the baseline, or judged by another metric"
HIDDEN_PARAMETERS = {"name"}  # stands in the heading already
_SWAPPED = {"better": "worse", "worse": "better"}


@dataclass(frozen=True)
class Delta:
    """A value against the baseline's. ``good`` is None where neither side is better."""

    value: float
    good: bool | None

    @property
    def text(self) -> str:
        """With its sign; the sign shows the way even without colour."""
        return signed(self.value)


def direction(metric: str, trainer: str, catalog: Catalog = CATALOG) -> Direction | None:
    """Whether more or less of ``split/name`` is better, as the trainer declares it.

    For a run that others trained, as the table of known names has it.
    """
    spec = catalog.get(trainer)
    if spec is None:
        return direction_of(metric) if "/" in metric else None
    name = metric.split("/", 1)[-1]
    return next((m.direction for m in spec.metrics if m.name == name), None)


def unit(metric: str, trainer: str, catalog: Catalog = CATALOG) -> str:
    """The unit of ``split/name`` as the trainer declares it; empty for a share."""
    spec = catalog.get(trainer)
    name = metric.split("/", 1)[-1]
    return next((m.unit for m in spec.metrics if m.name == name), "") if spec else ""


def learning_rates(run: Run, catalog: Catalog = CATALOG) -> dict[str, float]:
    """The rates that train something, by config key, the highest first.

    A rate trains the group that it is named after, if the rate of that is logged. Until anything
    is, all count that can have an effect: ``scratch_lr`` only where nothing was loaded.
    """
    logged = {name.removeprefix("lr/") for name in run.metrics if name.startswith("lr/")}
    spec = catalog.get(run.trainer)
    keys = spec.levers.get("lr", ()) if spec else ()
    keys = keys or tuple(key for key in run.params if key.startswith(GROUP_RATES))
    own = (key for key in run.params if key.endswith(".lr") and _group(key) in logged)
    known = {key: as_number(run.params.get(key)) for key in (*keys, *own)}
    rates = {key: rate for key, rate in known.items() if rate is not None}
    training = [key for key in rates if _group(key) in logged]
    if not training:
        scratch = run.params.get("model.pretrained") == "none"
        training = [key for key in rates if (_group(key) == "scratch") == scratch]
    shown = training or rates
    return {key: rates[key] for key in sorted(shown, key=lambda key: (-rates[key], key))}


def _group(key: str) -> str:
    """The group of parameters whose rate it is: of ``new_lr``, ``language.lr``, ``lr.all``."""
    return key.removesuffix(".lr").rpartition(".")[2].removesuffix("_lr")


def delta(value: float | None, base: float | None, way: Direction | None) -> Delta | None:
    """``value`` minus ``base``, and whether that is good."""
    if value is None or base is None:
        return None
    difference = value - base
    if way is None or difference == 0:
        return Delta(difference, None)
    return Delta(difference, (difference > 0) == (way == "maximize"))


def find_runs(wanted: Iterable[str], runs: Sequence[Run]) -> list[Run]:
    """Runs by key or, for links typed by hand, by name or unique prefix; others are left out."""
    by_key = {run.key: run for run in runs}
    found: dict[str, Run] = {}
    for text in wanted:
        hits = [by_key[text]] if text in by_key else _loose(text, runs)
        if len(hits) == 1:
            found[hits[0].key] = hits[0]
    return list(found.values())


def _loose(text: str, runs: Sequence[Run]) -> list[Run]:
    named = [run for run in runs if run.name == text]
    return named or [run for run in runs if run.key.startswith(text)]


def choose_baseline(
    wanted: str, runs: Sequence[Run], champions: Mapping[str, Checkpoint]
) -> Run | None:
    """The run that the user picked, else the one behind a ``champion`` alias, if any."""
    picked = find_runs([wanted], runs) if wanted else []
    if picked:
        return picked[0]
    keys = [checkpoint.run for _, checkpoint in sorted(champions.items())]
    return next((run for key in keys for run in runs if run.key == key), None)


def comparable(run: Run, baseline: Run) -> bool:
    """Whether a plain difference of two headlines means something: same metric, same data."""
    data = (run.params.get("data"), baseline.params.get("data"))
    return run.headline == baseline.headline and data[0] == data[1] and bool(data[0])


def runs_rows(
    runs: Sequence[Run],
    baseline: Run | None,
    champions: Mapping[str, Checkpoint],
    now: float,
    catalog: Catalog = CATALOG,
) -> list[Row]:
    """The table of runs."""
    titles: dict[str, str] = {}
    for model, checkpoint in sorted(champions.items()):
        titles[checkpoint.run] = ", ".join(filter(None, [titles.get(checkpoint.run), model]))
    return [_run_row(run, baseline, titles.get(run.key, ""), now, catalog) for run in runs]


def _run_row(run: Run, baseline: Run | None, champion: str, now: float, catalog: Catalog) -> Row:
    value = headline_value(run)
    rival = baseline if baseline is not None and baseline.key != run.key else None
    base = headline_value(rival) if rival and comparable(run, rival) else None
    change = delta(value, base, direction(run.headline, run.trainer, catalog))
    ended = run.ended if run.ended is not None else (now if run.status == "running" else None)
    seconds = ended - run.started if ended is not None else None
    rates = learning_rates(run, catalog)
    rate = max(rates.values(), default=None)
    return {
        "key": run.key,
        "name": run.name or run.key,
        "color": run_color(run.key),
        "status": run.status,
        "reason": run.reason,
        "trainer": run.trainer,
        "study": run.study,
        "trial": run.trial,
        "strategy": run.params.get(STRATEGY, ""),
        "lr": rate,
        "lr_text": plain(rate),
        "lr_hint": ", ".join(f"{key} {plain(value)}" for key, value in rates.items()),
        "layer_decay": as_number(run.params.get(DECAY)),
        "headline": run.headline,
        "value": value,
        "value_text": number(value),
        "delta": change.value if change else None,
        "delta_text": change.text if change else "",
        "good": change.good if change else None,
        "delta_hint": "" if rival is None or comparable(run, rival) else OTHER_DATA,
        "best_epoch": run.best_epoch,
        "epochs": run.epochs,
        "duration": seconds,
        "duration_text": duration(seconds),
        "started": run.started,
        "started_text": moment(run.started),
        "baseline": baseline is not None and run.key == baseline.key,
        "champion": champion,
        "experts": has_experts(run),
    } | _found(run)


def _found(run: Run) -> Row:
    """What the rules said of a run: the verdict, and the gravest finding with how many more."""
    found = sorted(
        ((SEVERITIES.index(severity), rule.removeprefix(FINDING), severity)
         for rule, severity in run.tags.items()
         if rule.startswith(FINDING) and severity in SEVERITIES),
        key=lambda one: (-one[0], one[1]),
    )  # fmt: skip
    rank, rule, severity = found[0] if found else (-1, "", "")
    more = f" +{len(found) - 1}" if len(found) > 1 else ""
    return {"verdict": run.tags.get(VERDICT, ""), "severity": severity, "finding": rule + more,
            "finding_rank": rank if VERDICT in run.tags else None}  # fmt: skip


def headline_value(run: Run | None) -> float | None:
    """The headline metric at the best checkpoint."""
    return run.best.get(run.headline) if run else None


def as_number(text: str | None) -> float | None:
    """A parameter as a number, or None if it is none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def parameter_rows(
    runs: Sequence[Run], differing_only: bool
) -> tuple[list[tuple[str, list[str], bool]], int]:
    """(key, one text per run, whether they differ) sorted by key, and how many keys there are."""
    keys = sorted({key for run in runs for key in run.params} - HIDDEN_PARAMETERS)
    rows = []
    for key in keys:
        values = [run.params.get(key, "") for run in runs]
        rows.append((key, values, len(set(values)) > 1))
    shown = [row for row in rows if row[2]] if differing_only else rows
    return shown, len(rows)


def metric_values(run: Run, summary: Summary) -> dict[str, float]:
    """A run's numbers at its best checkpoint or at its last step."""
    return run.best if summary == "best" else run.metrics


def table_metrics(runs: Sequence[Run], summary: Summary, catalog: Catalog = CATALOG) -> list[str]:
    """Validation metrics worth a column: the headline first, then those with a direction."""
    found = {m for run in runs for m in metric_values(run, summary) if m.startswith("val/")}
    headlines = [run.headline for run in runs if run.headline in found]
    trainer = runs[0].trainer if runs else ""
    directed = [m for m in found if direction(m, trainer, catalog)]
    return list(dict.fromkeys(headlines + in_order(directed, trainer, catalog)))


def in_order(metrics: Iterable[str], trainer: str, catalog: Catalog = CATALOG) -> list[str]:
    """Metric keys in the order in which their trainer declares the names, others after them."""
    spec = catalog.get(trainer)
    order = {m.name: i for i, m in enumerate(spec.metrics)} if spec else {}
    return sorted(metrics, key=lambda m: (order.get(m.split("/", 1)[-1], len(order)), m))


def paired(comparisons: Sequence[Comparison], baseline: str, other: str) -> MetricDelta | None:
    """The newest stored headline difference of ``other`` to ``baseline``, either way round."""
    for comparison in comparisons:
        sides = (comparison.baseline.checkpoint.run, comparison.candidate.checkpoint.run)
        if sides == (baseline, other):
            return comparison.headline
        if sides == (other, baseline):
            return turned(comparison.headline)
    return None


def turned(old: MetricDelta) -> MetricDelta:
    """The same difference seen from the other side."""

    def minus(value: float | None) -> float | None:
        return None if value is None else -value

    return old.model_copy(
        update={
            "baseline": old.candidate,
            "candidate": old.baseline,
            "delta": minus(old.delta),
            "low": minus(old.high),
            "high": minus(old.low),
            "wins": None if old.wins is None else 1 - old.wins,
            "verdict": _SWAPPED.get(old.verdict, old.verdict),
        }
    )


def comparisons_among(comparisons: Sequence[Comparison], runs: Sequence[Run]) -> list[Comparison]:
    """Stored comparisons of which both sides are selected, newest first."""
    keys = {run.key for run in runs}
    return [
        c
        for c in comparisons
        if c.baseline.checkpoint.run in keys and c.candidate.checkpoint.run in keys
    ]
