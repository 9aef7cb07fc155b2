"""The gate as a pure function: a policy and the evidence in, yes or no with every reason out."""

from typing import Literal, NamedTuple

from pydantic import Field

from backend.analysis import text
from backend.analysis.comparison import ComparisonSettings
from backend.analysis.intervals import verdict
from backend.config.schema import Section
from backend.core.events import FreezeReported
from backend.core.records import (
    Checkpoint,
    Comparison,
    DataComparison,
    EvalReport,
    MetricDelta,
    Verdict,
)

PASS, FAIL = "pass: ", "fail: "


class Guard(Section):
    """A metric that must not get worse by more than ``max_drop``.

    ``use`` point looks at the measured difference; interval asks that the whole interval lies
    above ``−max_drop``, so a drop that the data cannot exclude fails too. ``per_class`` guards
    every class that occurs. ``if_absent`` says what happens when there is no such data.
    """

    metric: str
    data: Literal["target", "source"] = "target"
    max_drop: float = Field(ge=0)
    use: Literal["point", "interval"] = "point"
    per_class: bool = False
    if_absent: Literal["refuse", "skip"] = "refuse"


class FirstVersion(Section):
    """The rule while a model has no champion. ``minimum`` is of the primary metric."""

    rule: Literal["allow", "refuse"] = "allow"
    minimum: float | None = None


class Policy(Section):
    """What a checkpoint must show to become the champion.

    ``primary`` None: the metric by which the trainer decides. The verdict is taken anew from
    the comparison's interval with this policy's ``margin``. ``require_frozen_intact`` asks for
    the run's own proof that frozen layers did not change.
    """

    primary: str | None = None
    accept: tuple[Verdict, ...] = Field(("better",), min_length=1)
    min_delta: float | None = Field(None, description="Least measured gain in the primary metric.")
    confidence: float = Field(0.95, ge=0.5, lt=1)
    margin: float = Field(0.01, ge=0)
    replicates: int = Field(1000, ge=100)
    seed: int = Field(0, ge=0)
    require_split: str | None = Field("holdout", description="None: any split will do.")
    min_units: int = Field(20, ge=1)
    require_frozen_intact: Literal["always", "if-reported", "never"] = "if-reported"
    guards: tuple[Guard, ...] = (
        Guard(metric="mAP50", max_drop=0.02),
        Guard(metric="mAP50-95", data="source", max_drop=0.05, if_absent="skip"),
    )
    first: FirstVersion = FirstVersion()

    def settings(self, primary: str) -> ComparisonSettings:
        """How a comparison for this policy is made; ``primary`` is the trainer's metric."""
        return ComparisonSettings(
            confidence=self.confidence,
            replicates=self.replicates,
            seed=self.seed,
            margin=self.margin,
            primary=self.primary or primary,
        )


class Ruling(NamedTuple):
    """The answer. Each reason is a sentence that begins with ``pass:`` or ``fail:``."""

    promote: bool
    reasons: tuple[str, ...]


def decide(
    policy: Policy,
    comparison: Comparison | None,
    *,
    candidate: Checkpoint | None = None,
    champion: Checkpoint | None = None,
    report: EvalReport | None = None,
    freeze: FreezeReported | None = None,
) -> Ruling:
    """Judge a checkpoint. All rules are applied, also after one has failed.

    ``candidate`` is what would be promoted and ``champion`` what it would replace; where given,
    the comparison must be of just these two files. ``report`` is the candidate's evaluation,
    used for a first version that was compared with nothing. ``freeze`` is its run's report
    verified after training.
    """
    reasons: list[str] = []
    if champion is None:
        measured = comparison.target.candidate_report if comparison else report
        reasons += _first(policy, measured, comparison.primary if comparison else None)
        if comparison is None and measured is not None:
            reasons += _conditions(policy, measured)
    elif comparison is None:
        reasons.append(FAIL + "there is a champion, but no comparison with it.")
    if comparison is None and report is None:
        reasons.append(FAIL + "the checkpoint was not scored on anything.")
    if comparison is not None:
        reasons += _same_files(comparison, candidate, champion)
        reasons += _conditions(policy, comparison.target)
        reasons += _primary(policy, comparison)
        for guard in policy.guards:
            reasons += _guard(guard, comparison)
    reasons += _frozen(policy, freeze)
    return Ruling(all(reason.startswith(PASS) for reason in reasons), tuple(reasons))


def _first(policy: Policy, report: EvalReport | None, primary: str | None) -> list[str]:
    rule = policy.first
    if rule.rule == "refuse":
        return [FAIL + "there is no champion yet and the policy refuses a first version."]
    reasons = [PASS + "there is no champion yet and the policy allows a first version."]
    if rule.minimum is None:
        return reasons
    name = policy.primary or primary or "mAP50-95"
    value = report.metrics.get(name) if report else None
    if value is None:
        return [*reasons, FAIL + f"a first version needs {name} of at least {rule.minimum:g}, "
                "but it was not measured."]  # fmt: skip
    mark, word = (PASS, "at least") if value >= rule.minimum else (FAIL, "below")
    return [*reasons, f"{mark}{name} is {text.number(value)}, {word} the {rule.minimum:g} that "
            "a first version needs."]  # fmt: skip


def _same_files(
    comparison: Comparison, candidate: Checkpoint | None, champion: Checkpoint | None
) -> list[str]:
    reasons = []
    for what, asked, side in (
        ("candidate", candidate, comparison.candidate),
        ("champion", champion, comparison.baseline),
    ):
        if asked is not None and asked.sha256 != side.checkpoint.sha256:
            reasons.append(
                f"{FAIL}the comparison is not about this {what}: it has sha256 "
                f"{side.checkpoint.sha256[:12]}, the {what} {asked.sha256[:12]}."
            )
    if comparison.candidate.checkpoint.sha256 == comparison.baseline.checkpoint.sha256:
        reasons.append(
            FAIL + "the candidate is the same weight file as what it was compared with."
        )
    return reasons


