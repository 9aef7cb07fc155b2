"""What the machine did, in MLflow: by the names that its own page knows, live and replayed."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.tracking import MlflowClient

from backend import launch
from backend.core.errors import StoreError
from backend.core.events import (
    Envelope,
    Event,
    GpuSample,
    HardwareSampled,
    Recovered,
    RunFinished,
)
from backend.core.sinks import JsonlSink, MemorySink, interleaved, read_events
from backend.core.workdir import WorkDir
from backend.hardware.recovery import Memo, write_memo
from backend.tracking.client import connect, find_runs
from backend.tracking.home import Home
from backend.tracking.replay import replay
from backend.tracking.store import MlflowStore
from backend.tracking.writer import MlflowSink
from tests.support.scripted_run import (
    START,
    all_events,
    epoch_events,
    make_work,
    started,
    write_events,
)
from tests.support.toy import SPEC, ToyConfig, write_toy_data

KEY = "20260101-000000-toy-0001"
GPU = GpuSample(
    index=0, name="a card", utilization=87.5, memory=6_000_000_000, total=8_000_000_000,
    power=215.5, temperature=71,
)  # fmt: skip
MUTE = GpuSample(index=1, total=8_000_000_000)
SAMPLE = HardwareSampled(
    step=3, samples=1, seconds=0.001, gpus=(GPU, MUTE), cpu=180.0, host_cpu=45.0,
    rss=2_000_000_000, memory=12_000_000_000, total=16_000_000_000,
)  # fmt: skip


def write_samples(work: WorkDir, samples: Sequence[HardwareSampled]) -> list[Envelope]:
    """One each second, the last one after the run's last word."""
    first = START + 1 - len(samples) + 100
    envelopes = [Envelope(seq=i, time=first + i, event=e) for i, e in enumerate(samples)]
    sink = JsonlSink(work.hardware)
    for envelope in envelopes:
        sink.receive(envelope)
    sink.close()
    return envelopes


def logged(home: Home, samples: Sequence[HardwareSampled]) -> WorkDir:
    work = make_work(home, KEY)
    told = write_events(work, all_events(work))
    sink = MlflowSink(home, work.path)
    for envelope in interleaved(told, write_samples(work, samples)):
        sink.receive(envelope)
    sink.close()
    return work


def machine(client: MlflowClient) -> dict[str, list[tuple[int, float, int]]]:
    """Step, value and milliseconds of each metric of the machine, as MLflow has them."""
    (run_id,) = find_runs(client, "training", run=KEY)
    return {
        key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run_id, key)]
        for key in client.get_run(run_id).data.metrics
        if key.startswith(("system/", "hardware/"))
    }


def test_samples_have_the_names_of_mlflows_own_page(home: Home) -> None:
    logged(home, [SAMPLE])
    when = round((START + 100) * 1000)
    assert machine(connect(home)) == {
        f"system/{name}": [(3, value, when)]
        for name, value in {
            "cpu_utilization_percentage": 45.0,
            "process_cpu_percentage": 180.0,
            "process_memory_megabytes": 2000.0,
            "system_memory_usage_megabytes": 12_000.0,
            "system_memory_usage_percentage": 75.0,
            "gpu_0_utilization_percentage": 87.5,
            "gpu_0_memory_usage_megabytes": 6000.0,
            "gpu_0_memory_usage_percentage": 75.0,
            "gpu_0_power_usage_watts": 215.5,
            "gpu_0_temperature_celsius": 71.0,
        }.items()
    }, "and nothing of what the second card does not tell"
    monitor = CPUMonitor()
    monitor.collect_metrics()
    assert {f"system/{name}" for name in monitor.aggregate_metrics()} <= set(
        machine(connect(home))
    ), "they are MLflow's own names"


def test_what_is_not_known_is_no_metric(home: Home) -> None:
    logged(home, [HardwareSampled(step=0, samples=1, seconds=0.001, memory=12)])
    assert set(machine(connect(home))) == {"system/system_memory_usage_megabytes"}


