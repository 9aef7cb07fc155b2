"""Looking at GPUs and host: what is unknown stays unknown, and nobody waits for a driver."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.core.errors import StoreError
from backend.core.events import (
    Envelope,
    Event,
    GpuSample,
    HardwareSampled,
    MetricsLogged,
    Noted,
    RunFinished,
)
from backend.core.sinks import JsonlSink, interleaved, read_events
from backend.core.workdir import WorkDir
from backend.hardware.host import Host, host_memory
from backend.hardware.sampling import EVENTS_PER_WIDTH, Gpus, Sampler, Story, merged

pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")

MIB = 2**20
CARD: dict[str, Any] = {
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=1000 * MIB, free=400 * MIB, used=600 * MIB),
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=0, memory=9),
    "nvmlDeviceGetPowerUsage": 215_500,
    "nvmlDeviceGetTemperature": 71,
    "nvmlDeviceGetMigMode": [0, 0],
}


class Nvml:
    """Like pynvml: cards that answer ``nvml...`` calls with a value or by raising the real
    NVMLError; a call that a card does not know is not supported."""

    NVMLError = pynvml.NVMLError
    NVML_DEVICE_MIG_ENABLE = pynvml.NVML_DEVICE_MIG_ENABLE
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, *cards: dict[str, Any], broken: int = pynvml.NVML_SUCCESS) -> None:
        self._cards = [{"nvmlDeviceGetName": f"card {i}", **c} for i, c in enumerate(cards)]
        self._broken = broken
        self.opened = 0

    def nvmlInit(self) -> None:  # noqa: N802 (its name)
        self.opened += 1
        if self._broken:
            raise pynvml.NVMLError(self._broken)

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        return self._cards[index]

    def nvmlDeviceGetMigDeviceHandleByIndex(  # noqa: N802
        self, card: dict[str, Any], place: int
    ) -> dict[str, Any]:
        return CARD | {"nvmlDeviceGetName": f"instance {place}"}

    def __getattr__(self, name: str) -> Any:
        def answer(card: dict[str, Any], *about: Any) -> Any:
            found = card.get(name, pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED))
            if isinstance(found, Exception):
                raise found
            return found() if callable(found) else found

        return answer


@pytest.fixture(autouse=True)
def _all_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in CARD.items() if key not in names}


def test_what_a_card_tells() -> None:
    (seen,) = Gpus(Nvml(CARD)).look()
    assert seen == GpuSample(
        index=0, name="card 0", utilization=0.0, memory=600 * MIB, total=1000 * MIB,
        power=215.5, temperature=71,
    ), "an idle card is at 0 percent, which is not unknown"  # fmt: skip


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ("nvmlDeviceGetUtilizationRates", "utilization"),
        ("nvmlDeviceGetPowerUsage", "power"),
        ("nvmlDeviceGetTemperature", "temperature"),
        ("nvmlDeviceGetMemoryInfo", "memory"),
    ],
)
def test_what_a_card_will_not_tell_is_none(call: str, field: str) -> None:
    (seen,) = Gpus(Nvml(without(call))).look()
    fields = seen.model_dump(exclude={"index", "name", "total"})
    assert {name for name, value in fields.items() if value is None} == {field}


def test_what_a_card_stops_to_tell_is_none() -> None:
    """Its size is known from before."""
    told = iter([CARD["nvmlDeviceGetMemoryInfo"]])

    def memory() -> Any:
        for answer in told:
            return answer
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    (seen,) = Gpus(Nvml({"nvmlDeviceGetMemoryInfo": memory})).look()
    assert (seen.memory, seen.total) == (None, 1000 * MIB)


def test_how_busy_a_mig_instance_is_is_unknown() -> None:
    card = CARD | {
        "nvmlDeviceGetMigMode": [pynvml.NVML_DEVICE_MIG_ENABLE, 1],
        "nvmlDeviceGetMaxMigDeviceCount": 1,
    }
    (seen,) = Gpus(Nvml(card)).look()
    assert (seen.name, seen.utilization, seen.memory) == ("instance 0", None, 600 * MIB)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("1,0", ["card 1", "card 0"]), ("1", ["card 1"]), ("-1", []), ("", [])],
)
def test_the_gpus_that_a_run_may_use(
    wanted: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    seen = Gpus(Nvml(CARD, CARD)).look()
    assert [gpu.name for gpu in seen] == names
    assert [gpu.index for gpu in seen] == list(range(len(names)))


@pytest.mark.parametrize(
    "broken",
    [
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_UNKNOWN,
    ],
)
def test_without_a_library_nobody_is_asked_twice(broken: int) -> None:
    library = Nvml(CARD, broken=broken)
    gpus = Gpus(library)
    assert [gpus.look() for _ in range(3)] == [(), (), ()]
    gpus.close()
    assert library.opened == 1


def test_without_the_package_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpus().look() == ()


def test_the_library_is_let_go() -> None:
    library = Nvml(CARD)
    Gpus(library).close()
    assert library.opened == 0


def test_a_window_has_means_and_peaks() -> None:
    def look(step: int, **known: Any) -> HardwareSampled:
        gpu = GpuSample(index=0, name="a", total=100, **known.pop("gpu", {}))
        return HardwareSampled(step=step, samples=1, seconds=0.25 * step, gpus=(gpu,), **known)

    seen = merged(
        [
            look(1, gpu={"utilization": 50, "memory": 70, "power": 100, "temperature": 60}),
            look(2, gpu={"utilization": 100, "memory": 90, "temperature": 50}, cpu=80, rss=5),
            look(3, gpu={"memory": 80}, cpu=100, rss=7, host_cpu=30, memory=2, total=9),
        ]
    )
    assert seen == HardwareSampled(
        step=3, samples=3, seconds=0.5, cpu=90, host_cpu=30, rss=7, memory=2, total=9,
        gpus=(GpuSample(index=0, name="a", utilization=75, memory=90, total=100, power=100,
                        temperature=60),),
    )  # fmt: skip


class Looks:
    """Stands where the sampler asks for the process: at the start of each look."""

    def __init__(self, wanted: int) -> None:
        self.count = 0
        self.thread: threading.Thread | None = None
        self._wanted = wanted
        self._enough = threading.Event()

    def __call__(self) -> int:
        self.thread = threading.current_thread()
        self.count += 1
        if self.count >= self._wanted:
            self._enough.set()
        return os.getpid()

    def wait(self) -> None:
        assert self._enough.wait(120)


def sampled(path: Path) -> list[HardwareSampled]:
    events = [envelope.event for envelope in read_events(path)]
    assert all(isinstance(event, HardwareSampled) for event in events)
    return events  # type: ignore[return-value]


def fill(path: Path, count: int) -> None:
    sink = JsonlSink(path)
    for seq in range(count):
        event = HardwareSampled(step=0, samples=1, seconds=0.0)
        sink.receive(Envelope(seq=seq, time=float(seq), event=event))
    sink.close()


def run_sampler(path: Path, wanted: int, **how: Any) -> int:
    """Look that often at least; how often it was."""
    sampler, looks = Sampler(path, 0.001, path.with_name("events.jsonl"), **how), Looks(wanted)
    sampler.start(looks)
    looks.wait()
    sampler.stop()
    return looks.count


def test_an_event_per_look_at_first(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    metrics = MetricsLogged(step=7, epoch=1, metrics={})
    write(tmp_path / "events.jsonl", [envelope(0, 1.0, metrics)])
    count = run_sampler(path, 4, nvml=Nvml(CARD))
    envelopes, events = read_events(path), sampled(path)
    assert [e.seq for e in envelopes] == list(range(len(events)))
    assert len(events) in (count - 1, count), "the end may come between a look and its event"
    assert {(e.step, e.samples) for e in events} == {(7, 1)}
    assert all(e.seconds > 0 and e.gpus[0].power == 215.5 for e in events)
    assert all(e.rss and e.memory and e.total and e.memory < e.total for e in events)
    assert events[0].cpu is None
    assert events[0].host_cpu is None, "a load is known from the second look on"
    assert all(e.cpu is not None and e.host_cpu is not None for e in events[1:])


@pytest.mark.parametrize(("doublings", "width"), [(1, 2), (3, 8)])
def test_a_long_run_tells_less_often_and_its_last_window(
    doublings: int, width: int, tmp_path: Path
) -> None:
    path = tmp_path / "hardware.jsonl"
    before = EVENTS_PER_WIDTH * doublings
    fill(path, before)
    count = run_sampler(path, 2 * width + 2, nvml=Nvml())
    new = sampled(path)[before:]
    assert [e.seq for e in read_events(path)] == list(range(before + len(new)))
    assert {e.samples for e in new[:-1]} == {width}
    assert 0 < new[-1].samples <= width
    assert sum(e.samples for e in new) in (count - 1, count)


def test_a_torn_line_is_cut_off_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    fill(path, 2)
    with path.open("a") as file:
        file.write('{"seq": 2, "ti')
    run_sampler(path, 2, nvml=Nvml())
    assert [e.seq for e in read_events(path)][:3] == [0, 1, 2]
    path.write_text("what\n")
    with pytest.raises(StoreError, match=r"hardware.jsonl, line 1: not an event"):
        Sampler(path, 1.0, tmp_path / "events.jsonl")


def test_a_run_may_be_left_alone(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path / "hardware.jsonl", 0.0, tmp_path / "events.jsonl")
    sampler.start(Looks(1))
    sampler.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    hangs, released = threading.Event(), threading.Event()
    answers = iter([70, 71])

    def temperature() -> int:
        for answer in answers:
            return answer
        hangs.set()
        released.wait()
        return 72

    sampler, looks = (
        Sampler(
            path,
            0.001,
            tmp_path / "events.jsonl",
            Nvml(CARD | {"nvmlDeviceGetTemperature": temperature}),
        ),
        Looks(1),
    )
    sampler.start(looks)
    assert hangs.wait(120)
    sampler.stop()
    assert not released.is_set()
    before = path.read_bytes()
    assert [e.gpus[0].temperature for e in sampled(path)] == [70, 71]
    released.set()
    assert looks.thread is not None
    looks.thread.join(120)
    assert not looks.thread.is_alive()
    assert path.read_bytes() == before, "what it sees too late is not told"


def test_the_load_of_a_process_with_all_that_it_started(tmp_path: Path) -> None:
    """A child that holds 64 MiB and has a child that does too."""
    held = "x = b'x' * (64 << 20)"
    inner = f"import sys; {held}; print('ready', flush=True); sys.stdin.read()"
    outer = f"import subprocess, sys; {held}; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        host = Host()
        first = host.look(child.pid)
        assert first.rss is not None
        assert first.rss > 128 * MIB
        assert first.cpu is None
        second = host.look(child.pid)
        assert second.cpu is not None
        assert second.cpu >= 0
        child.communicate("")
    third = host.look(child.pid)
    assert (third.cpu, third.rss) == (None, None), "a process that is gone is no error, and not 0"
    assert third.memory is not None
    assert host.look(None).rss is None


def test_the_load_is_that_since_the_look_before() -> None:
    host = Host()
    host.look(os.getpid())
    began, end = time.monotonic(), time.process_time() + 0.2
    while time.process_time() < end:
        pass
    cpu = host.look(os.getpid()).cpu
    least = 100 * 0.1 / (time.monotonic() - began)  # the system counts in hundredths of a second
    assert cpu is not None
    assert cpu > least


def group(folder: Path, limit: str, current: int = 0, spare: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {spare}\nactive_file 3\n")


def place(system: Path, own: str) -> Path:
    (system / "proc/self").mkdir(parents=True)
    (system / "proc/self/cgroup").write_text(f"4:memory:/other\n0::{own}\n")
    return system / "sys/fs/cgroup"


def test_memory_is_that_of_the_tightest_group_that_is_limited(tmp_path: Path) -> None:
    root = place(tmp_path, "/pods/mine")
    group(root / "pods/mine", "max", 5 * MIB)
    group(root / "pods", str(64 * MIB), 40 * MIB, spare=10 * MIB)
    group(root, str(128 * MIB), 90 * MIB)
    assert host_memory(tmp_path) == (30 * MIB, 64 * MIB)


def test_memory_in_a_container_that_does_not_see_its_own_path(tmp_path: Path) -> None:
    group(place(tmp_path, "/docker/0123"), str(64 * MIB), 40 * MIB)
    assert host_memory(tmp_path) == (40 * MIB, 64 * MIB)


@pytest.mark.parametrize("limit", ["max", str(2**62)])
def test_without_a_limit_memory_is_the_machines(limit: str, tmp_path: Path) -> None:
    group(place(tmp_path, "/"), limit, 40 * MIB)
    used, total = host_memory(tmp_path)
    assert used != 40 * MIB
    assert used is not None
    assert total is not None
    assert 0 < used < total


def envelope(seq: int, time: float, event: Event) -> Envelope:
    return Envelope(seq=seq, time=time, event=event)


def seen(seq: int, time: float) -> Envelope:
    return envelope(seq, time, HardwareSampled(step=0, samples=1, seconds=0.0))


def said(seq: int, time: float) -> Envelope:
    return envelope(seq, time, Noted(level="info", message=f"{seq}"))


def test_a_story_is_told_by_time_and_framed_by_the_worker() -> None:
    told = [said(0, 10.0), said(1, 20.0), said(2, 30.0)]
    machine = [seen(0, 5.0), seen(1, 15.0), seen(2, 25.0), seen(3, 35.0)]
    whole = interleaved(told, machine)
    assert [e.time for e in whole] == [10.0, 5.0, 15.0, 20.0, 25.0, 35.0, 30.0]
    assert interleaved(told, []) == told
    assert interleaved(told[:1], machine[:1]) == [told[0], machine[0]]
    assert interleaved(told[2:], machine[3:], begins=False) == [machine[3], told[2]]


def write(path: Path, envelopes: Sequence[Envelope]) -> None:
    sink = JsonlSink(path)
    for one in envelopes:
        sink.receive(one)
    sink.close()


def test_a_story_begins_with_the_worker_and_ends_with_it(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    story = Story(work, Sampler(work.hardware, 0.0, work.events), [])
    write(work.hardware, [seen(0, 1.0)])
    assert story.poll() == [], "nobody has said that a run begins"
    metrics = envelope(0, 2.0, MetricsLogged(step=80, epoch=1, metrics={}))
    write(work.events, [metrics])
    assert story.poll() == [metrics, seen(0, 1.0)]
    last = envelope(1, 3.0, RunFinished(status="stopped"))
    write(work.events, [last])
    write(work.hardware, [seen(1, 4.0)])
    assert story.poll() == [seen(1, 4.0), last]
    assert story.finished == last.event
    story.close()


def test_a_resumed_story_is_told_from_its_beginning(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    metrics = envelope(0, 1.0, MetricsLogged(step=80, epoch=1, metrics={}))
    earlier = [metrics, envelope(1, 3.0, RunFinished(status="stopped"))]
    write(work.events, earlier)
    write(work.hardware, [seen(0, 2.0)])
    story = Story(work, Sampler(work.hardware, 0.0, work.events), earlier)
    assert story.poll() == [], "it may be refused to go on"
    assert story.finished is None, "that was an earlier attempt's end"
    last = envelope(2, 4.0, RunFinished(status="finished"))
    write(work.events, [last])
    assert story.poll() == [metrics, seen(0, 2.0), earlier[1], last]
    assert story.finished == last.event
    story.close()


def test_a_story_tells_the_last_window_before_the_last_word(tmp_path: Path) -> None:
    work = WorkDir(tmp_path)
    before = EVENTS_PER_WIDTH * 4
    fill(work.hardware, before)  # a window of 16 looks
    sampler, looks = Sampler(work.hardware, 0.001, work.events, Nvml()), Looks(3)
    story = Story(work, sampler, [])
    story.begin(looks)
    write(work.events, [said(0, 1.0)])
    told = story.poll()
    looks.wait()
    last = envelope(1, 2.0, RunFinished(status="finished"))
    write(work.events, [last])
    told += story.poll()
    assert told[-1] == last
    assert told[1:-1] == read_events(work.hardware)
    assert len(told) > before + 2
    assert story.poll() == []
    story.close()
