"""Simulated trackers to calibrate the rules on: sound fine-tunings, and one fault each.

A sound one has 5 to 40 validations; its scores leave the start in the first quarter and waver by
up to 4 %, its tracks are short at first, and HOTA comes late.
"""

from collections.abc import Callable, Mapping

import numpy as np

from backend.core.evidence import TracksSeen
from tests.support.evidence_made import Made
from tests.support.tracks_made import CLASSES, always, counted, refused, seeing, tracker


def sound_tracker(seed: int) -> Made:
    """One of many sound trainings: how fast, how far and how roughly its scores rise."""
    generator = np.random.default_rng([11, seed])
    count = int(generator.integers(5, 41))
    end, waits = generator.uniform(0.6, 0.95), generator.uniform(0.02, 0.25)
    fast, rough = generator.uniform(4, 12), generator.uniform(0.0, 0.04)
    wavering = 1 + rough * generator.standard_normal(count + 1)

    def saw(share: float) -> TracksSeen:
        learnt = 1 - np.exp(-fast * max(0.0, share - waits))
        top = (0.03 + (end - 0.03) * learnt) * (1 + 0.1 * share) * wavering[round(share * count)]
        births = round(60 * learnt * (1.5 - learnt)) if 1.02 * top >= 0.5 else 0
        return seeing(top=min(0.97, float(top)), births=births,
                      short=round(births * (1 - learnt)))  # fmt: skip

    hota = end * (1 - np.exp(-fast * np.clip(np.arange(1, count + 1) / count - waits, 0, None)))
    made = tracker(saw, count, every=int(generator.integers(20, 400)))
    return made.with_curves(val_HOTA=hota * 0.7, val_cls_HOTA=hota * 0.6)


def _low(seed: int) -> Made:
    return always(top=float(np.random.default_rng([12, seed]).uniform(0.1, 0.48)))


def _fresh(seed: int) -> Made:
    top = float(np.random.default_rng([13, seed]).uniform(0.01, 0.05))
    return always(top=top, untrained=("class_embed.0.weight",) if seed % 2 else ())


def _blind(seed: int) -> Made:
    top = float(np.random.default_rng([14, seed]).uniform(0.52, 0.95))
    return always(top=top, first_class=0.3 * top, births=0, short=0, lengths={})


def _short(seed: int) -> Made:
    births = int(np.random.default_rng([15, seed]).integers(20, 900))
    return always(births=births, short=births, lengths={"0.5": 1.0, "1": 2.0})


def _misread(seed: int) -> Made:
    return always().with_curves(val_HOTA=np.full(10, 0.4 * (seed % 2)))


def _dry(seed: int) -> Made:
    splits = (counted("train", 4, proposals=0), counted("val", proposals=0))
    return always(top=0.2, proposals=0).surveyed(tracks=splits)


def _elsewhere(seed: int) -> Made:
    return always(top=0.3).surveyed(tracks=(counted("train", 4, recall=0.01), counted("val")))


def _filtered(seed: int) -> Made:
    kept = CLASSES[: 1 + seed % 7]
    return always(top=0.4, targets=dict.fromkeys(kept, 90))


def _refused(seed: int) -> Made:
    return _low(seed).surveyed(
        findings=(refused("N4", "the database tells no classes.", classes=8),)
    )


TRACK_FAULTS: Mapping[str, Callable[[int], Made]] = {
    "D06": _refused, "T01": _dry, "T02": _elsewhere, "T03": _filtered, "T04": _fresh,
    "T05": _blind, "T06": _low, "T07": _short, "T08": _misread,
}  # fmt: skip
"""Rule that names the root cause to a run with its fault, by number."""
