"""What each tier would ask of a run, as a table for its report."""

from typing import Any

from backend.core.description import Described
from backend.core.knobs import Knobs
from backend.hardware.attempts import settings_of
from backend.hardware.ladder import in_words
from backend.hardware.tiers import TIERS, Tier, scaled


def described(config: Any, knobs: Knobs) -> Described:
    """The settings that a tier changes: those of the run, and those of each tier where the cores
    are enough. ``config`` is a ``TrainConfig``."""
    run = settings_of(config, knobs)
    asked = [scaled(run, knobs, tier, cores=None) for tier in TIERS.values()]
    keys = dict.fromkeys(key for one in asked for key in one)
    rows = (
        (key, in_words(run[key]), *(in_words(one.get(key, run[key])) for one in asked))
        for key in keys
    )
    head = ("", "this run", *map(_named, TIERS.values()))
    return Described("optimisation", "What each tier of the machine asks for", tuple(rows), head)


def _named(tier: Tier) -> str:
    if tier.lower:
        return f"{tier.name}, {tier.lower:g} GiB and more"
    return tier.name if tier.name == "cpu" else f"{tier.name}, a smaller GPU"
