"""What a training's events become in MLflow, read back with MLflow's own client."""

import json
import threading
from pathlib import Path

import pytest
from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from backend.core.errors import StoreError
from backend.core.events import Evaluated, Event, MetricsLogged, RunFinished
from backend.core.workdir import WorkDir
from backend.tracking.client import connect, find_models, find_runs
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from backend.tracking.writer import MlflowSink, start_study
from tests.support.scripted_run import (
    START,
    all_events,
    epoch_events,
    evaluated,
    log_run,
    make_work,
    started,
    write_events,
)

KEY = "20260101-000000-toy-0001"


@pytest.fixture
def client(home: Home) -> MlflowClient:
    return connect(home)


def only_run(client: MlflowClient) -> MlflowRun:
    (run_id,) = find_runs(client, "training", run=KEY)
    return client.get_run(run_id)


def artifact(run: MlflowRun, name: str) -> str:
    return (Path(run.info.artifact_uri) / name).read_text(encoding="utf-8")


def test_a_whole_run(home: Home, client: MlflowClient) -> None:
    work = log_run(home, KEY, tags={"trial": "4"}, parent="freezing")
    run = only_run(client)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "scripted"
    assert run.info.start_time == round((START - 1) * 1000)
    assert run.data.params == {
        "kind": "toy", "name": "scripted", "experiment": "assay", "epochs": "3", "source": "",
        "freeze.strategy": "head-only", "optimizer.lr0": "1e-05",
    }  # fmt: skip
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == start_study(home, "freezing")
    expected = {
        "run": KEY, "kind": "training", "trainer": "toy", "study": "freezing", "trial": "4",
        "status": "finished", "git_sha": "abc123", "mlflow.source.git.commit": "abc123",
        "freeze.strategy": "head-only", "freeze.trainable": "10", "freeze.frozen": "92",
        "freeze.verified": "true", "best.epoch": "2", "best.step": "10", "epochs": "3",
        "headline": "val/mAP50-95",
    }  # fmt: skip
    assert expected.items() <= tags.items()
    assert len(tags["data_sha"]) == len(tags["config_sha"]) == 64
    assert artifact(run, "events.jsonl") == work.events.read_text(encoding="utf-8")
    assert artifact(run, "config.yaml") == work.config.read_text(encoding="utf-8")
    assert artifact(run, "output.log") == "epoch 1 ...\n"
    assert json.loads(artifact(run, "environment.json")) == {"python": "3.11", "device": "cpu"}
    assert json.loads(artifact(run, "notes.json"))[0]["message"] == "3 images skipped"
    assert json.loads(artifact(run, "freeze/verified.json"))["phase"] == "verified"
    assert json.loads(artifact(run, "evaluation/per_class.json")) == {"square": {"AP": 0.75}}


def test_metrics_keep_their_steps_and_the_workers_times(home: Home, client: MlflowClient) -> None:
    work = log_run(home, KEY)
    sent = {
        e.event.step: (e.event.metrics["train/loss"], round(e.time * 1000))
        for e in map(_envelope, work.events.read_text().splitlines())
        if isinstance(e.event, MetricsLogged) and "train/loss" in e.event.metrics
    }
    history = client.get_metric_history(only_run(client).info.run_id, "train/loss")
    assert {m.step: (m.value, m.timestamp) for m in history} == sent
    assert len(history) == 15


def test_datasets_are_inputs_with_their_digests(home: Home, client: MlflowClient) -> None:
    log_run(home, KEY)
    inputs = only_run(client).inputs.dataset_inputs
    found = {i.tags[0].value: i.dataset for i in inputs}
    assert set(found) == {"train", "val"}
    assert found["val"].digest == "b" * 36  # MLflow's limit
    assert json.loads(found["val"].profile)["digest"] == "b" * 64


def test_each_checkpoint_is_a_model_with_its_own_metrics(home: Home, client: MlflowClient) -> None:
    log_run(home, KEY)
    run = only_run(client)
    models = {m.tags["epoch"]: m for m in find_models(client, run.info.run_id)}
    assert [m.name for m in models.values()] == [f"{KEY}-epoch-{e}" for e in models]
    assert {m.status.value for m in models.values()} == {"READY"}
    assert models["1"].tags["removed"] == "true"
    assert "removed" not in models["2"].tags
    values = {m.key: (m.value, m.step) for m in models["2"].metrics}
    assert values["val/mAP50-95"] == (0.7, 10)
    assert values["best/mAP50-95"] == (0.75, 10)  # the final evaluation, of this one only
    assert "best/mAP50-95" not in {m.key for m in models["3"].metrics}
    outputs = {o.model_id: o.step for o in run.outputs.model_outputs}
    assert outputs[models["3"].model_id] == 15


