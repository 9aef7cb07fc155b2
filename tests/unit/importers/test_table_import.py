"""Tables of epochs as people type them."""

from pathlib import Path

import pytest

from backend.core.errors import DataError
from backend.importers.source import Asked, Found, described
from backend.importers.table import Columns, read
from tests.support.foreign_runs import (
    BRIEF_VALUES,
    METRIC_TABLE,
    VALIDATION_TABLE,
    brief_tables,
    write,
)


def of(path: Path, text: str, asked: Asked | None = None, **columns: str) -> Found:
    return read([write(path / "t.csv", text)], Columns(**columns), asked or Asked())


def values(found: Found) -> dict[tuple[int, str], float]:
    return {(p.epoch, key): value for p in found.points for key, value in p.metrics.items()}


def test_the_tables_of_the_brief(tmp_path: Path) -> None:
    found = described(read([brief_tables(tmp_path)], Columns(), Asked()), Asked())
    told = values(found)
    assert len(told) == BRIEF_VALUES
    assert told[57, "train/loss"] == 0.3779
    assert told[59, "val/average_mAP"] == 0.6864
    assert told[59, "val/mAP_0.6"] == 0.6195
    assert (58, "val/average_mAP") not in told
    assert (found.headline, found.finished) == ("val/average_mAP", None)
    assert "变化" in found.notes[0]


def test_several_files_are_joined_and_must_agree(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", VALIDATION_TABLE)
    second = write(tmp_path / "b.csv", METRIC_TABLE)
    assert len(values(read([first, second], Columns(), Asked()))) == 6 + 12 - 2
    write(second, METRIC_TABLE.replace("68.64%", "68.66%"))
    with pytest.raises(DataError, match=r"a\.csv says val/average_mAP is 0\.6864 at epoch 59"):
        read([first, second], Columns(), Asked())


@pytest.mark.parametrize(
    "text",
    [
        "epoch,val_f1\n1,0.25\n2,0.5\n",
        "epoch;val_f1\n1;0,25\n2;0,5\n",
        "epoch\tval_f1\n1\t25%\n2\t50 %\n",
        "\ufeff 轮次 , 验证f1 \n 1 , 0.25 \n\n# a remark\n 2 , 0.50 \n",
        "epoch,val_f1\nEpoch 1,２５％\n第2轮,50%",
        "epoch,val_f1,\n1,0.25,\n2,0.5,\n",
    ],
)
def test_every_common_way_of_writing_it(tmp_path: Path, text: str) -> None:
    assert values(of(tmp_path, text)) == {(1, "val/f1"): 0.25, (2, "val/f1"): 0.5}


def test_other_encodings(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    for encoding in ("utf-8-sig", "gb18030", "utf-16"):
        file.write_bytes("轮次,验证损失\n1,0.5\n".encode(encoding))
        assert values(read([file], Columns(), Asked())) == {(1, "val/loss"): 0.5}


def test_holes_are_not_measured_and_nan_is_kept(tmp_path: Path) -> None:
    told = values(of(tmp_path, "epoch,a_loss,b_loss\n1,,nan\n2,-,inf\n3,0.1,–\n"))
    assert {place: repr(value) for place, value in told.items()} == {
        (1, "train/b_loss"): "nan",
        (2, "train/b_loss"): "inf",
        (3, "train/a_loss"): "0.1",
    }


def test_steps_beside_epochs(tmp_path: Path) -> None:
    found = of(tmp_path, "step,epoch,loss\n100,1,2\n200,2,1\n")
    assert [(p.step, p.epoch) for p in found.points] == [(100, 1), (200, 2)]
    found = of(tmp_path, "n,when,loss\n100,1,2\n", step="n", epoch="when")
    assert [(p.step, p.epoch) for p in found.points] == [(100, 1)]


def test_the_later_row_of_an_epoch_counts(tmp_path: Path) -> None:
    found = of(tmp_path, "epoch,loss\n1,3\n2,2\n2,1\n")
    assert values(found)[2, "train/loss"] == 1
    assert found.notes == ("t.csv: epoch 2 is there twice; the later one counts",)


def test_a_growing_file_ends_with_its_last_whole_line(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "epoch,loss\n1,0.5\n2,0.3")
    assert values(read([file], Columns(), Asked(), growing=True)) == {(1, "train/loss"): 0.5}
    assert len(values(read([file], Columns(), Asked()))) == 2
    write(file, "epoch,loss\n1,0.5\n2")
    assert len(values(read([file], Columns(), Asked()))) == 1


def test_names_can_be_mapped(tmp_path: Path) -> None:
    asked = Asked(rename={"Ours": "val/score"}, headline="score", direction="maximize")
    found = described(of(tmp_path, "epoch,Ours\n1,3\n", asked), asked)
    assert found.headline == "val/score"
    assert [(spec.name, spec.direction) for spec in found.specs] == [("score", "maximize")]


def test_an_unknown_direction_is_told(tmp_path: Path) -> None:
    found = described(of(tmp_path, "epoch,happiness\n1,3\n"), Asked())
    assert "--direction" in found.notes[-1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "empty"),
        ("loss\n1\n", "no column names the epoch"),
        ("epoch,loss\n1,many\n", r"line 2, column 'loss': 'many' is no number"),
        ("epoch,loss\nfirst,1\n", "'first' counts nothing"),
        (f"epoch,loss\n{'9' * 20},1\n", "column 'epoch': '9999.* counts nothing"),
        ("a,b," + "c," * 5000 + "d\n", r"there is: a, b, c, .{180,200} \.\.\.; name one"),
        ("epoch,loss\n1,2,3\n", "line 2: 3 cells below 2 names"),
        ("epoch,loss\n1\n2,3\n", "line 2: 1 cells below 2 names"),
        ("epoch,mAP\n1,68%\n2,69\n", r"'68%' \(line 2\) is in percent, '69' \(line 3\) is not"),
        ("epoch,Loss,Total Loss\n1,2,3\n", "both mean train/loss"),
        ("epoch,loss\n", "no measured value"),
        ("epoch,loss\n1,-\n", "no measured value"),
    ],
)
def test_one_sentence_for_each_bad_table(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        described(of(tmp_path, text), Asked())


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.csv or \.tsv file"):
        read([tmp_path], Columns(), Asked())
    with pytest.raises(DataError, match="cannot be read"):
        read([tmp_path / "none.csv"], Columns(), Asked())
    (tmp_path / "x.csv").write_bytes(b"PK\x03\x04\0\0")
    with pytest.raises(DataError, match="not a text file"):
        read([tmp_path / "x.csv"], Columns(), Asked())
    with pytest.raises(DataError, match="no column 'x'"):
        of(tmp_path, "epoch,loss\n1,2\n", epoch="x")
    with pytest.raises(DataError, match="no metric 'x' for the headline"):
        described(of(tmp_path, "epoch,loss\n1,2\n"), Asked(headline="x"))
