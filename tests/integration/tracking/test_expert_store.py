"""What experts did, from events to MLflow and back; a store in memory answers alike."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from backend.core.errors import StoreError
from backend.core.events import (
    CheckpointSaved,
    Event,
    ExpertsObserved,
    MetricsLogged,
    Recovered,
    RunFinished,
)
from backend.core.experts import ExpertReport
from backend.core.records import Run
from backend.core.store import RunStore
from backend.core.workdir import WorkDir
from backend.tracking import store as store_module
from backend.tracking.client import connect, find_models, find_runs
from backend.tracking.home import Home
from backend.tracking.replay import replay
from backend.tracking.store import MlflowStore
from backend.tracking.writer import MlflowSink
from tests.support.expert_reports import report, router
from tests.support.memory_store import MemoryStore
from tests.support.scripted_run import (
    log_events,
    log_run,
    make_work,
    save_checkpoint,
    started,
    write_events,
)

KEY = "20260101-000000-toy-0001"
PLAIN = "20260102-000000-toy-0002"
SOLO = ((0.4, 0.1), (0.0, None))


def reports() -> list[ExpertReport]:
    """Two validations, and the final evaluation of the first; NaN where nothing was seen."""
    empty = router("token", 0.5, 0.5, routing_entropy=float("nan"))
    first = report(step=10)
    return [first, report(step=20, routers=(empty,)), first.model_copy(update={"solo_ap": SOLO})]


def told(found: Sequence[ExpertReport], *, final: bool = True) -> list[Event]:
    """The events of a training that reports these."""
    last = len(found) - 1 if final else len(found)
    events: list[Event] = [started()]
    events += [ExpertsObserved(report=one, final=i == last) for i, one in enumerate(found)]
    return [*events, RunFinished(status="finished")]


def log(home: Home, events: Sequence[Event], key: str = KEY) -> WorkDir:
    return log_events(home, make_work(home, key), events)


def folder(home: Home) -> Path:
    (run_id,) = find_runs(connect(home), "training", run=KEY)
    return Path(connect(home).get_run(run_id).info.artifact_uri) / "experts"


@pytest.fixture(params=["sqlite", "client", "memory"])
def store(request: pytest.FixtureRequest, home: Home, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A store with a run of experts and one without."""
    if request.param == "memory":
        memory = MemoryStore()
        for key in (KEY, PLAIN):
            memory.run_list.append(
                Run(key=key, mlflow_run_id="", name=key, trainer="", status="finished", started=0)
            )
        memory.expert_reports[KEY] = reports()
        return memory
    log(home, told(reports()))
    log(home, told([]), PLAIN)
    if request.param == "client":  # as with a schema that the quick way does not know
        monkeypatch.setattr(store_module, "SCHEMA", "another")
    return MlflowStore(home)


def same(found: Sequence[ExpertReport], expected: Sequence[ExpertReport]) -> bool:
    """By their JSON, in which NaN equals itself."""
    return [r.model_dump_json() for r in found] == [r.model_dump_json() for r in expected]


def test_reports_come_back_in_step_order_and_the_final_one_last(store: RunStore) -> None:
    assert same(store.experts(KEY), reports())
    assert store.experts(KEY)[-1].solo_ap == SOLO
    assert store.experts(PLAIN) == []
    assert same(store.experts("20260101"), reports()), "found as any run is found"
    with pytest.raises(StoreError, match="nobody"):
        store.experts("nobody")


def test_callers_may_change_their_list(store: RunStore) -> None:
    store.experts(KEY).clear()
    assert len(store.experts(KEY)) == 3


def test_each_report_is_an_artifact_with_a_sortable_name(home: Home) -> None:
    log(home, told(reports()))
    names = sorted(path.name for path in folder(home).iterdir())
    assert names == ["final.json", "step-0000010.json", "step-0000020.json"]
    assert json.loads((folder(home) / "final.json").read_text())["step"] == 10


def test_a_replay_gives_the_same(home: Home) -> None:
    work = log(home, told(reports()))
    before = {path.name: path.read_bytes() for path in folder(home).iterdir()}
    replay(home, work.path)
    assert {path.name: path.read_bytes() for path in folder(home).iterdir()} == before


def test_what_a_crash_kept_from_mlflow_is_restored(home: Home) -> None:
    work = make_work(home, KEY)
    events = write_events(work, told(reports()))
    sink = MlflowSink(home, work.path)
    for envelope in events[:2]:  # the reader dies after the first validation
        sink.receive(envelope)
    sink.close()
    assert [r.step for r in MlflowStore(home).experts(KEY)] == [10]
    replay(home, work.path)
    assert same(MlflowStore(home).experts(KEY), reports())


