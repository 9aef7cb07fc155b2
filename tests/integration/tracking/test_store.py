"""Records read back: by SQLite directly, and by MLflow's client; both must agree."""

import math
import os
import shutil
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.entities import Metric

from backend.core.errors import StoreError
from backend.core.records import StudyRecord, TrialRecord
from backend.tracking import store as store_module
from backend.tracking.client import connect, find_runs
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from backend.tracking.writer import (
    MlflowSink,
    log_comparison,
    log_decision,
    log_study,
    start_study,
)
from tests.support.comparisons import comparison
from tests.support.detections import contender
from tests.support.scripted_run import log_run, make_work

KEYS = ("20260101-000000-toy-0001", "20260102-000000-toy-0002")


@pytest.fixture(params=["sqlite", "client"])
def store(
    request: pytest.FixtureRequest, home: Home, monkeypatch: pytest.MonkeyPatch
) -> MlflowStore:
    if request.param == "client":  # as with a schema that the quick way does not know
        monkeypatch.setattr(store_module, "SCHEMA", "another")
    return MlflowStore(home)


def study_record(name: str = "freezing", trials: int = 2) -> StudyRecord:
    made = [
        TrialRecord(number=i, state="complete", value=i / 10, params={"lr": 0.1}, run=f"r{i}")
        for i in range(trials)
    ]
    return StudyRecord(
        name=name, metric="val/mAP50-95", direction="maximize", target=2, trials=tuple(made),
        best=trials - 1 if trials else None, description="what to freeze",
    )  # fmt: skip


def test_a_new_home_is_empty(store: MlflowStore, tmp_path: Path) -> None:
    for empty in (store, MlflowStore(Home(tmp_path / "nowhere"))):
        assert empty.runs() == empty.studies() == empty.comparisons() == empty.promotions() == []
        assert empty.champions() == empty.series(["k"], ["m"]) == {}
        assert empty.metric_names(["k"]) == []
        with pytest.raises(StoreError, match="no run 'k'; there is: none yet"):
            empty.run("k")


def test_a_run_as_a_record(home: Home, store: MlflowStore) -> None:
    log_run(home, KEYS[0], tags={"trial": "4"}, parent="freezing")
    run = store.run(KEYS[0])
    assert (run.name, run.trainer, run.study, run.trial) == ("scripted", "toy", "freezing", 4)
    assert (run.status, run.best_epoch, run.epochs) == ("finished", 2, 3)
    assert run.params["optimizer.lr0"] == "1e-05"
    assert run.params["source"] == ""
    assert run.metrics["val/mAP50-95"] == 0.6
    assert run.best == {"val/mAP50-95": 0.7, "val/loss": pytest.approx(0.3), "mAP50-95": 0.75}
    assert run.best[run.headline] == 0.7
    assert run.work_dir == str(home.work_dir(KEYS[0]))
    assert run.ended is not None
    assert run.ended > run.started
    assert not [tag for tag in run.tags if tag.startswith("mlflow.")]


def test_values_that_are_no_numbers_come_back(home: Home, store: MlflowStore) -> None:
    log_run(home, KEYS[0])
    found = store.series(KEYS[:1], ["train/odd", "train/up", "train/down"])
    odd, up, down = (found[KEYS[0], f"train/{name}"].values[0] for name in ("odd", "up", "down"))
    assert math.isnan(odd)
    assert (up, down) == (math.inf, -math.inf)
    metrics = store.run(KEYS[0]).metrics
    assert math.isnan(metrics["train/odd"])
    assert metrics["train/up"] == math.inf


def test_curves_of_several_runs(home: Home, store: MlflowStore) -> None:
    for key in KEYS:
        log_run(home, key)
    names = store.metric_names(KEYS)
    assert names == [
        "train/down",
        "train/loss",
        "train/odd",
        "train/up",
        "val/loss",
        "val/mAP50-95",
    ]
    found = store.series([*KEYS, "unknown"], ["train/loss", "val/mAP50-95", "val/never"])
    assert set(found) == {(k, m) for k in KEYS for m in ("train/loss", "val/mAP50-95")}
    loss = found[KEYS[1], "train/loss"]
    assert loss.steps == tuple(range(1, 16))
    assert loss.values == tuple(1 / step for step in range(1, 16))
    assert list(loss.times) == sorted(loss.times)
    assert found[KEYS[0], "val/mAP50-95"].values == (0.5, 0.7, 0.6)


