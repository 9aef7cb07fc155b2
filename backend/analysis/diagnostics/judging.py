"""All rules of the catalogue on one run, each on its own: one that breaks stops no other."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from backend.analysis.diagnostics.engine import diagnose, preflight
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Rule, Unknown, Verdict
from backend.analysis.diagnostics.rules import RULES
from backend.core.diagnosis import Action, Diagnosis

Told = Callable[[str], None]


def nobody(said: str) -> None:
    """Nobody listens."""


def judged(
    evidence: Evidence,
    act: Callable[[Advice], Action],
    *,
    data_only: bool = False,
    broke: Told = nobody,
) -> Diagnosis:  # fmt: skip
    """What the catalogue says of a run; ``act`` makes an advice an action for its config.

    ``data_only`` leaves the rules of behaviour out. ``broke`` hears of a rule that
    broke, which is then one that was not evaluated.
    """
    look = preflight if data_only else diagnose
    return look(evidence, act, guarded(RULES, broke))


def guarded(rules: Iterable[Rule], broke: Told = nobody) -> tuple[Rule, ...]:
    """The rules, each of which answers ``Unknown`` where it breaks."""

    def judge(rule: Rule, evidence: Evidence) -> Verdict:
        try:
            return rule.judge(evidence)
        except Exception as error:  # noqa: BLE001 (the other rules still speak)
            broke(f"rule {rule.id} broke ({said(error)}) and is left out")
            return Unknown(f"the rule itself broke ({said(error)})")

    return tuple(replace(rule, judge=partial(judge, rule)) for rule in rules)


def said(error: Exception) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {error}"
