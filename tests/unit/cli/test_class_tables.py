"""The table of scores per class that assay evaluate prints."""

import pytest

from backend.cli._common import show
from backend.cli.evidence import per_class
from tests.support.comparisons import report


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
