"""The tables of scores that assay evaluate and compare print."""

import pytest

from backend.catalog import CATALOG
from backend.cli._common import show
from backend.cli.evidence import deltas, per_class, whole
from tests.support.comparisons import data, delta, report


def test_counts_are_whole_numbers_and_shares_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {
        "disc": {"AP": 0.5, "instances": 17.0, "recall": 1.0},
        "star": {"AP": None, "instances": 0.0, "recall": 0.0},
    }
    show(per_class(report(per_class=scores)))
    lines = capsys.readouterr().out.replace("│", " ").splitlines()
    rows = {cells[0]: cells[1:] for cells in map(str.split, lines) if cells}
    assert rows["disc"] == ["0.5000", "17", "1.0000"]
    assert rows["star"] == ["–", "0", "0.0000"]


def test_of_tracking_classes_the_metrics_that_are_read_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = {"Block": {"CLR_FN": 3.0, "HOTA": 0.5, "HOTA@50": 0.6, "IDSW": 2.0}}
    show(per_class(report(task="tracking", per_class=scores)))
    lines = capsys.readouterr().out.replace("│", " ").splitlines()
    assert lines[1].split() == ["class", "┃", "HOTA", "┃", "IDSW"]
    assert lines[-1].split() == ["Block", "0.5000", "2"]


def test_compared_counts_are_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    counts = delta("IDSW", -1.0, 3.0, baseline=1.0, candidate=0.0, unit="count")
    show(deltas("target", data(delta("HOTA", 0.1), counts), 0.95))
    rows = {
        cells[0]: cells[1:4]
        for cells in map(str.split, capsys.readouterr().out.replace("│", " ").splitlines())
        if cells
    }
    assert rows["HOTA"] == ["0.4000", "0.5000", "+0.1000"]
    assert rows["IDSW"] == ["1", "0", "−1"]


def test_of_very_many_metrics_those_of_the_trainer_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    many = {f"CLR_{n}": 1702.0 for n in range(60)} | {"IDSW": 39.0, "cls_HOTA": 0.25}
    show(*whole(report(metrics=many, units=1), "best on val", CATALOG["motrv2"]))
    lines = capsys.readouterr().out.replace("│", " ").splitlines()
    assert lines[0] == "best on val (1 image)"
    assert [line.split() for line in lines[3:5]] == [["cls_HOTA", "0.2500"], ["IDSW", "39"]]
    assert lines[5] == "60 metrics more: --json"
