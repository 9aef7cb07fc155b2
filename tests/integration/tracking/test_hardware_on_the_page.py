"""From what a run tells to its page: samples and recoveries through MLflow."""

from backend.catalog import CATALOG
from backend.core.events import GpuSample, HardwareSampled, Recovered, RunFinished
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from dashboard.pages.hardware_section import section
from tests.support.scripted_run import log_events, make_work, started
from tests.support.shown import text_of

KEY = "20260101-000000-toy-0001"


def sample(step: int, used: float) -> HardwareSampled:
    card = GpuSample(
        index=0, utilization=80.0, memory=int(used * 2**30), total=8 * 2**30, power=200.0
    )
    return HardwareSampled(step=step, samples=1, seconds=0.001, gpus=(card,), cpu=150.0)


def test_what_a_run_told_is_on_its_page(home: Home) -> None:
    recovered = Recovered(
        attempt=1, step=None, phase="unknown", kind="device", cause="CUDA out of memory",
        action="batch 16 -> 8", requested={"batch": 16}, effective={"batch": 8},
    )  # fmt: skip
    told = [started(), sample(0, 6), sample(0, 7.5), recovered, started(), sample(2, 4)]
    log_events(home, make_work(home, KEY), [*told, RunFinished(status="finished")])
    chart, tables, _ = section(MlflowStore(home), CATALOG, f"?runs={KEY}", "0", "light", [])
    figure = chart[1].figure
    titles = [note.text.partition(" (")[0] for note in figure.layout.annotations]
    assert titles == ["GPU utilisation", "GPU memory", "GPU power",
                      "CPU of the training and its loaders", "batch"]  # fmt: skip
    memory = next(trace for trace in figure.data if trace.name == "GPU 0 memory")
    assert [round(float(y), 3) for y in memory.y] == [6.0, 7.5, 4.0]
    batch = next(trace for trace in figure.data if trace.name == "batch")
    assert (float(batch.y[0]), float(batch.y[-1])) == (16.0, 8.0)
    assert len(figure.layout.shapes) == 1
    for words in ("CUDA out of memory", "batch 16 → 8", "7.5 GiB (94%)", "8.0 GiB"):
        assert words in text_of(tables), words