def test_a_long_curve_is_complete(home: Home, store: MlflowStore) -> None:
    """MLflow hands out 25,000 values at most at once."""
    log_run(home, KEYS[0])
    (run_id,) = find_runs(connect(home), "training")
    assert home.database is not None
    with closing(sqlite3.connect(home.database)) as connection:  # quicker than logging them
        connection.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
            "VALUES ('train/long', ?, ?, ?, ?, 0)",
            [(i / 7, 1_700_000_000_000 + i, run_id, i) for i in range(26_000)],
        )
        connection.execute(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
            "VALUES ('train/long', 0, 0, 0, 0, ?)",
            (run_id,),
        )
        connection.commit()
    series = store.series(KEYS[:1], ["train/long"])[KEYS[0], "train/long"]
    assert series.steps == tuple(range(26_000))
    assert series.values[-1] == 25_999 / 7


def test_checkpoints_that_still_exist(home: Home, store: MlflowStore) -> None:
    work = log_run(home, KEYS[0])
    found = store.checkpoints(KEYS[0])
    assert [(c.epoch, c.step, c.run) for c in found] == [(2, 10, KEYS[0]), (3, 15, KEYS[0])]
    assert found[0].path == str(work.path / "checkpoints" / "epoch-2.safetensors")
    assert found[0].metrics == {"val/mAP50-95": 0.7, "val/loss": pytest.approx(0.3)}
    Path(found[0].path).unlink()
    assert [c.epoch for c in store.checkpoints(KEYS[0])] == [3]


def test_a_run_is_found_by_what_names_it(home: Home, store: MlflowStore) -> None:
    for key in KEYS:
        log_run(home, key)
    newest, oldest = store.runs()
    assert (newest.key, oldest.key) == (KEYS[0], KEYS[1])  # created at the same time: by key
    assert store.run("20260102").key == KEYS[1]
    assert store.run(newest.mlflow_run_id) == newest
    for vague in ("2026", "scripted"):
        with pytest.raises(StoreError, match=f"may be any of {KEYS[0]}, {KEYS[1]}"):
            store.run(vague)
    with pytest.raises(StoreError, match=f"no run 'x'; there is: {KEYS[0]}, {KEYS[1]}"):
        store.run("x")
    with pytest.raises(StoreError, match="no run ''"):
        store.run("")


def test_a_study_is_read_as_it_was_last_written(home: Home, store: MlflowStore) -> None:
    parent = start_study(home, "freezing")
    assert store.studies() == []
    assert log_study(home, study_record(trials=1)) == parent
    assert store.studies() == [study_record(trials=1)]
    client = connect(home)
    assert client.get_run(parent).info.status == "RUNNING"
    log_study(home, study_record(trials=2))
    assert store.studies() == [study_record(trials=2)]
    run = client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"study/best": 0.1}
    assert run.data.tags["mlflow.note.content"] == "what to freeze"
    log_study(home, study_record("another"))
    assert [s.name for s in store.studies()] == ["another", "freezing"]


def test_comparisons_and_decisions(home: Home, store: MlflowStore) -> None:
    first, second = (
        comparison(key="compare-1", created=30.0),
        comparison(key="compare-2", created=60.0),
    )
    ids = [log_comparison(home, made, {"report.md": "# Report"}) for made in (first, second)]
    assert store.comparisons() == [second, first]
    assert log_comparison(home, first, {"report.md": "# Report"}) == ids[0]  # written once
    run = connect(home).get_run(ids[0])
    assert run.data.tags["verdict"] == first.headline.verdict
    assert run.data.metrics["delta/mAP50-95"] == first.headline.delta
    assert (Path(run.info.artifact_uri) / "report.md").read_text() == "# Report"
    refused = decision("d1", "digits", promote=False)
    other = decision("d2", "other", promote=True)
    for made in (refused, other):
        log_decision(home, made)
    assert store.promotions("digits") == [refused]
    assert store.promotions() == [other, refused]


