"""Config files: YAML with ``extends``, and dotted overrides.

Parents are merged in the order listed, later ones win; mappings merge, lists replace. Every
failure is a ConfigError that names the file and the key.
"""

import copy
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from backend.core.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

DEFAULT = "default"
_BOOL = "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """Only true and false are booleans, as in YAML 1.2: ``off`` is a word, which fields like
    ``runner.amp`` know; a field that is a boolean takes it all the same."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")


@dataclass(frozen=True)
class Composed:
    """Values from several sources; ``origins`` names the source of each, by dotted key."""

    data: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def extended(self, other: "Composed") -> "Composed":
        """With another's values on top."""
        return Composed(merge(self.data, other.data), self.origins | other.origins)

    def overridden(self, overrides: Mapping[str, object], source: str) -> "Composed":
        """With dotted overrides on top, each of which replaces all that was below its key."""
        origins = {
            key: origin
            for key, origin in self.origins.items()
            if not any(f"{key}.".startswith(f"{dotted}.") for dotted in overrides)
        }
        new = dict.fromkeys(flatten(dict(overrides)), source)
        return Composed(apply_overrides(self.data, overrides), origins | new)

    def origin(self, key: str) -> str:
        """The source of a dotted key's value; ``DEFAULT`` if none names it."""
        return self.origins.get(key, DEFAULT)


def load_yaml(path: Path) -> dict[str, object]:
    """The mapping in ``path`` with its parents merged in. Raises ConfigError."""
    return load(path).data


def load(path: Path, _seen: tuple[Path, ...] = ()) -> Composed:
    """What is in ``path`` and its parents.

    Raises ConfigError for a missing file, wrong YAML, or a circle of ``extends``.
    """
    path = path.expanduser().absolute()
    if path in _seen:
        raise ConfigError(f"{path}: 'extends' goes in a circle")
    data = _read(path)
    parents = data.pop("extends", [])
    if isinstance(parents, str):
        parents = [parents]
    if not isinstance(parents, list):
        raise ConfigError(f"{path}: 'extends' is a file name or a list of them")
    composed = Composed()
    for parent in parents:
        composed = composed.extended(load(path.parent / str(parent), (*_seen, path)))
    return composed.extended(Composed(data, dict.fromkeys(flatten(data), str(path))))


def _read(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    try:
        data = _parsed(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys and values at the top level")
    return data


def _parsed(text: str) -> object:
    """What the YAML says. Raises YAMLError."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def merge(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """``over`` on top of ``base``; neither is changed."""
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = merge(old, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def apply_overrides(
    data: Mapping[str, object], overrides: Mapping[str, object]
) -> dict[str, object]:
    """Dotted keys set into nested mappings."""
    result = copy.deepcopy(dict(data))
    for dotted, value in overrides.items():
        *parents, leaf = dotted.split(".")
        node = result
        for parent in parents:
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                raise ConfigError(f"'{dotted}': '{parent}' is a value, not a section")
            node = child
        node[leaf] = value
    return result


def flatten(data: dict[str, object], prefix: str = "") -> dict[str, str]:
    """Nested mappings to dotted keys; None becomes the empty string."""
    flat: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = "" if value is None else str(value)
    return flat


def parse_overrides(assignments: Iterable[str]) -> dict[str, object]:
    """``key=value`` texts from the command line; values are YAML (``1e-3`` is a number)."""
    overrides: dict[str, object] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set '{assignment}': expected key=value")
        overrides[key.strip()] = _scalar(text)
    return overrides


def _scalar(text: str) -> object:
    try:
        value = _parsed(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            return value
    return value


def validate(model: type[Model], data: Mapping[str, object], source: str) -> Model:
    """``data`` as ``model``. Raises ConfigError naming the first wrong key, with a suggestion."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(model, error)}") from None


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    sentences = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            sentences.append(f"unknown key '{key}'" + _did_you_mean(model, item["loc"]))
        elif item["type"] == "missing":
            sentences.append(f"'{key}' is missing")
        elif item["type"] == "value_error":
            sentences.append(f"{key}: {item['ctx']['error']}".lstrip(": "))
        else:
            sentences.append(f"'{key}': {item['msg'].lower()}, got {item['input']!r}")
    return "; ".join(sentences)


def _did_you_mean(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    section: type[BaseModel] = model
    for part in loc[:-1]:
        field = section.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return ""
        section = field.annotation
    near = difflib.get_close_matches(str(loc[-1]), section.model_fields, n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""
