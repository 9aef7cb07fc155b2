"""``results.csv`` as it grows."""

import csv
import io
from pathlib import Path

from backend.core.events import Envelope, Event, MetricsLogged, RunFinished
from backend.core.records import MetricSpec
from backend.recording.results import ResultsCsv, columns_of
from backend.trainers.mdfed.spec import SPEC as MDFED
from backend.trainers.yolo.spec import SPEC as YOLO
from tests.support.courses import started

HEADER = "epoch,box_loss,cls_loss,dfl_loss,mAP50,mAP50-95,precision,recall"


def write(path: Path, *events: Event) -> list[str]:
    sink = ResultsCsv(path, YOLO.columns)
    for seq, event in enumerate(events):
        sink.receive(Envelope(seq=seq, time=float(seq), event=event))
    sink.close()
    return path.read_text().splitlines()


def losses(step: int, epoch: int, ends: bool = True) -> MetricsLogged:
    metrics = {"train/box_loss": 1.23456789, "train/cls_loss": 0.5, "train/dfl_loss": 1e-7}
    return MetricsLogged(step=step, epoch=epoch, metrics=metrics, ends=ends)


def validated(step: int, epoch: int) -> MetricsLogged:
    scores = {"val/mAP50": 0.5, "val/mAP50-95": 0.25, "val/precision": 0.0,
              "val/recall": float("nan")}  # fmt: skip
    return losses(step, epoch).model_copy(update={"metrics": losses(1, 1).metrics | scores})


def test_the_header_is_the_brief_s_and_there_before_any_epoch(tmp_path: Path) -> None:
    assert write(tmp_path / "results.csv", started("val/mAP50-95", 2)) == [HEADER]


def test_a_row_per_epoch_and_empty_cells_without_a_validation(tmp_path: Path) -> None:
    lines = write(
        tmp_path / "results.csv",
        *(started("val/mAP50-95", 3), losses(1, 1, ends=False), losses(2, 1), validated(4, 2)),
        *(losses(5, 3, ends=False), RunFinished(status="stopped")),
    )
    assert lines == [
        HEADER,
        "1,1.23457,0.5,1e-07,,,,",
        "2,1.23457,0.5,1e-07,0.5,0.25,0,nan",
    ]


def test_the_file_is_whole_whenever_it_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    sink = ResultsCsv(path, YOLO.columns)
    for seq, event in enumerate([started("val/mAP50-95", 3), losses(2, 1), validated(4, 2)]):
        sink.receive(Envelope(seq=seq, time=float(seq), event=event))
        rows = list(csv.reader(io.StringIO(path.read_text())))
        assert [len(row) for row in rows] == [8] * (seq + 1)
    assert list(tmp_path.iterdir()) == [path]


def test_columns_of_a_trainer_that_names_none() -> None:
    specs = (
        MetricSpec(name="mAP", direction="maximize"),
        MetricSpec(name="loss", direction="minimize"),
        MetricSpec(name="gflops", direction=None),
    )
    assert list(columns_of(specs)) == ["train/loss", "val/mAP", "val/loss"]
    assert {"train/lcl_loss", "val/edit"} <= columns_of(MDFED.metrics).keys()