def decision(key: str, model: str, promote: bool):  # type: ignore[no-untyped-def]
    from backend.core.records import PromotionDecision

    return PromotionDecision(
        key=key, created=float(key[1:]), model=model, checkpoint=contender("new").checkpoint,
        policy={"min_delta": 0.0}, evidence="compare-1", promote=promote, reasons=("because",),
    )  # fmt: skip


def test_answers_are_remembered_until_something_changes(home: Home, store: MlflowStore) -> None:
    log_run(home, KEYS[0])
    token = store.change_token()
    before = store.runs()
    assert store.change_token() == token
    assert store.runs()[0] is before[0]
    curve = store.series(KEYS[:1], ["train/loss"])[KEYS[0], "train/loss"]
    log_run(home, KEYS[1])
    assert store.change_token() != token
    assert len(store.runs()) == 2
    again = store.series(KEYS[:1], ["train/loss"])[KEYS[0], "train/loss"]
    assert again is curve  # a run that has ended does not change


def test_a_running_run_grows(home: Home, store: MlflowStore) -> None:
    work = make_work(home, KEYS[0])
    sink = MlflowSink(home, work.path)
    client = connect(home)
    (run_id,) = find_runs(client, "training")
    for step in (1, 2):
        client.log_batch(run_id, metrics=[Metric("train/loss", 1.0, step, step)])
        series = store.series(KEYS[:1], ["train/loss"])[KEYS[0], "train/loss"]
        assert series.steps == tuple(range(1, step + 1))
    assert store.run(KEYS[0]).status == "running"
    sink.close()


def test_threads_may_share_a_store(home: Home, store: MlflowStore) -> None:
    for key in KEYS:
        log_run(home, key)
    seen: list[int] = []

    def read() -> None:
        seen.append(len(store.series(KEYS, store.metric_names(KEYS))))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [12] * 8


def test_others_runs_in_the_database_are_none_of_ours(home: Home, store: MlflowStore) -> None:
    client = connect(home)
    client.log_batch(client.create_run("0").info.run_id, metrics=[Metric("loss", 1.0, 1, 1)])
    assert store.runs() == []


def test_a_home_may_be_moved(home: Home, store: MlflowStore, tmp_path: Path) -> None:
    log_run(home, KEYS[0])
    log_study(home, study_record())
    moved = Home(tmp_path / "moved")
    shutil.move(home.root, moved.root)
    reader = MlflowStore(moved)
    assert reader.studies() == [study_record()]
    assert [c.epoch for c in reader.checkpoints(KEYS[0])] == [2, 3]


def test_few_curves_are_kept_in_memory(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CACHED_POINTS", 20)
    log_run(home, KEYS[0])
    store = MlflowStore(home)

    def curve(metric: str) -> object:
        return store.series(KEYS[:1], [metric])[KEYS[0], metric]

    loss = curve("train/loss")
    assert curve("train/loss") is loss
    curve("val/loss")
    curve("val/mAP50-95")
    assert curve("train/loss") is not loss  # 15 + 3 + 3 points are more than 20
    assert curve("train/loss") == loss


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_can_be_read(home: Home) -> None:
    log_run(home, KEYS[0])
    home.root.chmod(0o555)
    try:
        assert [run.key for run in MlflowStore(home).runs()] == [KEYS[0]]
    finally:
        home.root.chmod(0o755)


@pytest.mark.parametrize("text", [b'{"name": 3}', b"cut sho", b"\xff\xfe"])
def test_a_damaged_record_is_one_sentence(home: Home, store: MlflowStore, text: bytes) -> None:
    run_id = log_study(home, study_record())
    (path,) = home.artifacts.rglob("study.json")
    path.write_bytes(text)
    with pytest.raises(
        StoreError, match=rf"study\.json of MLflow run {run_id} .*damaged"
    ) as caught:
        store.studies()
    assert "\n" not in str(caught.value)


def test_a_database_whose_driver_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    server = Home(tmp_path, "postgresql+psycopg2://127.0.0.1/x")
    with pytest.raises(StoreError, match="needs the package 'psycopg2'"):
        MlflowStore(server).runs()


def test_a_foreign_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, but it is long enough" * 10)
    with pytest.raises(StoreError, match="not a database"):
        MlflowStore(Home(tmp_path)).runs()
