"""The gate as a pure function: a policy and the evidence in, yes or no with every reason out."""

from collections.abc import Mapping
from typing import NamedTuple

from backend.analysis import text
from backend.analysis.caveats import disagree
from backend.analysis.findings import FROZEN_CHANGED
from backend.analysis.guards import FAIL, PASS, find, gain, judge_guards, measured
from backend.analysis.intervals import verdict
from backend.analysis.policy import FirstVersion, Guard, Policy
from backend.analysis.reports import task_of
from backend.core.comparisons import Comparison, DataComparison, MetricDelta
from backend.core.events import FreezeReported
from backend.core.records import Checkpoint, EvalReport, Finding
from backend.scoring.tasks import TASKS

__all__ = ["FAIL", "PASS", "Exposure", "Facts", "FirstVersion", "Guard", "Policy", "Ruling",
           "decide"]  # fmt: skip

NAMED = 3  # of many things of a kind, so many are named
FOR_TRACKERS = "--policy configs/policies/tracking.yaml"


class Exposure(NamedTuple):
    """Which data the runs have seen from which the candidate was picked.

    ``used`` maps a data digest to what saw it ("the 'val' split of run ..."); ``unknown`` says
    in a few words each what could not be established. ``who`` names these runs.
    """

    who: str
    used: Mapping[str, str] = {}
    unknown: tuple[str, ...] = ()


class Facts(NamedTuple):
    """What is known of a candidate besides a comparison; None: not known.

    ``report`` is its evaluation, for a first version that was compared with nothing, ``primary``
    the trainer's leading metric; ``freeze`` its run's last report on frozen tensors.
    """

    report: EvalReport | None = None
    primary: str = ""
    freeze: FreezeReported | None = None
    findings: tuple[Finding, ...] | None = None
    exposure: Exposure | None = None


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
    facts: Facts | None = None,
) -> Ruling:
    """Judge a checkpoint. All rules are applied, also after one has failed.

    ``candidate`` is what would be promoted and ``champion`` what it would replace; where given,
    the comparison must be of just these two files.
    """
    facts = facts or Facts()
    scored = comparison.target if comparison else facts.report
    reasons: list[str] = []
    if champion is None:
        report = comparison.target.candidate_report if comparison else facts.report
        leading = comparison.primary if comparison else facts.primary
        reasons += _first(policy.first, report, policy.primary or leading)
    elif comparison is None:
        reasons.append(FAIL + "there is a champion, but no comparison with it.")
    if comparison is not None:
        reasons += _same_files(comparison, candidate, champion)
    if scored is None:
        reasons.append(FAIL + "the checkpoint was not scored on anything.")
    else:
        reasons += _conditions(policy, scored)
        reasons += _unseen(policy, scored, facts.exposure)
    if comparison is not None:
        reasons += _primary(policy, comparison)
        reasons += judge_guards(policy, comparison)
    reasons += _findings(policy, facts.findings)
    reasons += _frozen(policy, facts.freeze)
    return Ruling(all(reason.startswith(PASS) for reason in reasons), tuple(reasons))


def _first(rule: FirstVersion, report: EvalReport | None, primary: str) -> list[str]:
    if rule.rule == "refuse":
        return [FAIL + "there is no champion yet and the policy refuses a first version."]
    reasons = [PASS + "there is no champion yet and the policy allows a first version."]
    if rule.minimum is None:
        return reasons
    value = report.metrics.get(primary) if report else None
    if value is None:
        return [*reasons, f"{FAIL}a first version needs {primary} of at least "
                f"{rule.minimum:g}, but it was not measured."]  # fmt: skip
    mark, word = (PASS, "at least") if value >= rule.minimum else (FAIL, "below")
    return [*reasons, f"{mark}{primary} is {text.number(value)}, {word} the {rule.minimum:g} "
            "that a first version needs."]  # fmt: skip


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
    usual = scored.unit == TASKS["tracking"].unit and policy == Policy()
    hint = f" (for trackers there is {FOR_TRACKERS})" if usual and not enough else ""
    reasons.append(
        f"{PASS if enough else FAIL}scored on {scored.units} {scored.unit}s; the policy requires "
        f"at least {policy.min_units}{hint}."
    )
    return reasons


