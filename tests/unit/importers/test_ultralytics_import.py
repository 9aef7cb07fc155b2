"""Run directories of Ultralytics."""

from pathlib import Path

import pytest

from backend.core.errors import DataError
from backend.importers.source import Asked, described
from backend.importers.ultralytics import read
from tests.support.foreign_runs import STAMP, ultralytics_run, ultralytics_table, write

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]\n" for at in range(1, 12)
)


def test_curves_in_our_names(tmp_path: Path) -> None:
    found = described(read(ultralytics_run(tmp_path / "train7", 5), Asked()), Asked())
    assert [(p.step, p.epoch) for p in found.points] == [(e, e) for e in range(1, 6)]
    assert found.points[1].metrics == {
        "train/box_loss": 1.4, "val/precision": 0.6, "val/recall": 0.5, "val/mAP50": 0.51,
        "val/mAP50-95": 0.31, "val/box_loss": 1.6, "lr/pg0": 0.01,
    }  # fmt: skip
    assert [p.time - STAMP for p in found.points] == [-42, -31.5, -21, -10.5, 0]
    assert found.started == STAMP - 52.5
    assert (found.name, found.headline) == ("train7", "val/mAP50-95")
    assert (found.epochs, found.finished) == (5, True)
    assert found.params == {"task": "detect", "data": "coco8.yaml", "epochs": 5, "lr0": 0.01}


def test_weights_and_their_epochs(tmp_path: Path) -> None:
    """best.pt is rewritten when a later epoch is as good; epoch1.pt counts from 0."""
    found = read(ultralytics_run(tmp_path, 5), Asked())
    weights = {w.path.name: (w.epoch, w.best) for w in found.weights}
    assert weights == {"epoch1.pt": (2, False), "last.pt": (5, False), "best.pt": (4, True)}


def test_epochs_that_count_from_zero(tmp_path: Path) -> None:
    found = read(ultralytics_run(tmp_path, 3, first=0), Asked())
    assert [p.epoch for p in found.points] == [1, 2, 3]


def test_a_running_training(tmp_path: Path) -> None:
    run = ultralytics_run(tmp_path, 2)
    write(run / "results.csv", ultralytics_table(3)[:-30])
    found = read(run, Asked())
    assert [p.epoch for p in found.points] == [1, 2]
    assert found.finished is False


def test_a_training_that_stopped_early_has_its_plot(tmp_path: Path) -> None:
    run = ultralytics_run(tmp_path, 2)
    write(run / "results.png", "plot")
    assert read(run, Asked()).finished is True


def test_a_resumed_training_repeats_an_epoch(tmp_path: Path) -> None:
    table = ultralytics_table(3)
    again = table.splitlines()[2].replace("0.31", "0.33")
    run = ultralytics_run(tmp_path, 3)
    write(run / "results.csv", table + again + "\n")
    points = read(run, Asked()).points
    assert [p.epoch for p in points] == [1, 2, 3]
    assert points[1].metrics["val/mAP50-95"] == 0.33


def test_without_args_and_weights(tmp_path: Path) -> None:
    file = write(tmp_path / "results.csv", ultralytics_table(2))
    found = described(read(file, Asked()), Asked())
    assert (found.params, found.weights, found.finished, found.epochs) == ({}, (), None, 2)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("results.csv", "a,b\n1,2\n", "no column 'epoch'"),
        ("results.csv", "epoch,x\nlast,2\n", "'last' is no number"),
        ("results.csv", "epoch,x\n-1,2\n", "counts nothing"),
        ("args.yaml", "a: [", "not YAML"),
        ("args.yaml", BOMB, "more than 100,000 values"),
        ("args.yaml", "a: &a [*a]", "more than 100,000 values"),
        ("args.yaml", "!!python/object/apply:os.system ['true']", "not YAML"),
        ("args.yaml", "text", "no keys and values"),
    ],
)
def test_one_sentence_for_each_bad_file(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    run = ultralytics_run(tmp_path, 2)
    write(run / name, text)
    with pytest.raises(DataError, match=sentence):
        read(run, Asked())


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no results\.csv"):
        read(tmp_path, Asked())
