"""The watch that runs while training does."""

import psutil
import torch

from backend.nn.observing.costs import CostMeter, peak_resident

SLACK = 8 * 2**20
"""Linux counts resident pages thread by thread, and sums them up now and then."""


class Clock:
    """Time as it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_pauses_do_not_count() -> None:
    clock = Clock()
    meter = CostMeter(torch.device("cpu"), clock)
    clock.now += 50  # before the first step
    meter.begin(whole=True)
    clock.now += 3
    meter.pause()
    meter.pause()
    clock.now += 20  # a validation
    meter.go_on()
    meter.go_on()
    clock.now += 4
    meter.end(1)
    clock.now += 30  # saving
    meter.go_on()
    meter.begin(whole=True)
    clock.now += 5
    meter.end(2)
    told = meter.told(8)
    assert told is not None
    assert told.seconds == {1: 7.0, 2: 5.0}
    assert told.step == 8


def test_half_an_epoch_is_none() -> None:
    clock = Clock()
    meter = CostMeter(torch.device("cpu"), clock)
    meter.begin(whole=False)
    clock.now += 3
    meter.end(4)
    meter.go_on()
    meter.begin(whole=True)
    clock.now += 6
    meter.end(5)
    meter.begin(whole=True)
    clock.now += 2  # stopped here
    told = meter.told(11)
    assert told is not None
    assert told.seconds == {5: 6.0}


def test_who_trained_nothing_has_nothing_to_tell() -> None:
    assert CostMeter(torch.device("cpu")).told(0) is None


def test_on_the_cpu_memory_is_what_was_resident_at_most() -> None:
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    resident = psutil.Process().memory_info().rss
    assert peak_resident() >= resident - SLACK
    del held
    meter = CostMeter(torch.device("cpu"))
    meter.begin(whole=True)
    told = meter.told(1)
    assert told is not None
    assert told.memory_of == "host"
    assert told.memory >= resident - SLACK, "a peak stays one"
