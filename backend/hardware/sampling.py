"""GPUs and host looked at while a run trains, from its parent: a thread, a file, a stream.

The training process alone writes ``events.jsonl``, and the parent alone ``hardware.jsonl``, in
the same form and numbered by itself; who reads a run's story gets both as one.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from backend.config.hardware import HardwareConfig
from backend.core.errors import StoreError
from backend.core.events import Envelope, GpuSample, HardwareSampled, MetricsLogged, RunFinished
from backend.core.sinks import JsonlSink, Tail, interleaved
from backend.core.workdir import WorkDir
from backend.hardware.host import Host
from backend.hardware.machine import Gpu, cards, opened, told, visible

EVENTS_PER_WIDTH = 1000
Number = TypeVar("Number", int, float)
PATIENCE_SECONDS = 1.0
"""A look takes milliseconds; one that takes longer waits for a driver that hangs."""


class Gpus:
    """The GPUs that a run may use, asked again and again; the library is opened once.

    Without a library, a driver or a GPU there are none, and nobody is asked again.
    """

    def __init__(self, nvml: Any = None) -> None:
        self._nvml, _ = opened(nvml)
        self._cards: list[tuple[Gpu, Any]] = []
        if self._nvml is not None:
            with suppress(self._nvml.NVMLError):
                handles = dict(cards(self._nvml))
                left = visible(tuple(handles), os.environ.get("CUDA_VISIBLE_DEVICES"))
                self._cards = [(gpu, handles[gpu]) for gpu in left]

    def look(self) -> tuple[GpuSample, ...]:
        """Each of them now."""
        return tuple(self._seen(place, *card) for place, card in enumerate(self._cards))

    def _seen(self, place: int, gpu: Gpu, handle: Any) -> GpuSample:
        nvml = self._nvml
        memory = told(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = None if gpu.mig else told(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
        power = told(nvml, nvml.nvmlDeviceGetPowerUsage, handle)  # milliwatts
        sensor = nvml.NVML_TEMPERATURE_GPU
        return GpuSample(
            index=place,
            name=gpu.name,
            utilization=rates and float(rates.gpu),
            memory=memory and int(memory.used),
            total=int(memory.total) if memory else gpu.total,
            power=None if power is None else power / 1000,
            temperature=told(nvml, nvml.nvmlDeviceGetTemperature, handle, sensor),
        )

    def close(self) -> None:
        """Let go of the library."""
        if self._nvml is not None:
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()


class Sampler:
    """Looks at the machine every ``every`` seconds (0: never) and appends what it saw to a file.

    An event tells of one look at first, and of twice as many after each 1,000 events of the file,
    so that a day's looks (43,200 at 2 s) make about 5,400 events. The step is read from
    ``events``, what the training tells, by the looking thread itself: who else reads it may be
    slow (MLflow takes seconds to import). ``nvml`` is pynvml or what is like it. Raises StoreError
    if the file is damaged; one that can no longer be written ends the looks.
    """

    def __init__(
        self, path: Path, every: float, events: Path, nvml: Any = None, system: Path = Path("/")
    ) -> None:
        self._step = 0
        self._events = Tail(events)
        self._path = path
        self._every = every
        self._nvml = nvml
        self._system = system
        self._seq = len(Tail(path).poll())
        self._window: list[HardwareSampled] = []
        self._time = 0.0
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, process: Callable[[], int | None]) -> None:
        """Begin to look; ``process`` gives the id of the training process."""
        if self._every:
            self._sink = JsonlSink(self._path)
            self._thread = threading.Thread(
                target=self._run, args=(process,), name="hardware", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Tell the last window; a look that hangs is left behind and says no more."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join(PATIENCE_SECONDS)
        self._thread = None
        with self._writing, suppress(OSError):
            self._tell()
            self._sink.close()

    def _run(self, process: Callable[[], int | None]) -> None:
        gpus, host = Gpus(self._nvml), Host(self._system)
        with suppress(OSError):
            while self._keep(self._look(gpus, host, process())):
                self._ended.wait(self._every)
        gpus.close()

    def _look(self, gpus: Gpus, host: Host, process: int | None) -> HardwareSampled:
        began = time.perf_counter()
        self._hear()
        seen, use = gpus.look(), host.look(process)
        return HardwareSampled(
            step=self._step,
            samples=1,
            seconds=time.perf_counter() - began,
            gpus=seen,
            **use._asdict(),
        )

    def _hear(self) -> None:
        """How far the training is; a damaged file is for others to complain of."""
        with suppress(StoreError):
            for envelope in self._events.poll():
                if isinstance(envelope.event, MetricsLogged):
                    self._step = envelope.event.step

    def _keep(self, seen: HardwareSampled) -> bool:
        """Tell of the window if it is full now; False at the end."""
        with self._writing:
            if self._ended.is_set():
                return False
            self._time = time.time()
            self._window.append(seen)
            if len(self._window) >= 2 ** (self._seq // EVENTS_PER_WIDTH):
                self._tell()
        return True

    def _tell(self) -> None:
        window, self._window = self._window, []
        if window:
            event = merged(window)
            self._sink.receive(Envelope(seq=self._seq, time=self._time, event=event))
            self._seq += 1


def sampler_of(work: WorkDir, system: Path = Path("/")) -> Sampler:
    """As the run's config wants it, or as usual for a trainer without that section."""
    config = work.read_config()
    usual = HardwareConfig.model_fields["sample"].default
    every = config.get("hardware", {}).get("sample", usual)
    return Sampler(work.hardware, every, work.events, system=system)