def _conditions(policy: Policy, scored: EvalReport | DataComparison) -> list[str]:
    reasons = []
    if policy.require_split is not None:
        right = scored.split == policy.require_split
        reasons.append(
            f"{PASS if right else FAIL}scored on the split '{scored.split}'"
            + (", as required." if right else f"; the policy requires '{policy.require_split}'.")
        )
    enough = scored.units >= policy.min_units
    reasons.append(
        f"{PASS if enough else FAIL}scored on {scored.units} {scored.unit}s; the policy requires "
        f"at least {policy.min_units}."
    )
    return reasons


def _primary(policy: Policy, comparison: Comparison) -> list[str]:
    name = policy.primary or comparison.primary
    delta = _find(comparison.target.metrics, name)
    if delta is None or delta.delta is None:
        return [f"{FAIL}{name} was not compared on the target data."]
    reasons = []
    if comparison.confidence < policy.confidence:
        reasons.append(
            f"{FAIL}the comparison's intervals are at {text.level(comparison.confidence)}; the "
            f"policy requires {text.level(policy.confidence)}."
        )
    if comparison.replicates < policy.replicates:
        reasons.append(
            f"{FAIL}the comparison has {comparison.replicates} replicates; the policy requires "
            f"{policy.replicates}."
        )
    word = verdict(delta.low, delta.high, policy.margin, delta.direction)
    accepted = " or ".join(policy.accept)
    reasons.append(
        f"{PASS if word in policy.accept else FAIL}{_measured(delta, comparison)}: {word} at a "
        f"margin of {policy.margin:g}; the policy accepts {accepted}."
    )
    if policy.min_delta is not None:
        gain = _gain(delta)
        mark = PASS if gain >= policy.min_delta else FAIL
        reasons.append(
            f"{mark}the gain in {name} is {text.signed(gain)}; the policy requires at least "
            f"{text.signed(policy.min_delta)}."
        )
    return reasons


def _guard(guard: Guard, comparison: Comparison) -> list[str]:
    data = comparison.target if guard.data == "target" else comparison.source
    if data is None:
        mark, what = (FAIL, "refuses") if guard.if_absent == "refuse" else (PASS, "passes over it")
        return [f"{mark}{guard.metric} was not compared on the {guard.data} data; the guard "
                f"{what}."]  # fmt: skip
    if guard.per_class:
        return _guard_classes(guard, data, comparison)
    delta = _find(data.metrics, guard.metric)
    if delta is None or delta.delta is None:
        return [f"{FAIL}{guard.metric} was not compared on the {guard.data} data."]
    mark = PASS if _holds(guard, delta) else FAIL
    return [f"{mark}on the {guard.data} data, {_measured(delta, comparison)}; {_limit(guard)}."]


def _guard_classes(guard: Guard, data: DataComparison, comparison: Comparison) -> list[str]:
    if guard.metric != "mAP50-95":
        return [f"{FAIL}classes are compared by mAP50-95, not by {guard.metric}."]
    shown = [delta for delta in data.per_class if delta.delta is not None]
    broken = [delta for delta in shown if not _holds(guard, delta)]
    if not broken:
        return [f"{PASS}on the {guard.data} data, all {len(shown)} classes that occur keep their "
                f"{guard.metric}; {_limit(guard)}."]  # fmt: skip
    return [
        f"{FAIL}on the {guard.data} data, class {_measured(delta, comparison)}; {_limit(guard)}."
        for delta in broken
    ]


def _holds(guard: Guard, delta: MetricDelta) -> bool:
    if guard.use == "point":
        return _gain(delta) >= -guard.max_drop
    if delta.low is None or delta.high is None:
        return False
    worst = delta.low if delta.direction == "maximize" else -delta.high
    return worst >= -guard.max_drop


def _limit(guard: Guard) -> str:
    where = (
        "interval must exclude" if guard.use == "interval" else "measured difference must not be"
    )
    return f"the {where} a drop of more than {guard.max_drop:g}"


def _frozen(policy: Policy, freeze: FreezeReported | None) -> list[str]:
    if policy.require_frozen_intact == "never":
        return []
    if freeze is None or freeze.phase != "verified":
        if policy.require_frozen_intact == "if-reported":
            return []
        return [FAIL + "there is no proof that the frozen layers did not change in training."]
    if freeze.violations:
        return [
            f"{FAIL}{len(freeze.violations)} frozen tensors changed in training, among them "
            f"{freeze.violations[0]}."
        ]
    return [f"{PASS}all {freeze.frozen_tensors} frozen tensors are equal to the bit "
            f"(strategy {freeze.strategy})."]  # fmt: skip


def _find(deltas: tuple[MetricDelta, ...], name: str) -> MetricDelta | None:
    return next((delta for delta in deltas if delta.name == name), None)


def _gain(delta: MetricDelta) -> float:
    """The measured difference, positive if the candidate is better."""
    measured = delta.delta or 0.0
    return measured if delta.direction == "maximize" else -measured


def _measured(delta: MetricDelta, comparison: Comparison) -> str:
    return (
        f"{delta.name} goes from {text.number(delta.baseline)} to {text.number(delta.candidate)}, "
        f"{text.signed(delta.delta)} ({text.level(comparison.confidence)} interval "
        f"{text.interval(delta)})"
    )
