"""What differs between two checkpoints besides their weights."""

from collections.abc import Mapping
from typing import Literal

from backend.core.comparisons import Change, Contender

Kind = Literal["config", "data", "code", "environment"]


def changes(baseline: Contender, candidate: Contender) -> tuple[Change, ...]:
    """Configuration, data digests, commit and environment that are not the same on both sides.

    Of a side that tells nothing (a weight file from elsewhere has no configuration) nothing is
    compared: all of the other side would look like a change.
    """
    return (
        *_differing("config", baseline.params, candidate.params),
        *_differing("data", baseline.data, candidate.data),
        *_differing("code", _commit(baseline), _commit(candidate)),
        *_differing("environment", baseline.environment, candidate.environment),
    )


def _differing(kind: Kind, old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Change, ...]:
    if not old or not new:
        return ()
    return tuple(
        Change(kind=kind, name=name, baseline=old.get(name), candidate=new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _commit(side: Contender) -> dict[str, str]:
    return {"commit": side.code} if side.code else {}