def merged(looks: Sequence[HardwareSampled]) -> HardwareSampled:
    """One event of several: means of what flows, peaks of what fills up."""
    return HardwareSampled(
        step=looks[-1].step,
        samples=sum(look.samples for look in looks),
        seconds=fmean(look.seconds for look in looks),
        gpus=tuple(_merged_gpu(gpus) for gpus in zip(*(look.gpus for look in looks), strict=True)),
        cpu=_mean(look.cpu for look in looks),
        host_cpu=_mean(look.host_cpu for look in looks),
        rss=_highest(look.rss for look in looks),
        memory=_highest(look.memory for look in looks),
        total=_highest(look.total for look in looks),
    )


def _merged_gpu(looks: Sequence[GpuSample]) -> GpuSample:
    return GpuSample(
        index=looks[0].index,
        name=looks[0].name,
        utilization=_mean(look.utilization for look in looks),
        memory=_highest(look.memory for look in looks),
        total=_highest(look.total for look in looks),
        power=_mean(look.power for look in looks),
        temperature=_highest(look.temperature for look in looks),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _highest(values: Iterable[Number | None]) -> Number | None:
    return max((value for value in values if value is not None), default=None)


class Story:
    """What a run says and what its machine does meanwhile, read while both files grow.

    Readers hear nothing until the worker has told its first event, so nothing of a run that is
    refused, and of the machine nothing after its last. ``earlier``: what was told in this
    directory before, which is told again. ``finished`` is the last word after it.
    """

    def __init__(self, work: WorkDir, sampler: Sampler, earlier: Sequence[Envelope]) -> None:
        self._worker, self._machine = Tail(work.events), Tail(work.hardware)
        self._sampler = sampler
        self._known = len(earlier)
        self._begun = False
        self._told: list[Envelope] = []
        self._seen: list[Envelope] = []
        self.finished: RunFinished | None = None

    def begin(self, process: Callable[[], int | None]) -> None:
        """Begin to look at the machine, and at the process of this id."""
        self._sampler.start(process)

    def poll(self) -> list[Envelope]:
        """What is new, in order."""
        new = self._worker.poll()
        for envelope in new:
            self._heed(envelope)
        told, seen = [*self._told, *new], [*self._seen, *self._machine.poll()]
        if not self._begun and len(told) <= self._known:
            self._told, self._seen = told, seen
            return []
        story = interleaved(told, seen, begins=not self._begun)
        self._begun, self._told, self._seen = True, [], []
        return story

    def _heed(self, envelope: Envelope) -> None:
        event = envelope.event
        if isinstance(event, RunFinished) and envelope.seq >= self._known:
            self.finished = event
            self._sampler.stop()

    def close(self) -> None:
        """End the looks, if they have not ended."""
        self._sampler.stop()