def _unseen(
    policy: Policy, scored: EvalReport | DataComparison, exposure: Exposure | None
) -> list[str]:
    """Nobody may be examined on what they were picked by."""
    if policy.require_unseen == "never":
        return []
    unknown = exposure.unknown if exposure else ("where the candidate comes from is not known",)
    if not scored.data_digest:
        unknown = ("the evaluation has no digest of its data", *unknown)
    elif exposure and scored.data_digest in exposure.used:
        return [f"{FAIL}the split '{scored.split}' that the gate scores by (sha256 "
                f"{scored.data_digest[:12]}) is {exposure.used[scored.data_digest]}; judge on "
                "data that the search has not used."]  # fmt: skip
    if unknown:
        wanted = policy.require_unseen == "always"
        return [f"{FAIL if wanted else PASS}it cannot be established that the gate's data are "
                f"unseen: {_some(unknown)}; the policy "
                f"{'requires it' if wanted else 'asks only where it is known'}."]  # fmt: skip
    assert exposure is not None
    return [f"{PASS}the split '{scored.split}' is not among what {exposure.who} used in training "
            "or validation."]  # fmt: skip


def _primary(policy: Policy, comparison: Comparison) -> list[str]:
    name = policy.primary or comparison.primary
    delta = find(comparison.target.metrics, name)
    if delta is None or delta.delta is None:
        return [f"{FAIL}{name} was not compared on the target data."]
    reasons = _settings(policy, comparison, delta)
    margin = policy.margin_of(name, delta)
    word = verdict(delta.low, delta.high, margin, delta.direction)
    accepted = " or ".join(policy.accept)
    reasons.append(
        f"{PASS if word in policy.accept else FAIL}{measured(delta, comparison)}: {word} at a "
        f"margin of {margin:g}; the policy accepts {accepted}."
    )
    if disagree(delta.model_copy(update={"verdict": word}), comparison.confidence):
        reasons.append(
            f"{FAIL}a permutation test does not confirm that {name} is {word} "
            f"(p {text.p_value(delta.p_value)})."
        )
    if policy.min_delta is not None:
        mark = PASS if gain(delta) >= policy.min_delta else FAIL
        reasons.append(
            f"{mark}the gain in {name} is {text.signed(gain(delta))}; the policy requires at "
            f"least {text.signed(policy.min_delta)}."
        )
    return reasons


def _settings(policy: Policy, comparison: Comparison, delta: MetricDelta) -> list[str]:
    """A comparison that was made less carefully than the policy asks decides nothing."""
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
    made = comparison.margin if delta.margin is None else delta.margin
    required = policy.settings(delta.name).margin_of(
        task_of(comparison.target.candidate_report), delta.name
    )
    if made < required and delta.name not in policy.margins:
        reasons.append(
            f"{FAIL}the comparison was made with a margin of {made:g}; the policy requires "
            f"{required:g}."
        )
    return reasons


def _findings(policy: Policy, findings: tuple[Finding, ...] | None) -> list[str]:
    """No open error; frozen layers have a rule of their own."""
    if policy.findings == "ignore" or findings is None:
        return []
    errors = [f for f in findings if f.severity == "error" and f.rule != FROZEN_CHANGED]
    if errors:
        return [f"{FAIL}{found.message} ({found.rule}); {found.action}." for found in errors]
    others = [f"{f.severity}: {f.message}" for f in findings if f.severity != "error"]
    told = f" ({'; '.join(others)})" if others else ""
    return [f"{PASS}no finding about the candidate is an error{told}."]


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
    if not freeze.frozen_tensors:
        return [f"{PASS}nothing was to stay frozen (strategy {freeze.strategy})."]
    thawed = f", until they were thawed after epoch {freeze.until}" if freeze.until else ""
    return [f"{PASS}all {freeze.frozen_tensors} frozen tensors are equal to the bit "
            f"(strategy {freeze.strategy}{thawed})."]  # fmt: skip


def _some(things: tuple[str, ...]) -> str:
    more = len(things) - NAMED
    return ", ".join(things[:NAMED]) + (f" and {more} more" if more > 0 else "")
