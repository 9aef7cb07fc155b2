"""Foreign runs in a home: curves, checkpoints, idempotence, following."""

import json
import math
import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from backend.adopt import Adopted, polls, take_in
from backend.core.digest import sha256
from backend.core.errors import BusyError, DataError, StoreError
from backend.core.events import MetricsLogged, Noted, RunFinished, RunStarted
from backend.core.records import Run
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.importers import history, mmengine, predictions, table, ultralytics
from backend.importers.source import Asked, Found, described
from backend.scoring.tasks import TASKS, load_evidence
from backend.tracking.client import connect, find_runs
from backend.tracking.home import Home
from backend.tracking.replay import replay
from backend.tracking.store import MlflowStore
from tests.support.foreign_runs import (
    BRIEF_VALUES,
    MDFED,
    brief_tables,
    mmengine_run,
    ultralytics_run,
    ultralytics_table,
    write,
)
from tests.support.hostile import Bomb

ASKED = Asked()
PER_EPOCH = 7


def yolo(folder: Path) -> Found:
    return described(ultralytics.read(folder, ASKED), ASKED)


def losses(file: Path, entries: object) -> Found:
    write(file, json.dumps(entries))
    return described(history.read(file, ASKED), ASKED)


def run_of(home: Home, adopted: Adopted) -> Run:
    return MlflowStore(home).run(adopted.key)


def measured(home: Home, key: str) -> dict[tuple[str, int], str]:
    """Every value of every curve as the dashboard gets it, NaN as text."""
    store = MlflowStore(home)
    names = store.metric_names([key])
    return {
        (metric, step): repr(value)
        for (_, metric), series in store.series([key], names).items()
        for step, value in zip(series.steps, series.values, strict=True)
    }


def events_of(adopted: Adopted) -> list[object]:
    return [e.event for e in read_events(WorkDir(Path(adopted.work_dir)).events)]


def test_an_ultralytics_run(home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "train7", 5)
    adopted = take_in(home, [yolo(folder)])
    assert (adopted.values, adopted.checkpoints, adopted.best_epoch) == (5 * PER_EPOCH, 3, 4)
    run = run_of(home, adopted)
    assert (run.name, run.trainer, run.status, run.epochs) == (
        "train7", "ultralytics", "finished", 5
    )  # fmt: skip
    assert (run.headline, run.best_epoch, run.best["val/mAP50-95"]) == ("val/mAP50-95", 4, 0.31)
    assert run.params == {"task": "detect", "data": "coco8.yaml", "epochs": "5", "lr0": "0.01"}
    assert (run.tags["imported"], run.tags["source"]) == ("ultralytics", str(folder))
    assert len(measured(home, run.key)) == 5 * PER_EPOCH
    kept = {Path(c.path).name: c for c in MlflowStore(home).checkpoints(run.key)}
    assert {name: c.sha256 for name, c in kept.items()} == {
        name: sha256(folder / "weights" / name) for name in ("best.pt", "last.pt", "epoch1.pt")
    }
    assert kept["best.pt"].epoch == 4
    assert (WorkDir(Path(run.work_dir)).path / "source" / "args.yaml").is_file()


