"""Tables of settings, as reports have them."""

from pathlib import Path

import pytest

from backend.core.errors import DataError
from backend.importers.source import Asked, Found
from backend.importers.table import Columns, read
from tests.support.adatad_report import whole_brief
from tests.support.foreign_runs import BRIEF_VALUES, VALIDATION_TABLE, write


def of(folder: Path, *texts: str) -> Found:
    write(folder / "validation.csv", VALIDATION_TABLE)
    for place, text in enumerate(texts):
        write(folder / f"{place}.csv", text)
    return read([folder], Columns(), Asked())


def test_the_whole_brief(tmp_path: Path) -> None:
    found = read([whole_brief(tmp_path)], Columns(), Asked())
    assert sum(len(point.metrics) for point in found.points) == BRIEF_VALUES
    assert found.params["训练时GPU显存"] == "~12.2 GB / 32 GB (38%)"
    assert found.params["Backbone学习率"] == "0 (冻结)"
    assert found.params["优化前 32GB.Batch Size"] == "4"
    assert found.params["优化后 64GB.Batch Size"] == "8"
    assert found.params["训练集.帧采样方法"] == "Random Truncation"
    assert found.params["验证 测试集.帧采样方法"] == "Sliding Window"
    assert not any("提升" in name for name in found.params)
    assert "tiers.csv: column '提升' is left out: a difference, not a setting" in found.notes


def test_markup_is_no_part_of_a_setting(tmp_path: Path) -> None:
    found = of(tmp_path, "Setting;Value\n**Learning rate (base)**;`1e-4`\nlr.head;2\n")
    assert found.params == {"Learning rate base": "1e-4", "lr head": "2"}


def test_two_values_of_one_setting_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0\.csv, line 3: 'batch' is '4' above and '8' here"):
        of(tmp_path / "a", "setting,value\nbatch,4\nbatch,8\n")
    with pytest.raises(DataError, match="'batch' is '8', and '4' in another table"):
        of(tmp_path / "b", "setting,value\nbatch,4\n", "setting,value\nbatch,8\n")
    assert of(tmp_path / "c", "setting,value\nbatch,4\nbatch,4\n").params == {"batch": "4"}


def test_a_table_of_nothing_known_still_asks_for_its_epochs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column names the epoch or step"):
        of(tmp_path, "fruit,price\napple,1\n")
