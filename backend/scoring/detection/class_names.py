"""Classes of two sides joined by their names."""

from collections.abc import Sequence


def matched(names: Sequence[str], among: Sequence[str]) -> tuple[int | None, ...]:
    """The place of each name among others, None for one that is not there.

    Case and blanks around a name make no difference, unless the very same name is there too.
    """
    same = {name: place for place, name in enumerate(among)}
    alike = {_plain(name): place for place, name in enumerate(among)}
    return tuple(same.get(name, alike.get(_plain(name))) for name in names)


def _plain(name: str) -> str:
    return name.strip().casefold()