def test_a_step_that_a_resume_repeats_counts_once_as_it_came_out_last(home: Home) -> None:
    again = report(step=20, alignment=0.9)
    log(home, [started(), *told([report(step=10), report(step=20)], final=False)[1:-1],
               started(resumed_from=1), *told([again], final=False)[1:]])  # fmt: skip
    assert [(r.step, r.alignment) for r in MlflowStore(home).experts(KEY)] == [
        (10, 0.75), (20, 0.9),
    ]  # fmt: skip


def test_the_metrics_of_experts_are_bound_to_their_checkpoint(home: Home) -> None:
    work = make_work(home, KEY)
    moe = {"moe/token/usage/car": 0.25, "moe/query/alignment": 0.7, "moe/expert_loss/car": 0.5}
    saved = save_checkpoint(work, 1, 0.5)
    saved = saved.model_copy(update={"metrics": {**saved.metrics, **moe}})
    events: list[Event] = [
        started(),
        MetricsLogged(step=saved.step, epoch=1, metrics=dict(saved.metrics)),
        ExpertsObserved(report=report(step=saved.step)),
        CheckpointSaved(checkpoint=saved, best=True),
        RunFinished(status="finished"),
    ]
    log_events(home, work, events)
    (run_id,) = find_runs(connect(home), "training", run=KEY)
    (model,) = find_models(connect(home), run_id)
    bound = {metric.key: (metric.value, metric.step) for metric in model.metrics}
    assert {key: (value, saved.step) for key, value in moe.items()}.items() <= bound.items()
    (checkpoint,) = MlflowStore(home).checkpoints(KEY)
    assert moe.items() <= checkpoint.metrics.items()
    assert moe.items() <= MlflowStore(home).run(KEY).best.items()


def test_unchanged_reports_are_not_parsed_again(home: Home) -> None:
    log(home, told(reports()))
    store = MlflowStore(home)
    first = store.experts(KEY)
    log_run(home, PLAIN)  # something else changes
    assert all(a is b for a, b in zip(store.experts(KEY), first, strict=True))


@pytest.mark.parametrize("content", [b"", b'{"split": 3}', b"\xff\xfe", b'{"cut": '])
def test_a_damaged_artifact_is_one_sentence_and_the_way_to_mend_it(
    home: Home, content: bytes
) -> None:
    work = log(home, told(reports()))
    (folder(home) / "step-0000020.json").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        MlflowStore(home).experts(KEY)
    said = str(caught.value)
    assert "experts/step-0000020.json of MLflow run" in said
    assert f"assay replay {work.path}" in said
    assert "\n" not in said
    replay(home, work.path)
    assert same(MlflowStore(home).experts(KEY), reports())


def test_what_is_still_being_written_is_not_read(home: Home) -> None:
    log(home, told(reports()))
    (folder(home) / ".step-0000030.json.4711").write_text('{"half')
    assert len(MlflowStore(home).experts(KEY)) == 3


def test_a_step_down_the_ladder_is_told_as_tags_metrics_and_a_note(home: Home) -> None:
    recovered = Recovered(
        attempt=2, step=7, phase="train", kind="device", cause="CUDA out of memory",
        action="runner.batch 8 -> 4", requested={"runner.batch": 8, "cache": True, "device": "0"},
        effective={"runner.batch": 4, "cache": True, "device": "0"},
    )  # fmt: skip
    work = log(home, [started(), recovered, RunFinished(status="finished")])
    run = MlflowStore(home).run(KEY)
    assert run.tags["hardware.recoveries"] == "2"
    assert (run.tags["hardware.runner.batch"], run.tags["hardware.cache"]) == ("4", "True")
    assert run.metrics["hardware/runner.batch"] == 4
    assert "hardware/cache" not in run.metrics, "a switch is no number"
    series = MlflowStore(home).series([KEY], ["hardware/recoveries"])
    assert series[KEY, "hardware/recoveries"].steps == (7,)
    notes = json.loads((folder(home).parent / "notes.json").read_text())
    assert "CUDA out of memory; goes on with runner.batch 8 -> 4" in notes[0]["message"]
    assert notes[0]["level"] == "warning"
    assert replay(home, work.path).tags["hardware.runner.batch"] == "4"
