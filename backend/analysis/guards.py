"""Metrics that must not get worse, judged one by one."""

from collections.abc import Iterator
from typing import NamedTuple

from backend.analysis import text
from backend.analysis.intervals import verdict
from backend.analysis.policy import Guard, Policy
from backend.core.comparisons import Comparison, DataComparison, MetricDelta

PASS, FAIL = "pass: ", "fail: "


class Limited(NamedTuple):
    """A difference, and how much worse it may be."""

    delta: MetricDelta
    limit: float


def judge_guards(policy: Policy, comparison: Comparison) -> Iterator[str]:
    """Each guard's answer as sentences that begin with ``pass:`` or ``fail:``."""
    for guard in policy.guards:
        data = comparison.target if guard.data == "target" else comparison.source
        name = guard.metric or policy.primary or comparison.primary
        if data is None:
            yield _absent(guard, f"{name} was not compared on the {guard.data} data")
        elif guard.per_class:
            yield from _classes(guard, data, policy, comparison)
        else:
            delta = find(data.metrics, name)
            if delta is None or delta.delta is None:
                yield _absent(guard, f"{name} was not compared on the {guard.data} data")
            else:
                yield _one(guard, _limited(guard, policy, name, delta), "", comparison)


def _classes(
    guard: Guard, data: DataComparison, policy: Policy, comparison: Comparison
) -> Iterator[str]:
    name = guard.metric or data.class_metric
    shown = [
        _limited(guard, policy, name, delta)
        for delta in data.per_class
        if delta.delta is not None and name == data.class_metric
    ]
    broken = [limited for limited in shown if not _holds(guard, limited)]
    if not shown:
        other = data.per_class and name != data.class_metric
        what = f"classes are compared by {data.class_metric}, not by {name}"
        what = what if other else "no classes are compared"
        yield _absent(guard, f"on the {guard.data} data, {what}")
    elif not broken:
        yield (
            f"{PASS}on the {guard.data} data, all {len(shown)} classes that occur keep their "
            f"{name}; {_rule(guard, shown[0].limit)}."
        )
    for limited in broken:
        yield _one(guard, limited, f"{name} of class ", comparison)


def _one(guard: Guard, limited: Limited, prefix: str, comparison: Comparison) -> str:
    mark = PASS if _holds(guard, limited) else FAIL
    told = measured(limited.delta, comparison)
    return f"{mark}on the {guard.data} data, {prefix}{told}; {_rule(guard, limited.limit)}."


def _absent(guard: Guard, what: str) -> str:
    mark, does = (FAIL, "refuses") if guard.if_absent == "refuse" else (PASS, "passes over it")
    return f"{mark}{what}; the guard {does}."


def _limited(guard: Guard, policy: Policy, name: str, delta: MetricDelta) -> Limited:
    if guard.max_drop is not None:
        return Limited(delta, guard.max_drop)
    return Limited(delta, policy.margin_of(name, delta))


def _holds(guard: Guard, limited: Limited) -> bool:
    delta, limit = limited
    if guard.use == "point":
        return gain(delta) >= -limit
    if guard.use == "verdict":
        return verdict(delta.low, delta.high, limit, delta.direction) != "worse"
    if delta.low is None or delta.high is None:
        return False
    worst = delta.low if delta.direction == "maximize" else -delta.high
    return worst >= -limit


def _rule(guard: Guard, limit: float) -> str:
    if guard.use == "verdict":
        return f"it must not be shown to be worse at a margin of {limit:g}"
    if guard.use == "interval":
        return f"the interval must exclude that it gets worse by more than {limit:g}"
    return f"the measured difference must not be worse by more than {limit:g}"


def find(deltas: tuple[MetricDelta, ...], name: str) -> MetricDelta | None:
    """The difference of one metric, if it was compared."""
    return next((delta for delta in deltas if delta.name == name), None)


def gain(delta: MetricDelta) -> float:
    """The measured difference, positive if the candidate is better."""
    difference = delta.delta or 0.0
    return difference if delta.direction == "maximize" else -difference


def measured(delta: MetricDelta, comparison: Comparison) -> str:
    """A difference with both values and its interval."""
    return (
        f"{delta.name} goes from {text.number(delta.baseline)} to {text.number(delta.candidate)}, "
        f"{text.signed(delta.delta)} ({text.level(comparison.confidence)} interval "
        f"{text.interval(delta)})"
    )
