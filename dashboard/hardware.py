"""What a store knows of the hardware of runs: samples, settings by time, and recoveries."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from backend.catalog import Catalog
from backend.core.events import Recovered, Setting
from backend.core.records import Run, Series
from backend.core.store import RunStore
from backend.hardware.sampling import EVENTS_PER_WIDTH
from dashboard.curves import RECOVERIES, Floats
from dashboard.tables import as_number

SAMPLES, SETTINGS = "system/", "hardware/"
GIB = 1e6 / 2**30  # of MLflow's megabytes
_SAMPLE = re.compile(r"system/(?:gpu_(?P<gpu>\d+)_)?(?P<what>\w+)")
_COURSE = 300  # points of a setting, so that one can hover anywhere


@dataclass(frozen=True)
class Quantity:
    """A row of samples. ``scale`` leads from what is logged to ``unit``; ``top`` is the end of
    its axis, where it has one."""

    title: str
    short: str
    unit: str
    digits: int = 0
    scale: float = 1.0
    top: float | None = None


QUANTITIES = {
    "gpu": Quantity("GPU utilisation (%)", "utilisation", "%", top=100),
    "gpu memory": Quantity("GPU memory (GiB)", "memory", "GiB", 1, GIB),
    "power": Quantity("GPU power (W)", "power", "W"),
    "temperature": Quantity("GPU temperature (°C)", "temperature", "°C"),
    "cpu": Quantity("CPU of the training and its loaders (% of one core)", "CPU", "%"),
    "machine": Quantity("CPU of the whole machine (%)", "CPU", "%", top=100),
    "memory": Quantity("Memory (GiB); dotted: of the whole host", "memory", "GiB", 1, GIB),
}
"""In the order in which they are drawn."""
TRAINING, MACHINE = "training", "machine"
_GPU = {
    "utilization_percentage": "gpu",
    "memory_usage_megabytes": "gpu memory",
    "power_usage_watts": "power",
    "temperature_celsius": "temperature",
}
_HOST = {
    "process_cpu_percentage": ("cpu", TRAINING),
    "cpu_utilization_percentage": ("machine", MACHINE),
    "process_memory_megabytes": ("memory", TRAINING),
    "system_memory_usage_megabytes": ("memory", MACHINE),
}


@dataclass(frozen=True)
class Sampled:
    """A quantity of a run over the seconds since its start. ``part`` is what it is of: a GPU's
    number, the training or the whole machine. ``total`` is what there is of it, if known."""

    run: Run
    quantity: str
    part: str
    seconds: Floats
    values: Floats
    total: float | None = None

    @property
    def mean(self) -> float:
        """Over all looks: later values of a long run stand for more of them."""
        looks = 2.0 ** (np.arange(len(self.values)) // EVENTS_PER_WIDTH)
        return float(np.average(self.values, weights=looks))


@dataclass(frozen=True)
class Course:
    """A setting of a run over the seconds since its start, and what was requested."""

    run: Run
    key: str
    seconds: Floats
    values: Floats
    requested: float | None

    @property
    def changed(self) -> bool:
        """Was it ever another than the one that was requested, or than before?"""
        wanted = self.values[0] if self.requested is None else self.requested
        return bool((self.values != wanted).any())


@dataclass(frozen=True)
class Recovery:
    """A recovery of a run; ``seconds`` since its start, None if that was not logged."""

    run: Run
    told: Recovered
    seconds: float | None


@dataclass(frozen=True)
class Hardware:
    """All that is known of the hardware of the runs on screen."""

    samples: list[Sampled] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)

    def of(self, run: Run) -> list[Sampled]:
        """The samples of a run."""
        return [one for one in self.samples if one.run.key == run.key]

    @property
    def longest(self) -> float:
        """The seconds that the longest run took, as far as there is something to show."""
        ends = [one.seconds[-1] for one in self.samples]
        ends += [one.seconds[-1] for one in self.courses]
        return float(max(ends, default=0.0))


def hardware_of(store: RunStore, runs: Sequence[Run], catalog: Catalog) -> Hardware:
    """What is known of these runs, each record read once."""
    keys = [run.key for run in runs]
    names = [name for name in store.metric_names(keys) if name.startswith((SAMPLES, SETTINGS))]
    series = store.series(keys, names)
    found = Hardware()
    for run in runs:
        own = {name: one for (key, name), one in series.items() if key == run.key and one.values}
        found.samples.extend(_samples(run, own))
        found.recoveries.extend(_recoveries(store, run, own.get(RECOVERIES)))
        spec = catalog.get(run.trainer)
        batch = spec.knobs.batch if spec and spec.knobs else ""
        found.courses.extend(_courses(run, own, batch, found))
    return found


def _samples(run: Run, series: Mapping[str, Series]) -> list[Sampled]:
    found = []
    for name, one in series.items():
        place = _place(name)
        if place is None:
            continue
        quantity, part = place
        scale = QUANTITIES[quantity].scale
        seconds, values = _by_time(one, run)
        if len(values):
            total = _total(one, series.get(name.replace("_megabytes", "_percentage")))
            found.append(Sampled(run, quantity, part, seconds, values * scale,
                                 total * scale if total else None))  # fmt: skip
    order = list(QUANTITIES)
    return sorted(found, key=lambda s: (order.index(s.quantity), len(s.part), s.part))


def _place(metric: str) -> tuple[str, str] | None:
    """The row and the part that a metric belongs to."""
    match = _SAMPLE.fullmatch(metric)
    if match is None:
        return None
    gpu, what = match["gpu"], match["what"]
    if gpu is None:
        return _HOST.get(what)
    return (_GPU[what], gpu) if what in _GPU else None


def _by_time(series: Series, run: Run) -> tuple[Floats, Floats]:
    """Seconds since the start, rising, and values; without what is no number."""
    seconds = np.asarray(series.times, float) - run.started
    values = np.asarray(series.values, float)
    order = np.argsort(seconds, kind="stable")
    order = order[np.isfinite(values[order])]
    return seconds[order], values[order]


def _total(used: Series, share: Series | None) -> float | None:
    """What there is of a memory: what was in use over its share (percent), when that was most."""
    if share is None or share is used:
        return None
    amounts = dict(zip(used.times, used.values, strict=True))
    most = max(((percent, time) for time, percent in zip(share.times, share.values, strict=True)
                if percent > 0 and time in amounts), default=None)  # fmt: skip
    return amounts[most[1]] / most[0] * 100 if most else None


def _recoveries(store: RunStore, run: Run, logged: Series | None) -> list[Recovery]:
    """Each attempt that was given up: a resumed run may tell of one twice."""
    told = {
        event.attempt: event for event in store.evidence(run.key) if isinstance(event, Recovered)
    }
    times = dict(zip(logged.values, logged.times, strict=True)) if logged else {}
    since = {attempt: time - run.started for attempt, time in times.items()}
    return [Recovery(run, event, since.get(attempt)) for attempt, event in sorted(told.items())]


def _courses(
    run: Run, series: Mapping[str, Series], batch: str, known: Hardware
) -> list[Course]:  # fmt: skip
    """The batch, and every other setting that changed; only of runs that were watched."""
    recovered = [one for one in known.recoveries if one.run.key == run.key]
    samples = known.of(run)
    ends = [float(one.seconds[-1]) for one in samples]
    ends += [one.seconds for one in recovered if one.seconds is not None]
    if not ends:
        return []
    end = max(ends) if run.ended is None else max(*ends, run.ended - run.started)
    keys = [name.removeprefix(SETTINGS) for name in series
            if name.startswith(SETTINGS) and name != RECOVERIES]  # fmt: skip
    keys += [key for one in recovered for key in one.told.effective]
    found = []
    for key in dict.fromkeys([batch, *sorted(keys)]):
        course = _course(run, key, series.get(SETTINGS + key), recovered, end)
        if course is not None and (key == batch or course.changed):
            found.append(course)
    return found


def _course(
    run: Run, key: str, logged: Series | None, recovered: list[Recovery], end: float
) -> Course | None:
    """A setting over time; None if it is not known, or no number."""
    requested = as_number(run.params.get(key))
    points: dict[float, float] = {}
    for one in recovered:
        value = _number(one.told.effective.get(key))
        requested = _number(one.told.requested.get(key)) if requested is None else requested
        if value is not None and one.seconds is not None:
            points[one.seconds] = value
    if logged is not None:
        points |= dict(zip(*(part.tolist() for part in _by_time(logged, run)), strict=True))
    scaled = run.params.get("hardware.auto_scale", "").lower() == "true"
    if requested is not None and not scaled:
        points = {0.0: requested} | points
    if not points:
        return None
    at = np.array(sorted(points))
    even = np.linspace(at[0], max(end, at[-1]), _COURSE)
    before = np.maximum(at[1:] - 1, at[:-1])  # one can point at what was until then
    grid = np.unique([*at, *before, *even])
    values = np.array([points[place] for place in at.tolist()])
    held = values[np.searchsorted(at, grid, side="right") - 1]
    return Course(run, key, grid, held, requested)


def _number(value: Setting | None) -> float | None:
    """A setting as one number: of an image's sides, the longer one."""
    if isinstance(value, tuple):
        return float(max(value))
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else None
