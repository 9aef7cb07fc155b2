"""MOT files as people have them: every layout, and one clear sentence for what is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.scoring.evidence import Scores
from backend.scoring.tracking.motchallenge import Sequence, read_tracks, tracks
from backend.scoring.tracking.task import TrackingOptions, match, read
from tests.support.tracks import made_sequence, write_sequence

GT = "1,1,10,10,40,40,1,1,1\n2,1,12,10,40,40,1,1,1\n"
PRED = "1,7,10,10,40,40,0.9,1,-1,-1\n2,7,12,10,40,40,0.9,1,-1,-1\n"


def files(tmp_path: Path, gt: str = GT, pred: str = PRED, info: str = "seqLength=3") -> Path:
    (tmp_path / "gt/a/gt").mkdir(parents=True)
    (tmp_path / "gt/a/gt/gt.txt").write_text(gt)
    if info:
        (tmp_path / "gt/a/seqinfo.ini").write_text(f"[Sequence]\nname=a\n{info}\n")
    (tmp_path / "pred").mkdir()
    (tmp_path / "pred/a.txt").write_bytes(pred.encode())
    return tmp_path


def scored(folder: Path, **options: Any) -> Scores:
    return read(folder / "gt", folder / "pred", TrackingOptions(**options)).scores()


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        scored(folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "pred",
    [
        "1,7,10,10,40,40\n2,7,12,10,40,40\n",
        "1,7,10,10,40,40,0.9\n2,7,12,10,40,40,0.9\n",
        "1,7,10,10,40,40,0.9,-1,-1\n2,7,12,10,40,40,0.9,-1,-1\n",
        "1,7,10,10,40,40,-1,-1,-1,-1\n2,7,12,10,40,40,-1,-1,-1,-1\n",
        "1,7,10,10,40,40,-1,4.4852,5.5016,0\n2,7,12,10,40,40,-1,1,5,0\n",
        "1,7,10,10,40,40,0.9,\n2,7,12,10,40,40,0.9,\n",
        "1,7.0,10,10,40,40,0.9,1.0,1\n2.0,7,12,10,40,40,0.9,1,1\n",
        "\ufeff1,7,10,10,40,40\r\n\r\n2,7,12,10,40,40\r\n",
        "1, 7, 10, 10, 40, 40 \n   \n2, 7, 12, 10, 40, 40\n",
        "1 7 10 10 40 40 0.9\n2\t7  12 10 40 4e1 0.9",
        "\n2,7,12,10,40,40\n1,7,10,10,40,40\n\n",
    ],
)
def test_rows_as_people_write_them(tmp_path: Path, pred: str) -> None:
    scores = scored(files(tmp_path, pred=pred))
    assert scores.metrics["HOTA"] == scores.metrics["cls_HOTA"] == 1
    assert scores.warnings == ()


@pytest.mark.parametrize(
    ("pred", "said"),
    [
        ("frame,id,x,y,w,h\n1,7,10,10,40,40\n", "line 1: 'frame,id"),
        ("1,7,10,10,40,40\n\n2,seven,12,10,40,40\n", "line 3: '2,seven"),
        ("1,7,10,10,40,40\n2,7,nan,10,40,40\n", "line 2: box nan,10,40,40"),
        ("1,7,10,10,40,40\n2,7,12,10,inf,40\n", "line 2: box 12,10,inf,40"),
        ("1,7,10,10,40,40\n2,7,12,1e300,40,40\n", "line 2: box 12,1e+300"),
        ("1,7,10,10,40,40\n2,7,12,10\n", "line 2: box 12,10,nan,nan"),
        ("1,7,10\n", "expected frame,id,x,y,w,h"),
        ("1,7,10,10,-40,40\n", "line 1: box 10,10,-40,40 has a negative size"),
        ("0,7,10,10,40,40\n", "line 1: frame 0"),
        ("1.5,7,10,10,40,40\n", "line 1: frame 1.5"),
        ("1,7,10,10,40,40\n4,7,10,10,40,40\n", "line 2: frame 4, but sequence 'a' has 3"),
        ("1,-1,10,10,40,40\n", "line 1: id -1"),
        ("1,7.5,10,10,40,40\n", "line 1: id 7.5"),
        ("1,1e17,10,10,40,40\n", "line 1: id 1e+17"),
        ("1,7,10,10,40,40\n1,8,0,0,4,4\n1,7,1,1,40,40\n", "line 3: id 7 a second time in frame 1"),
        ("1,7,10,10,40,40,1,1.5,1\n", "line 1: class 1.5"),
        ("1,7,10,10,40,40,1,-2,1\n", "line 1: class -2"),
        ("1,7,10,10,40,40,1,1,1\n2,7,10,10,40,40,1,-1,1\n", "line 2: no class, though"),
        ("1,7,10,10,40,40,1,1\n2,7,10,10,40,40,1\n", "line 2: class nan"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(tmp_path: Path, pred: str, said: str) -> None:
    message = refusal(files(tmp_path, pred=pred))
    assert message.startswith(str(tmp_path / "pred" / "a.txt"))
    assert said in message


def test_a_wrong_row_of_ground_truth_is_named_by_its_line_too(tmp_path: Path) -> None:
    gt = "1,1,0,0,0,-5,0,1,1\n" + GT + "9,1,10,10,40,40,1,1,1\n"
    message = refusal(files(tmp_path, gt=gt))
    assert "gt.txt, line 4: frame 9, but sequence 'a' has 3 frames" in message


@pytest.mark.parametrize("content", [b"\xff\xfe1\x00,\x00", b"\x89PNG\r\n\x1a\n\xff"])
def test_a_file_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    folder = files(tmp_path)
    (folder / "pred/a.txt").write_bytes(content)
    assert "not a text file" in refusal(folder)


def test_rows_of_mark_zero_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    gt = GT + "1,9,200,10,40,40,0,1,1\n2,9,200,10,40,40,0.0,7,1\n"
    gt += "1,2,100,10,40,40,1,8,1\n"  # 8 is a "distractor" to MOTChallenge
    pred = PRED + "1,8,100,10,40,40,0.9,8,-1,-1\n"
    scores = scored(files(tmp_path, gt=gt, pred=pred))
    assert scores.metrics["gt_dets"] == scores.metrics["TP"] == 3
    assert set(scores.per_class) == {"1", "8"}
    assert scores.metrics["cls_MOTA"] == 1


def test_nothing_predicted_scores_zero_and_says_so(tmp_path: Path) -> None:
    scores = scored(files(tmp_path, pred=""))
    metrics = scores.metrics
    assert (metrics["HOTA"], metrics["MOTA"], metrics["FN"], metrics["ML"]) == (0, 0, 2, 1)
    assert (metrics["LocA"], metrics["cls_HOTA"]) == (1, 0)
    assert scores.warnings == ("There are no predictions at all.",)


@pytest.mark.parametrize("pred", [PRED, "1,7,10,10,40,40\n2,7,12,10,40,40", ""])
def test_no_ground_truth_leaves_rates_undefined(tmp_path: Path, pred: str) -> None:
    scores = scored(files(tmp_path, gt="", pred=pred))
    for name in ("HOTA", "MOTA", "IDF1", "cls_HOTA", "det_HOTA"):
        assert scores.metrics[name] is None
    assert scores.metrics["FP"] == (2 if pred else 0)
    assert scores.per_unit["a"]["MOTA"] == 0
    assert "The ground truth has no boxes" in scores.warnings[0]


def test_boxes_without_area_match_nothing_and_are_counted(tmp_path: Path) -> None:
    scores = scored(files(tmp_path, pred="1,7,10,10,0,40\n2,7,12,10,40,40\n"))
    assert (scores.metrics["FP"], scores.metrics["TP"]) == (1, 1)
    assert "1 boxes have no area" in scores.warnings[0]


def test_classes_that_only_the_tracker_knows_are_false_positives(tmp_path: Path) -> None:
    scores = scored(files(tmp_path, pred=PRED + "1,8,0,0,9,9,0.9,4\n2,8,0,0,9,9,0.9,4\n"))
    assert scores.per_class["4"]["FP"] == 2
    assert scores.metrics["FP"] == 2
    assert scores.metrics["cls_HOTA"] == 1
    assert "4 (2)" in scores.warnings[0]


def test_a_classless_tracker_on_several_classes_is_scored_without_them(tmp_path: Path) -> None:
    folder = files(
        tmp_path, gt=GT + "1,2,100,10,40,40,1,2,1\n", pred=PRED.replace(",1,-1", ",-1,-1")
    )
    evidence = read(folder / "gt", folder / "pred", TrackingOptions())
    scores = evidence.scores()
    assert scores.metrics["TP"] == 2
    assert scores.metrics["cls_HOTA"] is scores.metrics["det_HOTA"] is None
    assert scores.per_class == {}
    assert "name no classes" in scores.warnings[0]
    labelled = scored(files(tmp_path / "b", gt=GT + "1,2,100,10,40,40,1,2,1\n"))
    assert labelled.metrics["HOTA"] == scores.metrics["HOTA"]
    table = evidence.table(np.ones((1, 1), dtype=np.uint16))[0]
    undefined = {c for c, value in zip(evidence.columns, table, strict=True) if np.isnan(value)}
    assert undefined == {c for c in evidence.columns if c.label or c.metric.startswith("cls_")}


def test_ground_truth_without_classes_has_one(tmp_path: Path) -> None:
    gt = "1,1,10,10,40,40,1,-1,-1,-1\n2,1,12,10,40,40,1,-1,-1,-1\n"
    scores = scored(files(tmp_path, gt=gt, pred=PRED.replace(",0.9,1,", ",0.9,3,")))
    assert scores.metrics["cls_HOTA"] == 1
    assert set(scores.per_class) == {"1"}
    assert "names no classes" in scores.warnings[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "\ufeffcar\nbus\n\n"),
        ("names.json", '{"1": "car", "2": "bus"}'),
        ("names.json", '{"base": 1, "classes": ["car", "bus"]}'),
        ("names.json", '["car", "bus"]'),
    ],
)
def test_classes_are_named_by_a_file(tmp_path: Path, name: str, text: str) -> None:
    folder = files(tmp_path)
    (folder / name).write_text(text)
    scores = scored(folder, classes=str(folder / name))
    assert scores.per_class["car"]["HOTA"] == 1
    assert scores.per_class["bus"] == {**scores.per_class["bus"], "HOTA": 0, "LocA": 1, "FN": 0}
    (folder / "gt/classes.json").write_text('{"1": "lorry"}')
    assert set(scored(folder).per_class) == {"lorry"}
    for given in ("x,y", Path("x,y"), ("x", "y")):
        assert set(scored(folder, classes=given).per_class) == {"x", "y"}


def test_a_class_without_a_name_is_refused(tmp_path: Path) -> None:
    folder = files(tmp_path, pred=PRED + "1,8,0,0,9,9,0.9,4\n")
    message = refusal(folder, classes=("car", "bus"))
    assert "pred/a.txt, line 3: class 4 is not among the 2 named ones (1, 2)" in message


@pytest.mark.parametrize(
    ("name", "text"),
    [("n.json", "{"), ("n.json", "7"), ("n.json", '{"x": "car"}'), ("n.json", "[1, 2]"),
     ("n.txt", "car\ncar\n"), ("n.txt", ""), ("absent.txt", None)],
)  # fmt: skip
def test_broken_class_names(tmp_path: Path, name: str, text: str | None) -> None:
    folder = files(tmp_path)
    if text is not None:
        (folder / name).write_text(text)
    assert name in refusal(folder, classes=str(folder / name))


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = files(tmp_path)
    (folder / "gt/b/gt").mkdir(parents=True)
    (folder / "gt/b/gt/gt.txt").write_text(GT)
    assert "no predictions for b; expected b.txt" in refusal(folder)
    with pytest.raises(DataError, match="one file for 2 sequences"):
        read(folder / "gt", folder / "pred/a.txt", TrackingOptions())
    with pytest.raises(DataError, match="no such file or folder of predictions"):
        read(folder / "gt", folder / "nowhere", TrackingOptions())
    with pytest.raises(DataError, match="no such folder of ground truth"):
        read(folder / "nowhere", folder / "pred", TrackingOptions())
    with pytest.raises(DataError, match="no ground truth found"):
        read(folder / "pred", folder / "pred", TrackingOptions())


def test_predictions_for_unknown_sequences_are_named(tmp_path: Path) -> None:
    folder = files(tmp_path)
    (folder / "pred/z.txt").write_text(PRED)
    (folder / "gt/hidden").mkdir()
    (folder / "gt/hidden/seqinfo.ini").write_text("[Sequence]\nseqLength=9\n")
    warnings = " ".join(scored(folder).warnings)
    assert "not scored: z." in warnings
    assert "for want of gt/gt.txt: hidden." in warnings


def test_without_seqinfo_the_length_is_open(tmp_path: Path) -> None:
    scores = scored(files(tmp_path, info="", pred=PRED + "9,7,0,0,9,9,1,1\n"))
    assert scores.metrics["FP"] == 1
    assert "without seqinfo.ini: a." in scores.warnings[0]


@pytest.mark.parametrize("info", ["seqLength=many", "seqLength=0", "frames=3"])
def test_a_broken_seqinfo(tmp_path: Path, info: str) -> None:
    message = refusal(files(tmp_path, info=info))
    assert "seqinfo.ini" in message
    assert "seqLength" in message


def test_layouts_of_folders(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        gt, pred = write_sequence(tmp_path, name, *made_sequence(seed))
    expected = read(gt, pred, TrackingOptions()).scores()
    assert list(expected.per_unit) == ["a", "b"]

    assert read(gt.parent, pred, TrackingOptions()).scores() == expected
    (tmp_path / "tracker").mkdir()
    moved = pred.rename(tmp_path / "tracker" / "data")
    assert read(gt, moved.parent, TrackingOptions()).scores() == expected

    alone = read(gt / "a", moved, TrackingOptions()).scores()
    assert alone.metrics["HOTA"] == expected.per_unit["a"]["HOTA"]
    single = read(gt / "a/gt/gt.txt", moved / "a.txt", TrackingOptions()).scores()
    assert single.model_copy(update={"warnings": alone.warnings}) == alone
    (tmp_path / "val").mkdir()
    (gt / "b").rename(tmp_path / "val" / "b")
    with pytest.raises(DataError, match="has sequences in gt, val; name one"):
        read(tmp_path, moved, TrackingOptions())


def test_a_box_each_with_its_own_id_is_refused_before_memory_is_full() -> None:
    many = 200_000
    rows = np.tile([1.0, 0, 0, 0, 4, 4], (many, 1))
    rows[:, 1] = np.arange(many)
    one = tracks(rows[:1])
    with pytest.raises(DataError, match="does every box have an id of its own"):
        match([Sequence("a", None, one, tracks(rows, "a.txt"))])


def test_rows_in_memory_are_checked_alike() -> None:
    with pytest.raises(DataError, match="mine, row 2: frame 0"):
        tracks(np.array([[1.0, 1, 0, 0, 4, 4], [0, 1, 0, 0, 4, 4]]), "mine")
    with pytest.raises(DataError, match="mine: expected frame,id"):
        tracks(np.zeros((3, 4)), "mine")
    one = tracks(np.array([[1.0, 1, 0, 0, 4, 4]]))
    with pytest.raises(DataError, match="same name"):
        match([Sequence("a", 1, one, one), Sequence("a", 1, one, one)])
    with pytest.raises(DataError, match="no sequences"):
        match([])


def test_numbers_are_read_to_the_last_bit(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    rows = np.column_stack([np.arange(1, 301), np.ones(300), chance.uniform(0, 900, (300, 4))])
    np.savetxt(tmp_path / "a.txt", rows, delimiter=",", fmt="%.17g")
    assert (read_tracks(tmp_path / "a.txt").boxes == rows[:, 2:6]).all()
