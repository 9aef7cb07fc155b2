"""Names of splits, which people spell in several ways."""

from collections.abc import Collection

SPLITS = ("train", "val", "test", "holdout")
ALIASES = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
_TWINS = {"test": "holdout", "holdout": "test"}


def own_name(split: str, existing: Collection[str]) -> str:
    """How a dataset with ``existing`` splits calls a split; the name itself if it has none."""
    name = ALIASES.get(split, split)
    twin = _TWINS.get(name, name)
    return twin if name not in existing and twin in existing else name


def by_use(split: str) -> tuple[int, str]:
    """A key that sorts train first, then val, then what is held out."""
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)
