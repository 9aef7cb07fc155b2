"""The literal values of a Python config, read from its syntax tree: nothing is executed."""

import ast
from collections.abc import Iterable
from pathlib import Path

from backend.importers.reading import read_text

LARGEST_BYTES = 1 << 22


def literals_of(path: Path) -> dict[str, object]:
    """Top-level names and their literal values: numbers, texts, lists, ``dict(...)``, ``{...}``.

    Whatever is computed, called or imported is left out, also inside a value. A file that
    is no Python gives nothing.
    """
    text = read_text(path)
    if len(text) > LARGEST_BYTES:
        return {}
    try:
        tree = ast.parse(text)
        found: dict[str, object] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
                if isinstance(target, ast.Name) and (value := _value(node.value)) is not None:
                    found[target.id] = value[0]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return found


def _value(node: ast.expr) -> tuple[object] | None:
    """A literal in a tuple, None for anything that would have to be computed."""
    if isinstance(node, ast.Dict):
        return (_mapping(zip(node.keys, node.values, strict=True)),)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        if node.args:
            return None
        pairs = ((ast.Constant(k.arg), k.value) for k in node.keywords if k.arg is not None)
        return (_mapping(pairs),)
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item) for item in node.elts]
        return ([item[0] for item in items if item is not None],)
    try:
        return (ast.literal_eval(node),)
    except ValueError:
        return None


def _mapping(pairs: Iterable[tuple[ast.expr | None, ast.expr]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        inner = _value(value)
        if isinstance(key, ast.Constant) and inner is not None:
            found[str(key.value)] = inner[0]
    return found