@pytest.mark.parametrize(
    ("status", "in_mlflow"),
    [("finished", "FINISHED"), ("stopped", "KILLED"), ("pruned", "KILLED"), ("failed", "FAILED")],
)
def test_each_end_has_its_status(
    home: Home, client: MlflowClient, status: str, in_mlflow: str
) -> None:
    end = RunFinished.model_validate({"status": status, "reason": "because"})
    _log(home, make_work(home, KEY), [started(), end])
    assert only_run(client).info.status == in_mlflow
    run = MlflowStore(home).run(KEY)
    assert (run.status, run.reason) == (status, "because")


def test_a_stream_without_an_end_is_a_failed_run(home: Home) -> None:
    _log(home, make_work(home, KEY), [started()])
    run = MlflowStore(home).run(KEY)
    assert run.status == "failed"
    assert "interrupted" in run.reason


def test_further_evaluations_keep_apart(home: Home) -> None:
    work = make_work(home, KEY)
    first = epoch_events(work, 1, 0.5, True)
    here = evaluated(work, 1)
    there = here.report.model_copy(
        update={"data": "/data/source (old)/data.yaml", "split": "holdout"}
    )
    by_path = here.report.model_copy(
        update={"checkpoint": str(work.path / "checkpoints" / "epoch-1.safetensors")}
    )
    alien = there.model_copy(update={"checkpoint": "0" * 64, "metrics": {"AR": 0.25}})
    reports = [here, Evaluated(report=there), Evaluated(report=by_path), Evaluated(report=alien)]
    _log(home, work, [started(), *first, *reports])
    best = MlflowStore(home).run(KEY).best
    assert best["mAP50-95"] == best["source--old--holdout/mAP50-95"] == 0.75
    assert best["source--old--holdout/AR"] == 0.25
    folder = Path(only_run(connect(home)).info.artifact_uri) / "evaluation"
    assert (folder / "source--old--holdout" / "report.json").is_file()
    assert json.loads((folder / "report.json").read_text())["split"] == "val"


def test_an_overwritten_checkpoint_is_gone(home: Home) -> None:
    work = make_work(home, KEY)
    _log(
        home,
        work,
        [started(), *epoch_events(work, 1, 0.5, True), *epoch_events(work, 1, 0.6, True)],
    )
    (checkpoint,) = MlflowStore(home).checkpoints(KEY)
    assert checkpoint.metrics["val/mAP50-95"] == 0.6


def test_the_reader_sees_a_running_run_before_it_ends(home: Home) -> None:
    work = make_work(home, KEY)
    envelopes = write_events(work, [started(), *epoch_events(work, 1, 0.5, True)])
    sink = MlflowSink(home, work.path)
    for envelope in envelopes:
        sink.receive(envelope)
    store = MlflowStore(home)
    while "val/loss" not in store.metric_names([KEY]):  # pytest-timeout ends a failure
        threading.Event().wait(0.05)
    assert store.run(KEY).status == "running"
    sink.close()


def test_a_folder_that_is_no_run_is_refused(home: Home, client: MlflowClient) -> None:
    folder = home.work_dir("nothing")
    folder.mkdir(parents=True)
    with pytest.raises(StoreError, match="not a run's work directory"):
        MlflowSink(home, folder)
    work = make_work(home, KEY)
    work.config.unlink()
    with pytest.raises(StoreError, match=r"no config\.yaml"):
        MlflowSink(home, work.path)
    assert find_runs(client, "training") == []


def test_two_runs_at_once(home: Home) -> None:
    """SQLite has one writer at a time; both get all of theirs."""
    works = [make_work(home, f"{KEY}-{i}") for i in range(2)]
    streams = [write_events(work, all_events(work)) for work in works]
    sinks = [MlflowSink(home, work.path) for work in works]
    for pair in zip(*streams, strict=True):
        for sink, envelope in zip(sinks, pair, strict=True):
            sink.receive(envelope)
    for sink in sinks:
        sink.close()
    runs = MlflowStore(home).runs()
    assert [run.status for run in runs] == ["finished", "finished"]
    assert runs[0].metrics.keys() == runs[1].metrics.keys()


def _log(home: Home, work: WorkDir, events: list[Event]) -> None:
    sink = MlflowSink(home, work.path)
    for envelope in write_events(work, events):
        sink.receive(envelope)
    sink.close()


def _envelope(line: str):  # type: ignore[no-untyped-def]
    from backend.core.events import Envelope

    return Envelope.model_validate_json(line)