def test_an_mmengine_run_executes_nothing(home: Home, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    folder = mmengine_run(tmp_path / "work", 3, mark=str(mark))
    (folder / "epoch_2.pth").write_bytes(pickle.dumps(Bomb(mark)))
    adopted = take_in(home, [described(mmengine.read(folder, ASKED), ASKED)])
    assert not mark.exists()
    run = run_of(home, adopted)
    assert (run.status, run.best_epoch, run.epochs) == ("finished", 3, 3)
    assert run.params["train_cfg.max_epochs"] == "3"
    assert len(MlflowStore(home).checkpoints(run.key)) == 4
    assert str(mark) in (Path(run.work_dir) / "source" / "config.py").read_text()


def test_the_tables_of_the_brief(home: Home, tmp_path: Path) -> None:
    read = table.read([brief_tables(tmp_path / "adatad")], table.Columns(), ASKED)
    adopted = take_in(home, [described(read, ASKED)])
    assert adopted.values == BRIEF_VALUES == len(measured(home, adopted.key))
    run = run_of(home, adopted)
    assert (run.best_epoch, run.best["val/average_mAP"], run.params) == (59, 0.6864, {})


def test_the_history_of_the_other_brief_keeps_nan(home: Home, tmp_path: Path) -> None:
    entries = [*MDFED, {"epoch": 3, "train_loss": math.nan, "val_loss": math.inf}]
    adopted = take_in(home, [losses(tmp_path / "stage1" / "loss.json", entries)])
    told = measured(home, adopted.key)
    assert (told["train/loss", 3], told["val/loss", 3]) == ("nan", "inf")
    assert len(told) == 4 * 3 + 2


def test_again_is_nothing_new(home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "train", 5)
    first = take_in(home, [yolo(folder)])
    before = (run_of(home, first), Path(first.work_dir, "events.jsonl").read_bytes())
    again = take_in(home, [yolo(folder)])
    assert (again.key, again.nothing_new, again.total_values) == (first.key, True, 5 * PER_EPOCH)
    assert (run_of(home, first), Path(first.work_dir, "events.jsonl").read_bytes()) == before


def test_a_grown_source_adds_only_its_new_epochs(home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "train", 2)
    first = take_in(home, [yolo(folder)])
    assert (first.status, "epoch 2 of 5" in first.reason) == ("stopped", True)
    before = Path(first.work_dir, "events.jsonl").read_bytes()
    ultralytics_run(folder, 4)
    again = take_in(home, [yolo(folder)])
    assert (again.values, again.rewritten, again.checkpoints) == (2 * PER_EPOCH, False, 3)
    assert Path(first.work_dir, "events.jsonl").read_bytes().startswith(before)
    assert len(measured(home, again.key)) == 4 * PER_EPOCH
    started = [e for e in events_of(again) if isinstance(e, RunStarted)]
    assert [e.resumed_from for e in started] == [None, 2]
    assert len(find_runs(connect(home), "training", run=again.key)) == 1
    assert MlflowStore(home).checkpoints(again.key)[-1].epoch == 4
    ultralytics_run(folder, 5)
    assert take_in(home, [yolo(folder)]).status == "finished"


def test_a_rewritten_history_counts_and_is_told(home: Home, tmp_path: Path) -> None:
    """Resumed from the second epoch: the third is another one, the fourth not there yet."""
    file = tmp_path / "run" / "loss.json"
    entries = [{"epoch": e, "val_loss": 9.0 - e} for e in range(1, 5)]
    first = take_in(home, [losses(file, entries)])
    entries[2]["val_loss"] = 7.5
    again = take_in(home, [losses(file, entries[:3])])
    assert (again.key, again.rewritten) == (first.key, True)
    assert measured(home, again.key) == {
        ("val/loss", 1): "8.0", ("val/loss", 2): "7.0", ("val/loss", 3): "7.5",
    }  # fmt: skip
    notes = [e.message for e in events_of(again) if isinstance(e, Noted)]
    assert "rewrote its history from step 3" in notes[0]
    assert run_of(home, again).best == {"val/loss": 7.0}


def test_another_training_in_the_same_place_is_refused(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "run" / "loss.json"
    first = take_in(home, [losses(file, [{"epoch": 1, "loss": 3.0}])])
    other = losses(file, [{"epoch": 1, "loss": 5.0}])
    with pytest.raises(DataError, match=r"another training.*--new"):
        take_in(home, [other])
    assert measured(home, first.key) == {("train/loss", 1): "3.0"}
    second = take_in(home, [other], anew=True)
    assert second.key == f"{first.key}-2"
    assert take_in(home, [other]).key == second.key


def test_following_a_run(home: Home, tmp_path: Path) -> None:
    """The wait is where the training goes on; while it lasts the dashboard sees it running."""
    folder = ultralytics_run(tmp_path / "train", 1)
    heard: list[tuple[int, int]] = []
    tables = iter([ultralytics_table(1)[:-20], ultralytics_table(3), "", ultralytics_table(5),
                   ultralytics_table(5)])  # fmt: skip

    def told(found: Found, values: int) -> None:
        heard.append((len(found.points), values))

    def wait() -> None:
        (running,) = MlflowStore(home).runs()
        assert running.status == "running"
        write(folder / "results.csv", next(tables))

    adopted = take_in(home, polls(lambda: yolo(folder), wait), told=told)
    assert heard == [(1, 7), (3, 14), (5, 14), (5, 0)]
    assert adopted.status == "finished"
    assert len(measured(home, adopted.key)) == 5 * PER_EPOCH
    ends = [e for e in events_of(adopted) if isinstance(e, RunFinished | RunStarted)]
    assert [e.type for e in ends] == ["RunStarted", "RunFinished"]


def interrupted() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_ends_the_following(home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "train", 2)
    adopted = take_in(home, polls(lambda: yolo(folder), interrupted))
    assert (adopted.status, run_of(home, adopted).status) == ("stopped", "stopped")


def test_a_followed_source_that_stays_broken_ends_the_run(home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "train", 2)
    with pytest.raises(DataError, match="empty"):
        take_in(home, polls(lambda: yolo(folder), lambda: (folder / "results.csv").write_text("")
                            and None))  # fmt: skip
    (run,) = MlflowStore(home).runs()
    assert run.status == "stopped"


def test_a_history_rewritten_while_it_is_followed(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "run" / "loss.json"
    reads = [
        losses(file, [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}]),
        losses(file, [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.5}]),
    ]
    adopted = take_in(home, reads)
    assert adopted.rewritten
    assert measured(home, adopted.key)["train/loss", 2] == "2.5"
    assert len(find_runs(connect(home), "training", run=adopted.key)) == 1


def test_one_of_several_best_files_counts(home: Home, tmp_path: Path) -> None:
    folder = mmengine_run(tmp_path / "work", 3)
    write(folder / "best_coco_bbox_mAP_50_epoch_1.pth", "weights 1")
    reads = lambda: [described(mmengine.read(folder, ASKED), ASKED)]  # noqa: E731
    adopted = take_in(home, reads())
    assert run_of(home, adopted).best_epoch == 3
    assert take_in(home, reads()).nothing_new


def test_weights_without_a_best_one(home: Home, tmp_path: Path) -> None:
    """The epoch with the best score names it."""
    folder = mmengine_run(tmp_path / "work", 3)
    (folder / "best_coco_bbox_mAP_epoch_3.pth").unlink()
    run = run_of(home, take_in(home, [described(mmengine.read(folder, ASKED), ASKED)]))
    assert (run.best_epoch, run.best["val/mAP50-95"]) == (3, pytest.approx(0.3))
    assert run.tags["best.path"] == str(folder / "epoch_3.pth")


def test_weights_that_are_gone_are_told(home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "train", 5)
    take_in(home, [yolo(folder)])
    (folder / "weights" / "epoch1.pt").unlink()
    adopted = take_in(home, [yolo(folder)])
    names = {Path(c.path).name for c in MlflowStore(home).checkpoints(adopted.key)}
    assert names == {"best.pt", "last.pt"}


def test_new_parameters_reach_the_run(home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "train", 5)
    take_in(home, [yolo(folder)])
    args = (folder / "args.yaml").read_text() + "experiment: theirs\nodd/näme!: 1\n"
    write(folder / "args.yaml", args)
    run = run_of(home, take_in(home, [yolo(folder)]))
    assert (run.params["source_experiment"], run.params["odd_näme_"]) == ("theirs", "1")


def test_a_lost_database_is_filled_again(home: Home, other_home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "train", 5)
    adopted = take_in(home, [yolo(folder)])
    moved = other_home.work / adopted.key
    Path(adopted.work_dir).rename(moved)
    assert take_in(other_home, [yolo(folder)]).nothing_new
    assert len(measured(other_home, adopted.key)) == 5 * PER_EPOCH
    assert replay(other_home, moved).status == "finished"


def refuse(home: Home, read: Callable[[], Found], error: type[Exception]) -> None:
    with pytest.raises(error):
        take_in(home, [read()])
    assert list(home.work.iterdir()) == []
    assert MlflowStore(home).runs() == []


def test_what_is_refused_leaves_nothing(home: Home, tmp_path: Path) -> None:
    refuse(home, lambda: yolo(tmp_path), DataError)
    broken = ultralytics_run(tmp_path / "train", 5)
    (home.root / "mlflow.db").write_bytes(b"no database")
    with pytest.raises(StoreError):
        take_in(home, [yolo(broken)])
    assert list(home.work.iterdir()) == []


def test_two_imports_at_once(home: Home, tmp_path: Path) -> None:
    folder = ultralytics_run(tmp_path / "train", 2)
    adopted = take_in(home, [yolo(folder)])
    ultralytics_run(folder, 5)
    with WorkDir(Path(adopted.work_dir)).hold(), pytest.raises(BusyError):
        take_in(home, [yolo(folder)])
    assert take_in(home, [yolo(folder)]).values == 3 * PER_EPOCH


def detections(folder: Path, score: float) -> tuple[Path, Path]:
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20],
                         "area": 400, "iscrowd": 0}],
    }  # fmt: skip
    found = [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": score}]
    return (write(folder / "gt.json", json.dumps(truth)),
            write(folder / "pred.json", json.dumps(found)))  # fmt: skip


def test_predictions_become_evidence(home: Home, tmp_path: Path) -> None:
    task = TASKS["detection"]
    files = detections(tmp_path, 0.9)
    weights = write(tmp_path / "best.pt", "weights")
    found = predictions.read(task, files, task.options(), weights)
    adopted = take_in(home, [found])
    run = run_of(home, adopted)
    assert (run.trainer, run.status, run.headline) == ("predictions", "finished", "mAP50-95")
    assert run.best["mAP50-95"] == pytest.approx(1.0)
    assert run.params["task"] == "detection"
    (checkpoint,) = MlflowStore(home).checkpoints(run.key)
    assert checkpoint.sha256 == sha256(weights)
    evidence = load_evidence(Path(run.work_dir) / "evaluation" / "evidence.npz", "detection")
    assert evidence.truth_digest == run.params["data_digest"]
    assert take_in(home, [predictions.read(task, files, task.options(), weights)]).nothing_new
    detections(tmp_path, 0.8)
    write(files[1], "[]")
    again = take_in(home, [predictions.read(task, files, task.options(), weights)])
    assert (again.key, again.nothing_new) == (adopted.key, False)
    assert run_of(home, again).best["mAP50-95"] == 0.0


def test_predictions_that_cannot_be_scored(home: Home, tmp_path: Path) -> None:
    task = TASKS["detection"]
    gt, pred = detections(tmp_path, 0.9)
    write(pred, "{")
    refuse(home, lambda: predictions.read(task, (gt, pred), task.options(), None), DataError)
    refuse(home, lambda: predictions.read(task, (gt, tmp_path / "none"), task.options(), None),
           DataError)  # fmt: skip


def test_times_are_those_of_the_source(home: Home, tmp_path: Path) -> None:
    adopted = take_in(home, [yolo(ultralytics_run(tmp_path / "train", 5))])
    run = run_of(home, adopted)
    assert run.ended is not None
    assert run.ended - run.started == pytest.approx(52.5)
    logged = [
        e
        for e in read_events(WorkDir(Path(adopted.work_dir)).events)
        if isinstance(e.event, MetricsLogged)
    ]
    assert [b.time - a.time for a, b in pairwise(logged)] == [10.5] * 4