def test_each_sample_of_a_step_counts(home: Home) -> None:
    """Of other metrics the later value at a step does; and samples are no evidence."""
    samples = [SAMPLE.model_copy(update={"cpu": float(i), "step": i // 4}) for i in range(10)]
    logged(home, samples)
    store = MlflowStore(home)
    name = "system/process_cpu_percentage"
    series = store.series([KEY], [name])[KEY, name]
    assert series.steps == (0, 0, 0, 0, 1, 1, 1, 1, 2, 2)
    assert series.values == tuple(float(i) for i in range(10))
    assert series.times == tuple(START + 91 + i for i in range(10))
    assert not any(isinstance(event, HardwareSampled) for event in store.evidence(KEY))


def test_samples_do_not_lengthen_a_run(home: Home) -> None:
    work = logged(home, [SAMPLE])
    run = MlflowStore(home).run(KEY)
    assert run.ended == pytest.approx(read_events(work.events)[-1].time, abs=0.001)
    assert replay(home, work.path).ended == run.ended


def test_a_replayed_run_has_its_samples(home: Home) -> None:
    client = connect(home)
    work = logged(home, [SAMPLE, SAMPLE.model_copy(update={"step": 9, "cpu": None})])
    before = machine(client)
    replay(home, work.path)
    assert machine(client) == before
    (run_id,) = find_runs(client, "training", run=KEY)
    copy = Path(client.get_run(run_id).info.artifact_uri) / work.hardware.name
    assert copy.read_bytes() == work.hardware.read_bytes()


def test_a_damaged_file_of_samples_is_named(home: Home) -> None:
    work = logged(home, [SAMPLE])
    with work.hardware.open("a") as file:
        file.write("{}\n")
    with pytest.raises(StoreError, match=r"hardware\.jsonl, line 2: not an event"):
        replay(home, work.path)


def test_samples_do_not_replace_a_run_before_its_events_are_there(home: Home) -> None:
    """A resumed run's many samples say nothing of how far its own events have come."""
    work = make_work(home, KEY)
    told = write_events(work, [started(), *epoch_events(work, 1, 0.5, best=True)])
    replay(home, work.path)
    client, store = connect(home), MlflowStore(home)
    old = store.run(KEY).mlflow_run_id
    sink = MlflowSink(home, work.path)
    (new,) = set(find_runs(client, "training", run=KEY)) - {old}
    sink.receive(told[0])
    for seq in (1000, 1001):  # when the second one is there, all that the first one did is done
        sample = SAMPLE.model_copy(update={"step": seq})
        sink.receive(Envelope(seq=seq, time=START + seq, event=sample))
        wait_for_metric(client, new, seq)
    assert client.get_run(old).info.lifecycle_stage == "active"
    for envelope in told[1:]:
        sink.receive(envelope)
    sink.close()
    assert find_runs(client, "training", run=KEY) == [new]


def wait_for_metric(client: MlflowClient, run_id: str, step: int) -> None:
    pause = threading.Event()
    for _ in range(1200):
        points = client.get_metric_history(run_id, "system/process_cpu_percentage")
        if any(point.step == step for point in points):
            return
        pause.wait(0.1)
    raise AssertionError("the sample never arrived")


def recovered(attempt: int, step: int | None, batch: int) -> Recovered:
    return Recovered(
        attempt=attempt, step=step, phase="train", kind="device", cause="CUDA out of memory",
        action=f"batch {2 * batch} -> {batch}",
        requested={"batch": 16, "workers": 2, "cache": True},
        effective={"batch": batch, "workers": 2, "cache": True},
    )  # fmt: skip


@pytest.mark.parametrize("scaled", [False, True])
def test_the_batch_over_time_begins_with_the_first_one(scaled: bool, home: Home) -> None:
    """As it was asked for, or as the tier chose it: that is no event, but in the memo."""
    work = make_work(home, KEY)
    if scaled:
        write_memo(work.path, Memo(tier="high", planned={"batch": 32}))
    told: list[Event] = [
        started(),
        recovered(1, None, 16 if scaled else 8),
        started(),
        recovered(2, 7, 4),
    ]
    write_events(work, [*told, RunFinished(status="finished")])
    replay(home, work.path)
    store = MlflowStore(home)
    series = store.series([KEY], ["hardware/batch", "hardware/workers", "hardware/recoveries"])
    first, second = (32.0, 16.0) if scaled else (16.0, 8.0)
    batch = series[KEY, "hardware/batch"]
    assert (batch.steps, batch.values) == ((0, 0, 7), (first, second, 4.0))
    assert batch.times == (START, START + 0.125, START + 0.375)
    assert series[KEY, "hardware/workers"].values == (2.0, 2.0, 2.0)
    assert series[KEY, "hardware/recoveries"].steps == (0, 7), "of these there are none at first"


def test_a_scaled_run_shows_its_batch_without_a_recovery(home: Home) -> None:
    work = make_work(home, KEY)
    write_memo(work.path, Memo(tier="high", planned={"batch": 32, "model": "yolov8l.pt"}))
    write_events(work, [started(), RunFinished(status="finished")])
    replay(home, work.path)
    assert set(machine(connect(home))) == {"hardware/batch"}


class LongEnough(MemorySink):
    """Lets a toy that holds before its last epoch go on after three samples."""

    def __init__(self, go: Path) -> None:
        super().__init__()
        self._go = go

    def receive(self, envelope: Envelope) -> None:
        super().receive(envelope)
        if sum(isinstance(e.event, HardwareSampled) for e in self.envelopes) >= 3:
            self._go.touch()


def test_a_real_training(
    home: Home, workers: launch.Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    config = ToyConfig(data=write_toy_data(tmp_path), epochs=2, hold=1.0)
    work = launch.prepare(home, config.replace({"hardware.sample": 0.05}), SPEC)
    reader = LongEnough(tmp_path / "go")
    assert launch.run(home, work, workers, [reader]).status == "finished"
    run = MlflowStore(home).run(work.path.name)
    names = [name for name in run.metrics if name.startswith("system/")]
    assert set(names) == {
        "system/cpu_utilization_percentage",
        "system/process_cpu_percentage",
        "system/process_memory_megabytes",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
    }, "no GPU, no figures of one"
    series = MlflowStore(home).series([run.key], names)
    assert series[run.key, "system/process_memory_megabytes"].values[-1] > 10
    again = replay(home, work.path)
    assert again.metrics == run.metrics
    assert MlflowStore(home).series([run.key], names) == series
