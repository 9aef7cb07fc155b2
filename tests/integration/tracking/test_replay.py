"""The work directory is the truth: what is logged live and what is replayed are the same."""

import json
from pathlib import Path

import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from backend.core.errors import StoreError
from backend.core.events import CheckpointRemoved, RunFinished
from backend.tracking.client import connect, find_models, find_runs
from backend.tracking.home import Home
from backend.tracking.replay import replay
from backend.tracking.store import MlflowStore
from backend.tracking.writer import MlflowSink
from tests.support.scripted_run import (
    all_events,
    epoch_events,
    log_run,
    make_work,
    started,
    write_events,
)

KEY = "20260101-000000-toy-0001"


def everything(client: MlflowClient, run_id: str) -> dict[str, object]:
    """All that MLflow knows of a run, but for ids and the times of writing."""
    run = client.get_run(run_id)
    models = find_models(client, run_id)
    ids = {model.model_id: model.name for model in models}
    folder = Path(run.info.artifact_uri)
    return {
        "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time,
                 run.info.experiment_id),
        "params": run.data.params,
        "tags": {k: ids.get(v, v) for k, v in run.data.tags.items()},
        "latest": {k: repr(v) for k, v in run.data.metrics.items()},
        "history": {
            key: [(m.step, repr(m.value), m.timestamp)
                  for m in client.get_metric_history(run_id, key)]
            for key in run.data.metrics
        },
        "inputs": sorted(json.dumps(i.to_dictionary(), sort_keys=True)
                         for i in run.inputs.dataset_inputs),
        "outputs": sorted((ids[o.model_id], o.step) for o in run.outputs.model_outputs),
        "models": [
            (m.name, m.status.value, m.tags,
             sorted((x.key, x.value, x.step, x.timestamp) for x in m.metrics))
            for m in models
        ],
        "artifacts": {str(p.relative_to(folder)): p.read_bytes()
                      for p in folder.rglob("*") if p.is_file()},
    }  # fmt: skip


def test_a_replayed_run_is_the_same_run(home: Home) -> None:
    client = connect(home)
    work = log_run(home, KEY, tags={"trial": "4"}, parent="freezing")
    (live,) = find_runs(client, "training", run=KEY)
    before = everything(client, live)
    run = replay(home, work.path)
    assert run.mlflow_run_id != live
    assert everything(client, run.mlflow_run_id) == before


def test_the_old_run_and_its_models_are_deleted_softly(home: Home) -> None:
    client = connect(home)
    work = log_run(home, KEY)
    (live,) = find_runs(client, "training", run=KEY)
    run = replay(home, work.path)
    assert find_runs(client, "training", run=KEY) == [run.mlflow_run_id]
    assert find_models(client, live) == []
    deleted = client.search_runs(
        [run_experiment(client, live)], run_view_type=ViewType.DELETED_ONLY
    )
    assert [r.info.run_id for r in deleted] == [live]
    assert [r.key for r in MlflowStore(home).runs()] == [KEY]


def run_experiment(client: MlflowClient, run_id: str) -> str:
    return str(client.get_run(run_id).info.experiment_id)


def test_a_lost_database_is_restored(home: Home) -> None:
    """A run that MLflow has never seen, and its study."""
    work = make_work(home, KEY, parent="freezing")
    write_events(work, all_events(work))
    run = replay(home, work.path)
    assert (run.key, run.study, run.status) == (KEY, "freezing", "finished")
    client = connect(home)
    (study,) = find_runs(client, "study", study="freezing")
    assert client.get_run(run.mlflow_run_id).data.tags["mlflow.parentRunId"] == study


def test_a_run_of_another_place_keeps_its_folder(home: Home, tmp_path: Path) -> None:
    elsewhere = Home(tmp_path / "cluster")
    work = make_work(elsewhere, KEY)
    write_events(work, all_events(work))
    run = replay(home, work.path)
    assert run.work_dir == str(work.path)
    assert [c.epoch for c in MlflowStore(home).checkpoints(KEY)] == [2, 3]


def test_the_old_run_stands_until_the_new_one_is_complete(home: Home) -> None:
    client = connect(home)
    work = log_run(home, KEY)
    (live,) = find_runs(client, "training", run=KEY)
    half = MlflowSink(home, work.path)  # a replay that stops in the middle
    (new,) = set(find_runs(client, "training", run=KEY)) - {live}
    assert client.get_run(live).info.lifecycle_stage == "active"
    assert MlflowStore(home).run(KEY).mlflow_run_id == live
    half.close()
    assert find_runs(client, "training", run=KEY) == [new]


def test_what_an_abandoned_replay_left_is_cleared(home: Home) -> None:
    client = connect(home)
    work = log_run(home, KEY)
    MlflowSink(home, work.path)  # never closed, as if killed
    run = replay(home, work.path)
    assert find_runs(client, "training", run=KEY) == [run.mlflow_run_id]


def test_a_resumed_run_shows_both_attempts_and_replaces_the_first(home: Home) -> None:
    client = connect(home)
    work = make_work(home, KEY)
    first = write_events(
        work,
        [
            started(),
            *epoch_events(work, 1, 0.5, best=True),
            *epoch_events(work, 2, 0.4, best=False),
            RunFinished(status="failed", reason="killed", interrupted=True),
        ],
    )
    replay(home, work.path)
    (failed,) = find_runs(client, "training", run=KEY)
    lost = CheckpointRemoved(path="checkpoints/epoch-2.safetensors", sha256="0" * 64)
    second = write_events(
        work,
        [
            started(resumed_from=1),
            lost,
            *epoch_events(work, 2, 0.6, best=True),
            RunFinished(status="finished", best="checkpoints/epoch-2.safetensors"),
        ],
        first=len(first),
    )
    sink = MlflowSink(home, work.path)
    for envelope in [*first, *second]:
        sink.receive(envelope)
    sink.close()
    assert failed not in find_runs(client, "training", run=KEY)
    store = MlflowStore(home)
    run = store.run(KEY)
    assert (run.status, run.reason, run.best["val/mAP50-95"]) == ("finished", "", 0.6)
    series = store.series([KEY], ["val/mAP50-95"])[KEY, "val/mAP50-95"]
    assert (series.steps, series.values) == ((5, 10), (0.5, 0.6))  # the later value counts
    assert [(c.epoch, c.metrics["val/mAP50-95"]) for c in store.checkpoints(KEY)] == [
        (1, 0.5),
        (2, 0.6),
    ]


def test_a_folder_without_a_run_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no run\.json"):
        replay(home, tmp_path)
    work = make_work(home, KEY)
    with pytest.raises(StoreError, match="no event file"):
        replay(home, work.path)


def test_a_damaged_event_file_is_refused_before_anything_is_replaced(home: Home) -> None:
    work = log_run(home, KEY)
    before = MlflowStore(home).run(KEY)
    with work.events.open("a", encoding="utf-8") as file:
        file.write("{}\n")
    with pytest.raises(StoreError, match=r"events\.jsonl, line"):
        replay(home, work.path)
    assert MlflowStore(home).run(KEY) == before
