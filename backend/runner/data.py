"""Batches in an order that depends on the seed and the epoch only.

One process sees the same samples, in the same global batches and with the same augmentation,
as several do together, from whichever step a run is continued.
"""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from backend.core.errors import AssayError, ConfigError
from backend.runner.config import RunnerConfig
from backend.runner.distributed import Ranks
from backend.runner.seeds import COLLATE, SAMPLE, seed_all

LOADERS = "fork" if sys.platform == "linux" else None
"""How loader processes start: as torch's do on Linux. A training process is itself started in
another way, which its children would take over; each would then import torch, in each epoch."""

Order = Callable[[int], Sequence[int]]
"""The sample indices of an epoch (counted from 1); each epoch must have as many."""


class Samples(Protocol):
    """A map-style dataset; ``set_epoch(epoch)``, if it has that, is called before each epoch."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Key(NamedTuple):
    """One batch: its epoch, the place of its first sample in the epoch, the sample indices."""

    epoch: int
    start: int
    indices: tuple[int, ...]


class Batches(Dataset[Any]):
    """Collated batches by key; runs in the loader's processes."""

    def __init__(self, samples: Samples, collate: Callable[[list[Any]], Any], seed: int) -> None:
        self._samples = samples
        self._collate = collate
        self._seed = seed

    def __getitem__(self, key: Key) -> Any:
        """A batch, or the AssayError of a sample: raised here, torch would add a traceback."""
        try:
            return self._made(key)
        except AssayError as error:
            return error

    def _made(self, key: Key) -> Any:
        items = []
        for place, index in enumerate(key.indices, key.start):
            seed_all(SAMPLE, self._seed, key.epoch, place)
            items.append(self._samples[index])
        seed_all(COLLATE, self._seed, key.epoch, key.start)
        return self._collate(items)


class Stream:
    """What a rank trains on. ``windows`` are the batches of each optimizer step of an epoch.

    Raises ConfigError if there is not one step.
    """

    def __init__(
        self,
        samples: Samples,
        collate: Callable[[list[Any]], Any],
        config: RunnerConfig,
        seed: int,
        ranks: Ranks,
        order: Order | None = None,
    ) -> None:
        self._samples = samples
        self._batches = Batches(samples, collate, seed)
        self._config = config
        self._ranks = ranks
        self._order = order or (lambda epoch: _shuffled(len(samples), seed, epoch))
        self._size = len(self._order(1))
        count = self._count()
        if count == 0:
            step = config.batch * config.accumulate * ranks.size
            raise ConfigError(
                f"the training set has {self._size} samples, not one step of {step}; lower "
                "runner.batch or add data"
            )
        whole, rest = divmod(count, config.accumulate)
        self.windows = (config.accumulate,) * whole + ((rest,) if rest else ())

    def iterate(self, epoch: int, skip: int, device: torch.device) -> Iterator[Any]:
        """The batches of an epoch on ``device``, without those of its first ``skip`` steps.

        Raises what a sample raised.
        """
        if hasattr(self._samples, "set_epoch"):
            self._samples.set_epoch(epoch)
        keys = self.keys(epoch)[sum(self.windows[:skip]) :]
        workers = min(self._config.workers, len(keys))
        loader: DataLoader[Any] = DataLoader(
            self._batches,
            batch_size=None,
            sampler=keys,
            num_workers=workers,
            prefetch_factor=self._config.prefetch if workers else None,
            multiprocessing_context=LOADERS if workers else None,
            collate_fn=_as_it_is,
            pin_memory=device.type == "cuda",
        )
        for batch in loader:
            if isinstance(batch, AssayError):
                raise batch
            yield to_device(batch, device)

    def keys(self, epoch: int) -> list[Key]:
        """This rank's batches of an epoch. Raises ValueError if its length is another."""
        order = self._order(epoch)
        if len(order) != self._size:
            raise ValueError(f"epoch {epoch} has {len(order)} samples, not {self._size}")
        batch, ranks = self._config.batch, self._ranks
        keys = []
        for start in range(0, self._count() * batch * ranks.size, batch * ranks.size):
            together = list(order[start : start + batch * ranks.size])
            missing = -len(together) % ranks.size  # each rank takes as many: the first ones again
            together += [order[place % self._size] for place in range(missing)]
            share = len(together) // ranks.size
            first = ranks.rank * share
            keys.append(Key(epoch, start + first, tuple(together[first : first + share])))
        return keys

    def _count(self) -> int:
        together, window = self._config.batch * self._ranks.size, self._config.accumulate
        if self._config.drop_last:
            return self._size // (together * window) * window
        return math.ceil(self._size / together)


def to_device(batch: Any, device: torch.device) -> Any:
    """Tensors, and what has a ``to``, inside of mappings, sequences and dataclasses, on
    ``device``."""
    if isinstance(batch, Tensor) or hasattr(batch, "to"):
        return batch.to(device, non_blocking=True) if device.type != "cpu" else batch
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
        return dataclasses.replace(batch, **to_device(fields, device))
    return batch


def _shuffled(size: int, seed: int, epoch: int) -> list[int]:
    return [int(index) for index in np.random.default_rng((seed, epoch)).permutation(size)]


def _as_it_is(batch: Any) -> Any:
    return batch
