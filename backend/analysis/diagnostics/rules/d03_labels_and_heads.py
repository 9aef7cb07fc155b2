"""D03: labels, classes and the network's outputs do not fit together."""

from collections.abc import Iterator
from dataclasses import dataclass

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.text import percent
from backend.core.diagnosis import SEVERITIES, Fact, Severity
from backend.core.evidence import LabelCensus

EMPTY = 0.05
"""Share of labels of which nothing is known."""


@dataclass(frozen=True)
class _Fault:
    severity: Severity
    text: str
    name: str
    value: float
    limit: float
    advice: Advice


def judge(evidence: Evidence) -> Verdict:
    """All faults of all splits, the gravest first."""
    told = evidence.survey.labels if evidence.survey else ()
    if not told:
        return Unknown("the trainer did not count its labels")
    faults = [f for census in told for f in (*_unread(census), *_ill_fitting(census))]
    faults += _unlearnt(told)
    if not faults:
        return Clear()
    return _misfit(sorted(faults, key=lambda f: -SEVERITIES.index(f.severity)))


def _unread(census: LabelCensus) -> Iterator[_Fault]:
    """Labels of which nothing, or not all, is understood."""
    share, where = census.empty / census.labels if census.labels else 0.0, f"'{census.split}'"
    if share > EMPTY:
        part = "element" if census.separator else "class"
        noun = "events" if census.separator else "labels"
        yield _Fault(
            "stop",
            f"{percent(share)} of {census.labels:,} {noun} have no known {part} ({where})",
            f"labels of '{census.split}' without a known {part}", share, EMPTY, _reading(census),
        )  # fmt: skip
    elif census.unknown:
        tokens = ", ".join(f"'{t}' ({n:,})" for t, n in _most(census.unknown))
        yield _Fault(
            "warning", f"'{census.split}' has unknown label tokens: {tokens}",
            f"unknown tokens of '{census.split}'", float(sum(census.unknown.values())), 0.0,
            Advice("Add the tokens to the list of classes, or correct the labels."),
        )  # fmt: skip


def _reading(census: LabelCensus) -> Advice:
    tokens = ", ".join(f"'{t}' ({n:,})" for t, n in _most(census.unknown))
    met = f" The labels hold {tokens}." if tokens else ""
    if census.better:
        return Advice(
            f"Labels are split at '{census.separator}'; at '{census.better}' more of them are "
            f"understood.{met}",
            change=(Turn("separator", values=(census.better,)),),
        )
    return Advice(f"Is '{census.separator}' the separator, and is the list of classes right?{met}")


def _most(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])[:5]


def _ill_fitting(census: LabelCensus) -> Iterator[_Fault]:
    """The head against the classes."""
    classes, head = len(census.counts), census.head
    advice = Advice("Give the network as many outputs as there are classes.")
    limit = classes if head is None else head
    if census.highest is not None and census.highest >= limit:
        yield _Fault(
            "stop",
            f"'{census.split}' has class id {census.highest}, but there are {limit} classes",
            "highest class id", float(census.highest), float(limit - 1), advice,
        )  # fmt: skip
    elif head is not None and head != classes:
        yield _Fault(
            "error",
            f"the network has {head} outputs for the {classes} classes of '{census.split}'",
            "outputs of the head", float(head), float(classes), advice,
        )  # fmt: skip


def _unlearnt(told: tuple[LabelCensus, ...]) -> list[_Fault]:
    """Classes without a training example: grave if validation asks for them."""
    train = next((c for c in told if c.split == "train"), None)
    if train is None or not train.labels:
        return []
    absent = [name for name, count in train.counts.items() if not count]
    asked = [n for n in absent if any(c.counts.get(n) for c in told if c is not train)]
    names = asked or absent
    if not names:
        return []
    listed = ", ".join(names[:10])
    return [
        _Fault(
            "warning" if asked else "info",
            f"no training example of {listed}" + (", which validation asks for" if asked else ""),
            "classes without a training example", float(len(names)), 0.0,
            Advice("Split the data so that each class is in training, or leave the class out."),
        )
    ]  # fmt: skip


def _misfit(faults: list[_Fault]) -> Fired:
    rest = f"; also {'; '.join(f.text for f in faults[1:4])}" if len(faults) > 1 else ""
    return Fired(
        severity=faults[0].severity,
        headline=f"{faults[0].text}{rest}.",
        cause=faults[0].text if len(faults) > 1 else "",
        sure="proven",
        advice=faults[0].advice,
        evidence=tuple(Fact(name=f.name, value=f.value, limit=f.limit, step=0) for f in faults),
        step=0,
    )


RULE = Rule(
    id="D03",
    title="Labels and heads do not fit",
    judge=judge,
    needs="The labels as annotated, with the width of the network's head (DataSurveyed).",
    condition="The head's width is not the number of classes, a class id is too high, label "
    "tokens are unknown, labels have no known element, or a class has no training example.",
    threshold="any; stop if more than 5 % of the labels have no known element or an id has no "
    "output; warning for unknown tokens and for classes in validation only; info for a class that "
    "never occurs",
    source="specs/mdfed.md 6: finediving joins labels by a blank, so '_' reads none of them",
    example="100 % of 1,513 events have no known element: the separator is a blank.",
    confirm=1,
    explains=below("D03"),
)
