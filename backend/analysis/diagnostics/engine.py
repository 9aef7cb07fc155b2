"""All rules on one run: what fired, what it explains, what could not be judged, the verdict."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from backend.analysis.diagnostics.chain import depth
from backend.analysis.diagnostics.confirm import confirmed
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Fired, Rule, Unknown
from backend.analysis.diagnostics.rules import RULES
from backend.analysis.diagnostics.verdict import is_sick, state_of, verdict_line
from backend.analysis.text import sentence
from backend.core.diagnosis import SEVERITIES, Action, Diagnosis, DiagnosticFinding, NotEvaluated
from backend.core.errors import StoreError
from backend.core.events import Event, MetricsLogged, Recovered, RunStarted

Act = Callable[[Advice], Action]

SYMPTOMS = ("T04", "T05", "T06", "T07", "T08", "B03", "B02", "B01")
"""What is seen of a root cause, the most telling first."""
CAUSES = frozenset({"B09"})
"""Warnings that explain as errors do: a rate too low leaves the network as blind as it began."""
UNEXPLAINED = ("B04", "B03", "B02", "B01")
"""Their headlines tell what is seen, and not yet why."""


def words_only(advice: Advice) -> Action:
    """An action without a config: its words."""
    return Action(advice=advice.text)


def diagnose(
    evidence: Evidence, act: Act = words_only, rules: Sequence[Rule] = RULES
) -> Diagnosis:
    """Judge a run by everything that is known of it.

    ``act`` turns advice into the run's config keys and commands. Raises StoreError if the
    evaluations are out of order.
    """
    _refuse_disorder(evidence.events)
    return _diagnosed(evidence, act, rules, early=False)


def preflight(
    evidence: Evidence, act: Act = words_only, rules: Sequence[Rule] = RULES
) -> Diagnosis:
    """Judge the data alone, before the first step."""
    return _diagnosed(evidence, act, [r for r in rules if r.id.startswith("D")], early=True)


def _diagnosed(evidence: Evidence, act: Act, rules: Sequence[Rule], *, early: bool) -> Diagnosis:
    verdicts = {rule: confirmed(rule, evidence) for rule in rules if rule.concerns(evidence)}
    fired = {rule: v for rule, v in verdicts.items() if isinstance(v, Fired)}
    findings = _ranked(_finding(rule, v, act) for rule, v in fired.items())
    shown, also_seen = _rooted(findings, {rule.id: rule.explains for rule in rules})
    state = state_of(evidence, shown, early)
    return Diagnosis(
        step=evidence.step, state=state,
        verdict=verdict_line(evidence, state, shown, also_seen),
        findings=shown, also_seen=also_seen,
        clear=tuple(rule.id for rule, v in verdicts.items() if not isinstance(v, Fired | Unknown)),
        not_evaluated=tuple(
            NotEvaluated(rule=rule.id, title=rule.title, reason=v.reason)
            for rule, v in verdicts.items() if isinstance(v, Unknown)
        ),
    )  # fmt: skip


def _finding(rule: Rule, fired: Fired, act: Act) -> DiagnosticFinding:
    return DiagnosticFinding.model_validate(
        {
            "rule": rule.id, "title": rule.title, "severity": fired.severity,
            "headline": sentence(fired.headline), "cause": fired.cause, "sure": fired.sure,
            "step": fired.step, "evidence": fired.evidence, "curves": fired.curves,
            "action": act(replace(fired.advice, text=sentence(fired.advice.text))),
        }
    )  # fmt: skip


def _ranked(findings: Iterable[DiagnosticFinding]) -> list[DiagnosticFinding]:
    """The gravest first; of equal ones the most fundamental."""
    return sorted(findings, key=lambda f: (-SEVERITIES.index(f.severity), depth(f.rule), f.rule))


def _rooted(
    findings: Sequence[DiagnosticFinding], explains: dict[str, tuple[str, ...]]
) -> tuple[tuple[DiagnosticFinding, ...], tuple[DiagnosticFinding, ...]]:
    """The findings that stand, each with those that it explains, and the explained ones."""
    owner: dict[str, str] = {}
    roots = [f for f in findings if is_sick(f) or f.rule in CAUSES]
    for root in sorted(roots, key=lambda f: (depth(f.rule), f.rule)):
        if root.rule not in owner:
            follow = [f.rule for f in findings if f.rule in explains[root.rule]]
            owner = {rule: root.rule for rule in follow if rule != root.rule} | owner
    silenced = tuple(f for f in findings if f.rule in owner)
    stand = [f for f in findings if f.rule not in owner]
    shown = [_with_symptom(f, [s for s in silenced if owner[s.rule] == f.rule]) for f in stand]
    return tuple(_ranked(shown)), silenced


def _with_symptom(
    root: DiagnosticFinding, silenced: Sequence[DiagnosticFinding]
) -> DiagnosticFinding:
    """The root with the rules that it silences, as grave as the gravest of them; its headline
    tells what is seen, and why."""
    seen = {finding.rule: finding for finding in silenced}
    symptom = next((seen[rule] for rule in SYMPTOMS if rule in seen), None)
    cause = f"{root.cause.rstrip('.')}." if root.rule in UNEXPLAINED else root.headline
    if symptom:
        headline = f"{symptom.headline} Cause: {cause}"
    else:
        headline = root.headline if cause in root.headline else f"{root.headline} Cause: {cause}"
    gravest = max((f.severity for f in (root, *silenced)), key=SEVERITIES.index)
    told = {"headline": headline, "silenced": tuple(seen), "severity": gravest}
    return root.model_copy(update=told)


def _refuse_disorder(events: Sequence[Event]) -> None:
    """Evaluations must come in the order of their steps; a new attempt may begin again."""
    headline, newest = "", -1
    for event in events:
        if isinstance(event, RunStarted | Recovered):
            newest = -1
        if isinstance(event, RunStarted):
            headline = event.headline
        if isinstance(event, MetricsLogged) and headline in event.metrics:
            if event.step < newest:
                raise StoreError(
                    f"the evaluation of step {event.step} comes after the one of step {newest}; "
                    "the run's events are not in the order in which they were told"
                )
            newest = event.step
