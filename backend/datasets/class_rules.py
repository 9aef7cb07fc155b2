"""Which class of the model an object of a dataset belongs to, by the name it has there."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from backend.core.errors import DataError
from backend.datasets.detection import EVERY_CLASS

IGNORE = "ignore"
"""A target: the object is a region that counts for nothing; ``ignore:car`` for one class."""


class Rule(NamedTuple):
    """The label of an object; ``ignored``: a region in which this label is not judged."""

    label: int
    ignored: bool = False


class ClassRules:
    """Names in the dataset to rules; None: left out on purpose. Spelling is made ``normal``."""

    def __init__(
        self, table: Mapping[str, Rule | None], normal: Callable[[str], str] = str.casefold
    ) -> None:
        self._table = table
        self._normal = normal

    def of(self, name: str) -> Rule | None:
        """The rule of a name. Raises KeyError for a name that nothing is known of."""
        return self._table[self._normal(name)]


def make_rules(
    classes: Sequence[str],
    defaults: Mapping[str, str | None],
    class_map: Path | None,
    normal: Callable[[str], str] = str.casefold,
) -> ClassRules:
    """Rules from ``defaults`` (names to targets), which the YAML file ``class_map`` overrides.

    A target is a class, None, ``ignore`` or ``ignore:<class>``. A default target that is not
    among ``classes`` is left out. Raises DataError for a wrong file or if no name leads to a
    class.
    """
    labels = {name.casefold(): label for label, name in enumerate(classes)}
    table = {normal(name): _rule(target, labels) for name, target in defaults.items()}
    given = {} if class_map is None else _read_map(class_map)
    for name, target in given.items():
        rule = _rule(target, labels)
        if target is not None and rule is None:
            raise DataError(
                f"{class_map}: '{name}' leads to '{target}', which is none of the classes "
                f"{', '.join(classes)}; name one, ignore, ignore:<class> or null"
            )
        table[normal(name)] = rule
    if not any(rule and not rule.ignored for rule in table.values()):
        raise DataError(
            f"none of the classes {', '.join(classes)} is in the dataset, which has "
            f"{_listing(list(defaults))}; choose classes of it or give a class map"
        )
    return ClassRules(table, normal)


def by_name(
    names: Sequence[str], classes: Sequence[str], class_map: Path | None, data: Path
) -> ClassRules:
    """Rules for a dataset that lists its ``names``: each is the class of the same name.

    Raises DataError for a class map with a name that the dataset does not have.
    """
    known = {name.casefold() for name in names}
    strange = [n for n in _read_map(class_map) if n.casefold() not in known] if class_map else []
    if strange:
        raise DataError(
            f"{class_map}: '{strange[0]}' is no class of {data}, which has {_listing(names)}"
        )
    try:
        return make_rules(classes, {name: name for name in names}, class_map)
    except DataError as error:
        raise DataError(f"{data}: {error}") from None


def _rule(target: str | None, labels: Mapping[str, int]) -> Rule | None:
    word = (target or "").strip().casefold()
    if word in labels:
        return Rule(labels[word])
    if word == IGNORE:
        return Rule(EVERY_CLASS, ignored=True)
    head, _, name = word.partition(":")
    if head == IGNORE and name.strip() in labels:
        return Rule(labels[name.strip()], ignored=True)
    return None


def _read_map(path: Path) -> dict[str, str | None]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; expected a YAML of dataset names to ours"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as a class map ({reason})") from None
    if not isinstance(data, dict) or not data:
        raise DataError(f"{path}: expected names of the dataset, each with ours, null or ignore")
    wrong = [key for key, value in data.items() if not isinstance(value, str | None)]
    if wrong:
        raise DataError(f"{path}: '{wrong[0]}' must lead to one class, null or ignore")
    return {str(key): value for key, value in data.items()}


def _listing(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
