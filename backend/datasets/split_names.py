"""Names of splits, which people spell in several ways."""

from collections.abc import Collection

SPLITS = ("train", "val", "test", "holdout")
ALIASES = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
_TWINS = {"test": "holdout", "holdout": "test"}


def own_name(split: str, existing: Collection[str]) -> str:
    """How a dataset with ``existing`` splits calls a split; the name itself if it has none."""
    name = ALIASES.get(split, split)
    spellings = (alias for alias, meant in ALIASES.items() if meant == name)
    known = (split, name, _TWINS.get(name, name), *spellings)
    return next((one for one in known if one in existing), name)


def by_use(split: str) -> tuple[int, str]:
    """A key that sorts train first, then val, then what is held out."""
    name = ALIASES.get(split, split)
    return (SPLITS.index(name) if name in SPLITS else len(SPLITS), split)
