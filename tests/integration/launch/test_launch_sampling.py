"""A training and what its machine does meanwhile, in one stream and two files."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from backend import launch
from backend.core.events import Envelope, HardwareSampled, RunFinished, RunStarted
from backend.core.sinks import MemorySink, Tail, interleaved, read_events
from backend.core.workdir import WorkDir
from backend.tracking.home import Home
from tests.support.toy import SPEC, ToyConfig, write_toy_data


@pytest.fixture
def config(tmp_path: Path) -> ToyConfig:
    """It holds before its last epoch, after step 8, until its reader lets it go on."""
    config = ToyConfig(data=write_toy_data(tmp_path), epochs=3, hold=1.0)
    return config.replace({"hardware.sample": 0.01})


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any machine."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


class Reader(MemorySink):
    """Lets the training go on as soon as it has heard enough."""

    def __init__(self, go: Path, enough: Callable[["Reader"], bool]) -> None:
        super().__init__()
        self._go, self._enough = go, enough

    @property
    def samples(self) -> list[HardwareSampled]:
        return [e.event for e in self.envelopes if isinstance(e.event, HardwareSampled)]

    def receive(self, envelope: Envelope) -> None:
        super().receive(envelope)
        if self._enough(self):
            self._go.touch()


def samplers() -> list[threading.Thread]:
    """Those that still look."""
    return [thread for thread in threading.enumerate() if thread.name == "hardware"]


def trained(
    work: WorkDir, config: ToyConfig, workers: launch.Workers, enough: Callable[[Reader], bool]
) -> tuple[RunFinished, Reader]:
    reader = Reader(config.data.parent / "go", enough)
    finished = launch.supervise(work, lambda: [reader], workers)
    assert isinstance(reader.envelopes[0].event, RunStarted)
    assert reader.envelopes[-1].event == finished, "the last word is the worker's"
    assert samplers() == []
    return finished, reader


def twice_at_step_8(reader: Reader) -> bool:
    return sum(sample.step == 8 for sample in reader.samples) >= 2


def test_readers_hear_what_the_machine_did(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work = launch.prepare(home, config, SPEC)
    finished, reader = trained(work, config, workers, twice_at_step_8)
    assert finished.status == "finished"
    told, seen = read_events(work.events), read_events(work.hardware)
    assert [e for e in reader.envelopes if isinstance(e.event, HardwareSampled)] == seen
    assert [e for e in reader.envelopes if e not in seen] == told
    assert [e.seq for e in seen] == list(range(len(seen)))
    steps = [sample.step for sample in reader.samples]
    assert steps == sorted(steps)
    assert any(s.rss is not None and s.rss > 10e6 for s in reader.samples), "numpy alone is more"
    assert any(s.cpu is not None for s in reader.samples)
    assert all(s.memory and s.total for s in reader.samples)
    assert all(s.gpus == () for s in reader.samples)
    replayed = interleaved(told, seen)
    assert (replayed[0], replayed[-1]) == (told[0], told[-1])


class Slow(MemorySink):
    """Takes its time when the run begins, as MLflow does: until the training has come to its
    hold and somebody has seen it there. ``step``: where it was seen."""

    def __init__(self, work: WorkDir, go: Path) -> None:
        super().__init__()
        self._work, self._go = work, go
        self.step = 0

    def receive(self, envelope: Envelope) -> None:
        super().receive(envelope)
        end = time.monotonic() + 60
        while isinstance(envelope.event, RunStarted) and self.step < 8 and time.monotonic() < end:
            seen = [look.event for look in Tail(self._work.hardware).poll()]
            self.step = max((e.step for e in seen if isinstance(e, HardwareSampled)), default=0)
        self._go.touch()


def test_a_slow_reader_does_not_hide_how_far_the_training_is(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work = launch.prepare(home, config.replace({"work": 800}), SPEC)
    slow = Slow(work, config.data.parent / "go")
    finished = launch.supervise(work, lambda: [slow], workers)
    assert (finished.status, slow.step) == ("finished", 8)
    told, seen = read_events(work.events), read_events(work.hardware)
    assert [e for e in slow.envelopes if e in told] == told
    assert [e for e in slow.envelopes if e in seen] == seen


def test_a_killed_run_keeps_its_samples_and_a_resumed_one_continues_them(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    config = config.replace({"crash": "kill", "crash_epoch": 1})
    work = launch.prepare(home, config, SPEC)
    finished, first = trained(work, config, workers, lambda reader: False)
    assert finished.interrupted
    before = read_events(work.hardware)
    assert first.samples == [envelope.event for envelope in before]
    finished, second = trained(work, config, workers, twice_at_step_8)
    assert finished.status == "finished"
    after = read_events(work.hardware)
    assert after[: len(before)] == before
    assert [e.seq for e in after] == list(range(len(after)))
    assert len(after) > len(before)
    assert [e for e in second.envelopes if isinstance(e.event, HardwareSampled)] == after


def test_a_run_that_nobody_is_to_look_at(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    config = config.replace({"hardware.sample": 0.0, "hold": 0.0})
    work = launch.prepare(home, config, SPEC)
    _, reader = trained(work, config, workers, lambda reader: False)
    assert reader.samples == []
    assert not work.hardware.exists()


def test_a_driver_that_hangs_does_not_hold_up_a_run(
    home: Home, config: ToyConfig, workers: launch.Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang() -> None:
        released.wait()
        raise OSError("the driver is gone")

    library = SimpleNamespace(nvmlInit=hang, NVMLError=OSError)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    work = launch.prepare(home, config.replace({"hold": 0.0}), SPEC)
    finished = launch.supervise(work, lambda: [], workers)
    assert finished.status == "finished"
    assert read_events(work.hardware) == []
    (hanging,) = samplers()
    released.set()
    hanging.join(120)
    assert samplers() == []
    assert read_events(work.hardware) == []


def test_nobody_looks_on_when_a_reader_breaks(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    class Broken(MemorySink):
        def receive(self, envelope: Envelope) -> None:
            raise ValueError("broken")

    work = launch.prepare(home, config, SPEC)
    with pytest.raises(ValueError, match="broken"):
        launch.supervise(work, lambda: [Broken()], workers)
    assert samplers() == []


def test_trials_in_parallel_are_looked_at_each_for_itself(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    """As a study with two jobs has them: neither ends the other's looks."""
    works = [launch.prepare(home, config, SPEC) for _ in range(2)]
    readers: list[Reader] = []

    def enough(reader: Reader) -> bool:
        return all(twice_at_step_8(one) for one in readers)

    readers += [Reader(config.data.parent / "go", enough) for _ in works]
    threads = [
        threading.Thread(target=launch.supervise, args=(work, lambda r=reader: [r], workers))
        for work, reader in zip(works, readers, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive()
    for work, reader in zip(works, readers, strict=True):
        assert twice_at_step_8(reader)
        assert reader.samples == [e.event for e in read_events(work.hardware)]
