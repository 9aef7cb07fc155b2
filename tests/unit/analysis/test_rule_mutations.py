"""Break each rule on purpose: its own tests must notice.

Each ``if`` of a rule's module is dropped, each comparison that a function returns turned round,
each severity and each threshold changed, one at a time (``tests.support.mutants``).
"""

import sys
from pathlib import Path

import pytest

from backend.analysis.diagnostics.rule import Rule
from backend.analysis.diagnostics.rules import RULES
from tests.support.mutants import Checks, in_place, mutants_of


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_broken_rule_is_noticed(rule: Rule) -> None:
    (path,) = Path(__file__).parent.glob(f"test_rule_{rule.id.lower()}*.py")
    module = sys.modules[rule.judge.__module__]
    checks = Checks(path)
    assert len(checks) >= 3, f"{path.name} has too few tests without fixtures"
    survived, count = [], 0
    for count, mutant in enumerate(mutants_of(module), 1):  # noqa: B007 (counted)
        with in_place(module, mutant):
            if not checks.notice():
                survived.append(mutant.what)
    assert count >= 3, f"{rule.id} offers nothing to break"
    assert not survived, f"{rule.id}: nobody noticed {survived}"
    assert not checks.notice(), "the rule was not put back"
