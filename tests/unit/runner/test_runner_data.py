import multiprocessing
import os
import random
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.core.errors import ConfigError, DataError
from backend.runner.config import RunnerConfig
from backend.runner.data import Stream, to_device
from backend.runner.distributed import Ranks

CPU = torch.device("cpu")


class Noisy:
    """Samples that draw from all three generators."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.epoch = 0

    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> Tensor:
        drawn = [random.random(), float(np.random.random()), float(torch.rand(1))]
        return torch.tensor([index, self.epoch, *drawn], dtype=torch.float64)


def collate(items: list[Tensor]) -> Tensor:
    return torch.stack(items) + 1e-3 * torch.rand(1, dtype=torch.float64)


def plain(items: list[Tensor]) -> Tensor:
    return torch.stack(items)


def stream(
    size: int = 10, ranks: Ranks | None = None, collate: Any = collate, **config: Any
) -> Stream:
    settings = RunnerConfig(**{"batch": 4, "workers": 0, **config})
    return Stream(Noisy(size), collate, settings, 5, ranks or Ranks())


def batches(stream: Stream, epoch: int = 1, skip: int = 0) -> list[Tensor]:
    return list(stream.iterate(epoch, skip, CPU))


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_each_sample_once_in_an_order_of_the_epochs_own() -> None:
    first, second = (torch.cat(batches(stream(), epoch)) for epoch in (1, 2))
    assert sorted(first[:, 0].int().tolist()) == list(range(10))
    assert first[:, 0].tolist() != second[:, 0].tolist()
    assert set(first[:, 1].int().tolist()) == {1}
    assert set(second[:, 1].int().tolist()) == {2}


def test_an_epoch_taken_up_in_the_middle_draws_the_same() -> None:
    whole = batches(stream(accumulate=2), epoch=3)
    assert stream(accumulate=2).windows == (2, 1)
    assert equal(batches(stream(accumulate=2), epoch=3, skip=1), whole[2:])


def test_loader_processes_change_nothing() -> None:
    assert equal(batches(stream(workers=2)), batches(stream(workers=0)))


@pytest.mark.skipif(sys.platform != "linux", reason="there they start as Python decides")
def test_loader_processes_are_forked_however_this_process_was_started() -> None:
    """Else each of them would import torch, in each epoch."""

    def parent(items: list[Tensor]) -> Tensor:  # cannot be pickled either
        return torch.tensor(os.getppid())

    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        found = batches(stream(workers=1, collate=parent))
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert {int(batch) for batch in found} == {os.getpid()}


def test_ranks_share_the_batches_of_one_process() -> None:
    one = batches(stream(batch=4, collate=plain, size=8))
    halves = [
        batches(stream(batch=2, ranks=Ranks(rank, 2), collate=plain, size=8)) for rank in (0, 1)
    ]
    together = [torch.cat(pair) for pair in zip(*halves, strict=True)]
    assert equal(together, one)


def test_an_odd_last_batch_is_filled_so_that_ranks_keep_step() -> None:
    shares = [batches(stream(batch=2, ranks=Ranks(rank, 2), size=7)) for rank in (0, 1)]
    assert [len(b) for b in shares[0]] == [len(b) for b in shares[1]] == [2, 2]
    seen = torch.cat([batch for share in shares for batch in share])[:, 0].int().tolist()
    assert len(seen) == 8
    assert set(seen) == set(range(7))


def test_the_incomplete_batch_can_be_left_out() -> None:
    assert [len(batch) for batch in batches(stream(drop_last=True))] == [4, 4]
    with pytest.raises(ConfigError, match="3 samples, not one step of 4"):
        stream(size=3, drop_last=True)


def test_an_order_of_ones_own() -> None:
    config = RunnerConfig(batch=2, workers=0)
    taken = Stream(Noisy(9), plain, config, 0, Ranks(), order=lambda epoch: [3, 3, epoch])
    assert [int(row[0]) for row in torch.cat(batches(taken, epoch=2))] == [3, 3, 2]
    twice = torch.cat(batches(taken, epoch=2))
    assert not torch.equal(twice[0], twice[1]), "the same image, another augmentation"


def test_batches_of_any_shape_reach_the_device() -> None:
    batch = {"images": torch.ones(1), "targets": [(torch.ones(2), "name")], "none": None}
    moved = to_device(batch, torch.device("meta"))
    assert moved["images"].is_meta
    assert moved["targets"][0][0].is_meta
    assert moved["targets"][0][1] == "name"
    assert moved["none"] is None


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_sample_refuses_stays_one_sentence(workers: int) -> None:
    class Broken(Noisy):
        def __getitem__(self, index: int) -> Tensor:
            raise DataError("image 3 is damaged; remove it")

    config = RunnerConfig(batch=2, workers=workers)
    with pytest.raises(DataError, match=r"^image 3 is damaged; remove it$"):
        next(Stream(Broken(4), plain, config, 0, Ranks()).iterate(1, 0, CPU))
