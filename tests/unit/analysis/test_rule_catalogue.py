"""Every rule has its page, synthetic tests, a real induced fault and mutations."""

import ast
import itertools
import sys
from pathlib import Path

import pytest

from backend.analysis.diagnostics import catalogue
from backend.analysis.diagnostics.evidence import Evidence, evidence_of
from backend.analysis.diagnostics.rule import Clear, Rule
from backend.analysis.diagnostics.rules import RULES
from tests.support.mutants import mutants_of

HERE = Path(__file__).parent
INDUCED = HERE.parents[1] / "integration"
WANTED = [
    f"{kind}{number:02}" for kind, count in (("D", 6), ("B", 20), ("T", 8))
    for number in range(1, count + 1)
]  # fmt: skip

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)


def test_the_catalogue_is_whole() -> None:
    assert [rule.id for rule in RULES] == WANTED


def test_the_pages_are_fresh() -> None:
    there = {path.name: path.read_text("utf-8") for path in catalogue.FOLDER.glob("*.md")}
    stale = [name for name, text in catalogue.pages().items() if there.get(name) != text]
    assert stale == [], "write them anew: python -m backend.analysis.diagnostics.catalogue"
    assert there.keys() == catalogue.pages().keys()


def test_pages_are_written_and_stale_ones_removed(tmp_path: Path) -> None:
    (tmp_path / "b99.md").write_text("gone")
    catalogue.write(tmp_path)
    there = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert there == catalogue.pages()


@each_rule
def test_it_is_documented(rule: Rule) -> None:
    for text in (
        rule.title,
        rule.needs,
        rule.condition,
        rule.threshold,
        rule.source,
        rule.example,
    ):
        assert len(text) > 3
    made = catalogue.page(rule)
    assert rule.condition.rstrip(".")[1:] in made
    assert set(rule.explains) <= set(WANTED)


@each_rule
def test_it_has_synthetic_tests(rule: Rule) -> None:
    (path,) = HERE.glob(f"test_rule_{rule.id.lower()}*.py")
    tests = [n for n in ast.walk(ast.parse(path.read_text("utf-8")))
             if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]  # fmt: skip
    assert len(tests) >= 3


@each_rule
def test_it_can_be_broken(rule: Rule) -> None:
    some = itertools.islice(mutants_of(sys.modules[rule.judge.__module__]), 3)
    assert len([*some]) == 3


def induced() -> set[str]:
    """The rules that a test below ``tests/integration`` induces with a real training: the ids
    in its mark ``rule``."""
    return {
        argument.value
        for path in INDUCED.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.rule"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }


@each_rule
def test_it_has_a_real_induced_fault(rule: Rule) -> None:
    assert rule.id in induced()


@each_rule
@pytest.mark.parametrize("seen", [Evidence(()), evidence_of(())], ids=["nothing", "no events"])
def test_without_any_evidence_it_is_not_clear(rule: Rule, seen: Evidence) -> None:
    assert rule.judge(seen) != Clear()
