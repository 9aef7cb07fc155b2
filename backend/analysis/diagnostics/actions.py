"""From an advice to the config keys of a trainer, and to the commands that start it."""

import json
import math
import re
import shlex
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from backend.analysis.diagnostics.rule import Advice, Turn
from backend.core.diagnosis import Action, Change, Value
from backend.core.trainer import Role

Levers = Mapping[Role, tuple[str, ...]]
MOST_TRIALS = 12
DIGITS = 2
PLAIN = re.compile(r"[\w./+~-]+")
_WORDS: Mapping[str, Value] = {"": None, "True": True, "False": False}


@dataclass(frozen=True)
class Source:
    """How a run's config is called: its file as one types it, empty if there is none to start
    from, and the ``key=value`` settings beside it."""

    path: str = ""
    settings: tuple[str, ...] = ()


def resolve(
    advice: Advice, levers: Levers, config: Mapping[str, str], source: Source | str
) -> Action:
    """The advice for a run with this flat config.

    Keys that the config does not have are left out, and so is what would change nothing. Without
    a source there is nothing to start, and the commands are empty.
    """
    source = Source(source) if isinstance(source, str) else source
    changes = tuple(
        Change(key=key, now=now, proposed=values[0])
        for key, now, values in _turned(advice.change, levers, config)
    )
    search = _within({key: v for key, _, v in _turned(advice.study, levers, config)}, MOST_TRIALS)
    return Action(
        advice=advice.text,
        changes=changes,
        command=_train(changes, source),
        search=search,
        study=_sweep(search, source),
    )


def resolver(
    levers: Levers, config: Mapping[str, str], source: Source | str
) -> Callable[[Advice], Action]:
    """``resolve`` for one run."""
    return lambda advice: resolve(advice, levers, config, source)


def _turned(
    turns: Iterable[Turn], levers: Levers, config: Mapping[str, str]
) -> Iterable[tuple[str, Value, tuple[Value, ...]]]:
    """Each key with its value now and the others that it is to have."""
    for turn in turns:
        for key in levers.get(turn.role, ()):
            if key in config:
                now = parse(config[key])
                values = [value for value in _values(turn, now) if value != now]
                if values:
                    yield key, now, tuple(dict.fromkeys(values))


def _values(turn: Turn, now: Value) -> list[Value]:
    number = isinstance(now, int | float) and not isinstance(now, bool)
    if turn.times:
        return [_scaled(now, factor) for factor in turn.times] if number else []
    return [_typed(value, now) for value in turn.values]


def _scaled(now: Value, factor: float) -> Value:
    """A number times a factor, to two digits; a whole one stays whole, and at least 1."""
    assert isinstance(now, int | float)
    value = rounded(now * factor)
    return max(round(value), 1) if isinstance(now, int) and now else _typed(value, now)


def _typed(value: Value, now: Value) -> Value:
    """A proposed number of the kind that the key holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(now, int) and not isinstance(now, bool):
        return round(value)
    return float(value) if isinstance(now, float) else value


def rounded(value: float) -> float:
    """A number to two digits."""
    if not value or not math.isfinite(value):
        return value
    return round(value, DIGITS - 1 - math.floor(math.log10(abs(value))))


def parse(text: str) -> Value:
    """A value of a flat config; the empty text is None."""
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def typed(path: Path) -> str:
    """A file as one calls it in this folder: by its relative path, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def written(value: Value) -> str:
    """A value as it is typed behind ``key=``, which is read as YAML."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and yaml.safe_load(value) == value
        return value if plain else json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _within(search: dict[str, tuple[Value, ...]], most: int) -> dict[str, tuple[Value, ...]]:
    """The search with the last values of its longest keys left out, until it has few trials."""
    while math.prod(map(len, search.values())) > most:
        longest = max(search, key=lambda key: len(search[key]))
        search = {**search, longest: search[longest][:-1]}
    return search


def _train(changes: Sequence[Change], source: Source) -> str:
    if not source.path or not changes:
        return ""
    proposed = {change.key: written(change.proposed) for change in changes}
    settings = [*_others(source, proposed), *(f"{key}={v}" for key, v in proposed.items())]
    return f"assay train {shlex.quote(source.path)} {_options('--set', settings)}"


def _sweep(search: Mapping[str, tuple[Value, ...]], source: Source) -> str:
    if not source.path or not search:
        return ""
    settings = "".join(f"{_options('--set', [one])} " for one in _others(source, search))
    overs = [f"{key}={','.join(map(written, values))}" for key, values in search.items()]
    config = f"--config {shlex.quote(source.path)}"
    return f"assay study run sweep {config} {settings}{_options('--over', overs)}"


def _others(source: Source, keys: Container[str]) -> list[str]:
    """The source's settings of other keys."""
    return [one for one in source.settings if one.partition("=")[0] not in keys]


def _options(flag: str, values: Iterable[str]) -> str:
    return " ".join(f"{flag} {shlex.quote(value)}" for value in values)
