"""The input permutation probe: when it is due, and that it leaves no trace."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

EARLY = 0.25
"""The share of the planned steps after which the input is probed first; then at the end."""
LEAST = 50


def probe_due(step: int, steps: int, probed: bool) -> bool:
    """Is the input to be probed with the validation after ``step``?"""
    return step >= steps or (not probed and step >= EARLY * steps)


def affordable(most: int, trained: int) -> int:
    """How many samples to probe in a training on ``trained`` samples in all: at most ``most``, and
    1 % of it where that is less, but never under 50, with which nothing could be said."""
    return min(most, max(LEAST, trained // 100))


def spread(count: int, samples: int) -> list[int]:
    """At most ``samples`` of ``count`` places, at even distances: neighbours are often alike."""
    taken = min(count, samples)
    return [at * count // taken for at in range(taken)]


def paired(places: Sequence[int]) -> list[int]:
    """The places in pairs, one after the other, whose two are far from each other: a sample's
    stand-in is the other of its pair, so one pass of the network gives both losses. Of an odd
    number the last is left out."""
    half = len(places) // 2
    return [at for pair in zip(places[:half], places[half : 2 * half], strict=True) for at in pair]


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Leave every generator as it was, whatever is drawn inside."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
