"""A comparison as Markdown that a careful engineer would sign."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from backend.analysis import text
from backend.core.records import Comparison, DataComparison, LayerChange, MetricDelta, Verdict

_BECAUSE: dict[Verdict, str] = {
    "better": "the interval lies wholly on the good side of zero",
    "worse": "the interval lies wholly on the bad side of zero",
    "equivalent": "the whole interval lies within the margin of ±{margin:g}",
    "undecided": "the interval contains zero and reaches beyond the margin of ±{margin:g}",
}
_METRIC_HEAD = ("metric", "old", "new", "difference", "{level} interval", "new wins", "verdict")


def markdown(comparison: Comparison) -> str:
    """The whole report: the verdict first, then the evidence, then what it does not say."""
    parts = [
        f"# {_cell(comparison.candidate.label)} against {_cell(comparison.baseline.label)}",
        _verdict_sentence(comparison),
        "## On the target data",
        _deltas(comparison, comparison.target.metrics, "metric"),
        *_per_class(comparison, comparison.target),
        *_forgetting(comparison),
        *_weights(comparison.weights),
        *_parameters(comparison),
        *_conditions(comparison),
        *_limits(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def _verdict_sentence(comparison: Comparison) -> str:
    head = comparison.headline
    new, old = (f"**{_cell(s.label)}**" for s in (comparison.candidate, comparison.baseline))
    where = f"{comparison.target.units} {comparison.target.unit}s of '{comparison.target.split}'"
    sentence = f"{new} {text.said(head.verdict)} {old} in {head.name} on {where}: "
    if head.delta is None:
        return sentence + "the metric is undefined on one side."
    sentence += (
        f"{text.number(head.baseline)} → {text.number(head.candidate)}, a difference of "
        f"{text.signed(head.delta)}"
    )
    if head.low is None:
        return sentence + "; there are too few images for an interval."
    because = _BECAUSE[head.verdict].format(margin=comparison.margin)
    return (
        f"{sentence} with a {text.level(comparison.confidence)} interval of "
        f"{text.interval(head)}. {because[0].upper()}{because[1:]}; the new one wins in "
        f"{text.share(head.wins)} of the replicates."
    )


def _deltas(comparison: Comparison, deltas: Iterable[MetricDelta], first: str) -> str:
    level = text.level(comparison.confidence)
    head = [first, *(cell.format(level=level) for cell in _METRIC_HEAD[1:])]
    rows = [
        (
            _cell(delta.name),
            text.number(delta.baseline),
            text.number(delta.candidate),
            text.signed(delta.delta),
            text.interval(delta),
            text.share(delta.wins),
            "not present" if delta.delta is None else delta.verdict,
        )
        for delta in deltas
    ]
    return _table(head, rows, left=1)


def _per_class(comparison: Comparison, data: DataComparison) -> list[str]:
    if not data.per_class:
        return []
    decided = sum(delta.low is not None for delta in data.per_class)
    by_chance = decided * (1 - comparison.confidence)
    note = (
        f"mAP50-95 of each class. Each interval stands for itself: among {decided} classes "
        f"without any real change, up to about {by_chance:.1f} would come out as better or worse "
        "by chance."
    )
    return ["### Per class", note, _deltas(comparison, data.per_class, "class")]


def _forgetting(comparison: Comparison) -> list[str]:
    source = comparison.source
    if source is None:
        return []
    delta = next(m for m in source.metrics if m.name == comparison.primary)
    sentence = (
        f"On {source.units} {source.unit}s of '{source.split}' of the source domain, "
        f"{delta.name} is {text.number(delta.baseline)} with the old and "
        f"{text.number(delta.candidate)} with the new one"
    )
    meaning: dict[Verdict, str] = {
        "better": ": the new one has forgotten less.",
        "worse": ": the new one has forgotten more.",
        "equivalent": ": both remember it equally well.",
        "undecided": "; which one has forgotten more is not decided.",
    }
    return [
        "## Forgetting: on the source data",
        sentence + meaning[delta.verdict],
        _deltas(comparison, source.metrics, "metric"),
    ]


def _weights(layers: Sequence[LayerChange]) -> list[str]:
    if not layers:
        return []
    same = sum(layer.note == "equal to the bit" for layer in layers)
    note = (
        "Distance of the new weights from the old, relative to the old weights' size "
        f"(Euclidean norms). {same} of {len(layers)} layers are equal to the bit."
    )
    rows = [
        (
            f"`{layer.layer}`",
            f"{layer.parameters:,}",
            text.ABSENT if layer.relative is None else text.percent(layer.relative, 2),
            _cell(layer.note),
        )
        for layer in layers
    ]
    return ["## Weights", note, _table(("layer", "parameters", "moved", "note"), rows, left=1)]


def _parameters(comparison: Comparison) -> list[str]:
    old, new = comparison.baseline.params, comparison.candidate.params
    if not old or not new:
        missing = "baseline" if not old else "candidate"
        return ["## Parameters", f"The {missing}'s training parameters are not known."]
    rows = [
        (f"`{key}`", _value(old.get(key)), _value(new.get(key)))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if not rows:
        return ["## Parameters", "Both were trained with the same parameters."]
    same = len(old.keys() | new.keys()) - len(rows)
    note = f"Only those that differ; {same} others are the same."
    return ["## Parameters", note, _table(("parameter", "old", "new"), rows, left=3)]


def _conditions(comparison: Comparison) -> list[str]:
    target = comparison.target
    when = datetime.fromtimestamp(comparison.created, tz=UTC)
    settings = target.baseline_report.settings
    rows = [
        ("old", _file(comparison.baseline.checkpoint.path, comparison.baseline.checkpoint.sha256)),
        (
            "new",
            _file(comparison.candidate.checkpoint.path, comparison.candidate.checkpoint.sha256),
        ),
        *_data_rows(target),
        *(_data_rows(comparison.source) if comparison.source else []),
        ("evaluator", _cell(target.evaluator)),
        (
            "settings",
            ", ".join(f"{_cell(k)} {_cell(v)}" for k, v in sorted(settings.items())) or "–",
        ),
        (
            "statistics",
            f"paired bootstrap over {target.unit}s, {comparison.replicates:,} replicates, seed "
            f"{comparison.seed}; expanded percentile intervals at "
            f"{text.level(comparison.confidence)}; margin ±{comparison.margin:g}",
        ),
        ("made", f"{when:%Y-%m-%d %H:%M} UTC, key `{comparison.key}`"),
    ]
    return ["## Conditions", _table(("", ""), rows, left=2)]


def _data_rows(data: DataComparison) -> list[tuple[str, str]]:
    return [
        (
            f"{data.role} data",
            f"`{data.data}`, split '{data.split}', {data.units} {data.unit}s, sha256 "
            f"`{data.data_digest[:12]}`",
        )
    ]


def _limits(comparison: Comparison) -> list[str]:
    if not comparison.warnings:
        return []
    return ["## Limits", "\n".join(f"- {warning}" for warning in comparison.warnings)]


def _file(path: str, sha256: str) -> str:
    return f"`{path}`, sha256 `{sha256[:12]}`"


def _value(value: str | None) -> str:
    return "not set" if value is None else _cell(value) or "none"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A Markdown table; columns after the first ``left`` are right-aligned."""
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _cell(value: str) -> str:
    """Text that cannot break out of a table cell."""
    return " ".join(value.replace("|", "\\|").split())
