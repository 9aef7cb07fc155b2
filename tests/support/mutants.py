"""A rule broken on purpose, one place at a time, and its own tests run against it.

A module's functions get the code of a changed copy of its source, in place, so that whoever holds
the rule holds the broken one; leaving the ``with`` puts everything back.
"""

import ast
import importlib.util
import inspect
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

SEVERITIES = {"info": "error", "warning": "info", "error": "info", "stop": "info"}
FACTORS = (1e4, 1e-4)


@dataclass(frozen=True)
class Mutant:
    """``what`` was done to which line, and the module's tree with it done."""

    what: str
    tree: ast.Module


def mutants_of(module: ModuleType) -> Iterator[Mutant]:
    """Each ``if`` dropped, each returned comparison turned round, each severity and threshold
    another."""
    source = inspect.getsource(module)
    for place, node in enumerate(ast.walk(ast.parse(source))):
        for what, change in _changes(node):
            broken = ast.parse(source)
            change(next(itertools.islice(ast.walk(broken), place, None)))
            yield Mutant(f"line {getattr(node, 'lineno', 0)}: {what}", broken)


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    if isinstance(node, ast.If):
        yield f"'if {ast.unparse(node.test)}' dropped", _never
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Compare | ast.BoolOp):
        yield f"'{ast.unparse(node)}' turned round", _not_returned
    if isinstance(node, ast.keyword) and node.arg == "severity":
        for severity in [n for n in ast.walk(node.value) if _is_severity(n)]:
            yield f"severity {ast.unparse(severity)} changed", _graver
    if isinstance(node, ast.Assign) and _is_threshold(node):
        for factor in FACTORS:
            yield f"'{ast.unparse(node)}' times {factor:g}", partial(_scale, factor=factor)


def _never(node: ast.If) -> None:
    node.test = ast.copy_location(ast.Constant(False), node.test)


def _not_returned(node: ast.Return) -> None:
    assert node.value is not None
    node.value = ast.copy_location(ast.UnaryOp(ast.Not(), node.value), node.value)


def _is_severity(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in SEVERITIES


def _graver(node: ast.keyword) -> None:
    for inner in ast.walk(node.value):
        if isinstance(inner, ast.Constant) and inner.value in SEVERITIES:
            inner.value = SEVERITIES[str(inner.value)]


def _is_threshold(node: ast.Assign) -> bool:
    name, value = node.targets[0], node.value
    number = isinstance(value, ast.Constant) and type(value.value) in {int, float}
    return isinstance(name, ast.Name) and name.id.isupper() and number


def _scale(node: ast.Assign, factor: float) -> None:
    assert isinstance(node.value, ast.Constant)
    was = node.value.value
    assert isinstance(was, int | float)
    node.value.value = int(was * factor) if isinstance(was, int) else was * factor


@contextmanager
def in_place(module: ModuleType, mutant: Mutant) -> Iterator[None]:
    """The module is broken until the end of the block."""
    made: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(ast.fix_missing_locations(mutant.tree), str(module.__file__), "exec"), made)
    functions = {
        name: (now.__code__, made[name].__code__)
        for name, now in vars(module).items()
        if isinstance(now, FunctionType) and now.__module__ == module.__name__
    }
    values = {
        name: (now, made[name])
        for name, now in vars(module).items()
        if name.isupper() and type(now) in {int, float}
    }
    try:
        for name, (_, code) in functions.items():
            getattr(module, name).__code__ = code
        for name, (_, value) in values.items():
            setattr(module, name, value)
        yield
    finally:
        for name, (code, _) in functions.items():
            getattr(module, name).__code__ = code
        for name, (value, _) in values.items():
            setattr(module, name, value)


class Checks:
    """The tests of a file that need no fixture: the last that noticed, then the quickest."""

    def __init__(self, path: Path) -> None:
        found = [
            call
            for name, test in vars(_loaded(path)).items()
            if name.startswith("test_") and isinstance(test, FunctionType)
            for call in _calls(test)
        ]
        took = {}
        for call in found:
            began = time.perf_counter()
            call()
            took[call] = time.perf_counter() - began
        self._calls = sorted(found, key=lambda call: took[call])

    def __len__(self) -> int:
        return len(self._calls)

    def notice(self) -> bool:
        """Does a test fail?"""
        for call in self._calls:
            try:
                call()
            except Exception:  # noqa: BLE001 (any failure is what is looked for)
                self._calls.remove(call)
                self._calls.insert(0, call)
                return True
        return False


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"checks_of_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _calls(test: FunctionType) -> Iterator[Callable[[], object]]:
    """The test with each of its parameter sets; nothing if it needs a fixture."""
    sets: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            given, values = mark.args[:2]
            names = [n.strip() for n in given.split(",")] if isinstance(given, str) else [*given]
            rows = [row if len(names) > 1 else (row,) for row in values]
            sets = [s | dict(zip(names, row, strict=True)) for s in sets for row in rows]
    for parameters in sets:
        if set(inspect.signature(test).parameters) == set(parameters):
            yield partial(test, **parameters)
