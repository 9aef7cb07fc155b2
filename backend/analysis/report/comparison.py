"""Old versus new: the verdict first, then the evidence, then what it does not say."""

from pathlib import Path

from backend.analysis import text
from backend.analysis.report import conditions, deltas
from backend.analysis.report.blocks import Block, Document, Photo, bullets, cell
from backend.core.comparisons import (
    Comparison,
    DataComparison,
    Picture,
    Verdict,
)

_BECAUSE: dict[Verdict, str] = {
    "better": "the interval lies wholly on the good side of zero",
    "worse": "the interval lies wholly on the bad side of zero",
    "equivalent": "the whole interval lies within the margin of ±{margin:g}",
    "undecided": "the interval contains zero and reaches beyond the margin of ±{margin:g}",
}
_FORGOTTEN: dict[Verdict, str] = {
    "better": ": the new one has forgotten less.",
    "worse": ": the new one has forgotten more.",
    "equivalent": ": both remember it equally well.",
    "undecided": "; which one has forgotten more is not decided.",
}


def markdown(comparison: Comparison) -> str:
    """The whole report but for its pictures."""
    return document(comparison).markdown()


def document(comparison: Comparison) -> Document:
    """The whole report, with the units that changed most as far as they were drawn."""
    new, old = comparison.candidate.label, comparison.baseline.label
    blocks: list[Block] = [
        f"# {cell(new)} against {cell(old)}",
        _verdict_sentence(comparison),
        "## On the target data",
        deltas.metrics(comparison.target.metrics, comparison.confidence),
        *_per_class(comparison, comparison.target),
        *deltas.errors(comparison.target, comparison.confidence),
        *deltas.units(comparison.target),
        *map(_photo, comparison.target.pictures),
        *_forgetting(comparison),
        *deltas.family(comparison.family),
        *conditions.weights(comparison.weights),
        *conditions.changed(comparison),
        *conditions.conditions(comparison),
        *_limits(comparison),
    ]
    return Document(f"{new} against {old}", tuple(blocks))


def _verdict_sentence(comparison: Comparison) -> str:
    head, target = comparison.headline, comparison.target
    new, old = (f"**{cell(s.label)}**" for s in (comparison.candidate, comparison.baseline))
    where = cell(text.scored_on(target.units, target.unit, target.split))
    sentence = f"{new} {text.said(head.verdict)} {old} in {cell(head.name)} on {where}: "
    if head.delta is None:
        return sentence + "the metric is undefined on one side."
    sentence += (
        f"{text.number(head.baseline)} → {text.number(head.candidate)}, a difference of "
        f"{text.signed(head.delta)}"
    )
    if head.low is None:
        return sentence + f"; there are too few {target.unit}s for an interval."
    margin = comparison.margin if head.margin is None else head.margin
    because = _BECAUSE[head.verdict].format(margin=margin)
    check = ""
    if head.p_value is not None:
        check = f"; a paired permutation test gives p {text.p_value(head.p_value)}"
    return (
        f"{sentence} with a {text.level(comparison.confidence)} interval of "
        f"{text.interval(head)}. {because[0].upper()}{because[1:]}; the new one wins in "
        f"{text.share(head.wins)} of the replicates{check}."
    )


def _per_class(comparison: Comparison, data: DataComparison) -> list[Block]:
    if not data.per_class:
        return []
    decided = sum(delta.low is not None for delta in data.per_class)
    by_chance = decided * (1 - comparison.confidence)
    metric = cell(data.class_metric or comparison.primary)
    note = (
        f"{metric} of each class. Each interval stands for itself: without any real change, "
        f"up to about {by_chance:.1f} of {decided} would come out as better or worse by chance."
    )
    table = deltas.metrics(data.per_class, comparison.confidence, "class")
    return ["### Per class", note, table]


def _forgetting(comparison: Comparison) -> list[Block]:
    source = comparison.source
    if source is None:
        return []
    delta = next(m for m in source.metrics if m.name == comparison.primary)
    sentence = (
        f"On {cell(text.scored_on(source.units, source.unit, source.split))} of the source "
        f"domain, {cell(delta.name)} is {text.number(delta.baseline)} with the old and "
        f"{text.number(delta.candidate)} with the new one"
    )
    return [
        "## Forgetting: on the source data",
        sentence + _FORGOTTEN[delta.verdict],
        deltas.metrics(source.metrics, comparison.confidence),
    ]


def _limits(comparison: Comparison) -> list[Block]:
    return ["## Limits", bullets(map(cell, comparison.warnings))] if comparison.warnings else []


def _photo(picture: Picture) -> Photo:
    unit = picture.unit
    about = (
        f"{unit.unit}: {text.number(unit.baseline)} → {text.number(unit.candidate)} "
        f"({text.signed(unit.delta)}); old left, new right"
    )
    return Photo(about, Path(picture.path))
