"""Where the losses stand against predictors that never look at their input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.series import (
    ema,
    falls,
    newest_ema,
    parts,
    settled,
    since,
    total_loss,
    window,
)
from backend.analysis.text import number

BEATEN = 0.97
"""A loss under this share of a baseline has learnt something."""
LEFT = 0.8
"""One under this share has left the baseline for certain, whatever the noise of few samples."""
ABOVE = 1.25
"""Over this share it has not come down to it yet."""
BLIND = ("constant", "position")
"""The predictors that a training without input ends at; ``untrained`` is only where it starts."""

Level = Literal["learnt", "position", "constant", "above"]


@dataclass(frozen=True)
class Standing:
    """One part of the loss on one split: its lowest smoothed value of the last K evaluations,
    whether it fell in them by more than its noise and 3 %, and its lowest of all before."""

    part: str
    split: str
    value: float
    falling: bool
    lowest: float
    baselines: Mapping[str, float]

    @property
    def key(self) -> str:
        """The metric's key."""
        return f"{self.split}/{self.part}"

    @property
    def level(self) -> Level:
        """The lowest baseline that is not beaten."""
        low, high = min(self.baselines.values()), max(self.baselines.values())
        if self.value < BEATEN * low:
            return "learnt"
        if self.value > ABOVE * high:
            return "above"
        beats = self.value < BEATEN * self.baselines.get("constant", low)
        return "position" if beats else "constant"

    @property
    def trivial(self) -> bool:
        """Has it come to rest at what a predictor gets that looks away? One that was better once
        has not come to it by looking away: it left again (B05)."""
        learnt = self.lowest < LEFT * min(self.baselines.values())
        return self.level in {"position", "constant"} and not self.falling and not learnt


def standing(evidence: Evidence, split: str, part: str) -> Standing | None:
    """One part of a split's loss; None without its baselines or K evaluations."""
    told, curve = evidence.baselines(split), settled(evidence, split, part)
    known = (
        {b: told.losses[b][part] for b in BLIND if part in told.losses.get(b, {})} if told else {}
    )
    count = window(evidence)
    if curve is None or not known or len(curve) < count:
        return None
    newest = float(newest_ema(curve.values, count).min())
    lowest = float(ema(curve.values).min())
    return Standing(part, split, newest, falls(curve.values, count), lowest, known)


def standings(evidence: Evidence) -> dict[str, tuple[Standing, ...]]:
    """Each part of the loss (the total where it has no parts), on validation and on training data,
    as far as both its curve and its baselines are known."""
    names = dict.fromkeys((*parts(evidence, "val"), *parts(evidence, "train"))) or {"loss": None}
    found = {
        name: tuple(s for split in ("val", "train") if (s := standing(evidence, split, name)))
        for name in names
    }
    return {name: known for name, known in found.items() if known}


def is_trivial(known: tuple[Standing, ...]) -> bool:
    """No better than a blind predictor on any split; one that overfits is, on training data."""
    return all(s.trivial for s in known)


def level_of(known: Mapping[str, tuple[Standing, ...]]) -> Level:
    """Of all trivial parts together: one that beats the constant has seen where events tend to
    be, and the rest is held to that."""
    levels = {s.level for found in known.values() for s in found}
    return "position" if "position" in levels else "constant"


def collapsed(evidence: Evidence) -> bool:
    """Are all parts at the level of a constant, although a position alone would tell more?"""
    known = standings(evidence)
    better = any(
        s.baselines.get("position", s.value) < BEATEN * s.baselines.get("constant", 0.0)
        for found in known.values()
        for s in found
    )
    return better and all(s.level == "constant" for found in known.values() for s in found)


def _total(evidence: Evidence, split: str, name: str) -> float | None:
    """A predictor's total loss, None if it is not known."""
    told = evidence.baselines(split)
    losses = told.losses.get(name, {}) if told else {}
    return losses.get("loss", sum(losses.values())) if losses else None


def untrained(evidence: Evidence, split: str) -> float | None:
    """The total loss of a network that says nothing."""
    return _total(evidence, split, "untrained")


def blind_total(evidence: Evidence, split: str) -> float | None:
    """The total loss of the best predictor that looks away."""
    found = [v for name in BLIND if (v := _total(evidence, split, name)) is not None]
    return min(found, default=None)


def learnt_since(evidence: Evidence, step: int) -> bool:
    """Did a loss come under what a predictor gets that looks away, at or after ``step``?"""
    for split in ("val", "train"):
        blind, loss = blind_total(evidence, split), total_loss(evidence, split)
        if blind is not None and loss is not None:
            after = since(loss, step).values
            if len(after) and after.min() < BEATEN * blind:
                return True
    return False


def named(evidence: Evidence, part: str) -> str:
    """How a part of the loss is called: its description in words, else its name."""
    specs = evidence.started.metrics if evidence.started else ()
    return next((m.description for m in specs if m.name == part and m.description), part)


def listed(evidence: Evidence, known: Mapping[str, tuple[Standing, ...]]) -> str:
    """``event localiser 0.409 and multi-label classifier 0.383``."""
    return " and ".join(f"{named(evidence, p)} {number(s[0].value)}" for p, s in known.items())


def baselines_of(known: Mapping[str, tuple[Standing, ...]]) -> str:
    """``constant 0.411 + 0.404, position 0.399 + 0.363``."""
    first = [s[0].baselines for s in known.values()]
    names = [b for b in BLIND if all(b in values for values in first)]
    return ", ".join(f"{b} {' + '.join(number(v[b]) for v in first)}" for b in names)
