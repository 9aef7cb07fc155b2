"""Randomness as a function of where training stands.

The generators are seeded anew for each sample (its place in the epoch) and each batch (its
optimizer step): nothing of them need be saved, and neither the number of loader processes, nor
a validation in between, nor an interruption changes what is drawn.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

SAMPLE, COLLATE, STEP, START = range(4)


def seed_all(*key: int) -> None:
    """Seed Python, numpy and torch (each device in use) with non-negative numbers."""
    words = np.random.SeedSequence(key).generate_state(4, np.uint32)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    seed = (int(words[2]) << 32) + int(words[3])
    torch.default_generator.manual_seed(seed)
    if _cuda_in_use():  # else torch.manual_seed would take longer than all the rest
        torch.cuda.manual_seed_all(seed)


def _cuda_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def seed_model(seed: int) -> None:
    """To be called before a model is built, so that its random weights follow the seed."""
    seed_all(START, seed)
    torch.manual_seed(torch.initial_seed())  # a device that is not in use yet


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """Kernels that repeat to the bit where torch has them; a warning where it has not."""
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = before[2]
