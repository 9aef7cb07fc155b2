"""A resolved configuration as tables."""

from collections.abc import Mapping, Sequence

from backend.analysis.report.blocks import Block, cell, code, facts, table

TITLES = {
    "": "Training",
    "optimizer": "Optimisation",
    "augment": "Augmentation",
    "freeze": "Freezing",
    "loader": "Data loading",
}


def of(params: Mapping[str, str]) -> list[Block]:
    """One table for each section of the configuration; those with the same settings share one."""
    sections: dict[str, dict[str, str]] = {}
    for key, value in params.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = value
    if not sections:
        return []
    alike: dict[tuple[str, ...], list[str]] = {}
    for section in sorted(sections, key=lambda name: (name != "", name)):
        alike.setdefault(tuple(sorted(sections[section])), []).append(section)
    blocks: list[Block] = ["## Configuration"]
    for together in alike.values():
        titles = [TITLES.get(section, cell(section)) for section in together]
        blocks += [
            f"### {', '.join(titles)}",
            _side_by_side(titles, [sections[s] for s in together]),
        ]
    return blocks


def _side_by_side(titles: Sequence[str], sections: Sequence[Mapping[str, str]]) -> str:
    """Sections with the same settings, a column for each."""
    rows = [
        (code(name), *(value_of(section[name]) for section in sections)) for name in sections[0]
    ]
    if len(titles) == 1:
        return facts((row[0], row[1]) for row in rows)
    return table(("", *titles), rows, left=len(titles) + 1)


def differing(old: Mapping[str, str], new: Mapping[str, str]) -> list[Block]:
    """The settings that are not the same on both sides."""
    if not old or not new:
        return ["The configuration of one of them is not known."]
    keys = sorted(old.keys() | new.keys())
    rows = [
        (code(key), value_of(old.get(key)), value_of(new.get(key)))
        for key in keys
        if old.get(key) != new.get(key)
    ]
    if not rows:
        return [f"All {len(keys)} settings are the same."]
    note = f"Only those that differ; the other {len(keys) - len(rows)} are the same."
    return [note, table(("setting", "old", "new"), rows, left=3)]


def value_of(value: str | None) -> str:
    """A setting's value; what is not set, and what is set to nothing."""
    return "not set" if value is None else cell(value) or "none"
