"""Detection databases: three orders of fields, keys in every spelling, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.datasets.tracking import read_mot
from backend.datasets.tracking.detection_db import (
    DatabaseOptions,
    DetectionDatabase,
    parse_database,
    read_database,
)
from backend.datasets.tracking.detection_fields import DatabaseError
from backend.datasets.tracking.detection_keys import KeyRule, frame_key
from backend.datasets.tracking.proposals import with_proposals
from tests.support import tracking_folders as made

GOLDEN = Path(__file__).parents[4] / "shared" / "golden" / "mot" / "det_db_cases.json"


def golden() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["cases"]
    return cases


def rows(database: DetectionDatabase) -> dict[str, list[list[float]]]:
    """As the golden cases have them: x, y, w, h, class from 1 or -1, score."""
    return {
        key: [
            [*database.boxes[at], label + 1 if label >= 0 else -1, database.scores[at]]
            for at, label in zip(range(*span), database.labels[slice(*span)].tolist(), strict=True)
        ]
        for key, span in database.rows.items()
    }


def parse(*lines: str, **options: Any) -> DetectionDatabase:
    return parse_database({"val/a/img1/000001": list(lines)}, DatabaseOptions(**options))


def kind(*lines: str, **options: Any) -> str:
    with pytest.raises(DatabaseError) as caught:
        parse(*lines, **options)
    assert "\n" not in str(caught.value)
    return caught.value.kind


@pytest.mark.skipif(not GOLDEN.exists(), reason="../shared/golden/mot is not there")
def test_every_golden_case() -> None:
    cases = golden()
    assert cases
    for case in cases:
        options = DatabaseOptions(
            case["fields"], case["num_classes"], tuple(case["image_wh"]),
            KeyRule(Path("/data/mot")),
        )  # fmt: skip
        if case["expect_error"]:
            with pytest.raises(DatabaseError) as caught:
                parse_database(case["det_db"], options)
            assert caught.value.kind == case["expect_error"], case["name"]
            continue
        found = parse_database(case["det_db"], options)
        assert rows(found) == case["expect_rows"], case["name"]
        assert found.constant_score == (case["expect_warning"] == "CONSTANT_SCORE"), case["name"]


@pytest.mark.parametrize(
    "key",
    [
        "val/a/img1/000007", "val/a/img1/00000007.txt", "val\\a\\img1\\7.jpg",
        "./val/a/img1/07.PNG", "val/a/7", "/data/mot/val/a/img1/7.txt",
        "C:\\sets\\mot\\val\\a\\img1\\00000007.txt",
        "/elsewhere/x/val/a/img1/007.txt",
    ],
)  # fmt: skip
def test_spellings_of_one_key(key: str) -> None:
    assert frame_key(key, KeyRule(Path("/data/mot"))) == "val/a:7"


def test_what_a_key_keeps() -> None:
    rule = KeyRule(Path("/data/mot"))
    assert frame_key("MOT17/images/train/x/img1/000001.txt", rule) == "MOT17/images/train/x:1"
    assert frame_key("crowd/Images/273271,c9db.txt", rule) == "crowd/Images:273271,c9db"
    assert frame_key("val/a/frames/3", KeyRule(images=frozenset({"frames"}))) == "val/a:3"


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (["1,2,3,4,0.5"], "xywhs"),
        (["1,2,3,4,1,0.5"], "xywhcs"),
        (["1,2,3,4,0.5,1"], "xywhsc"),
        (["1,2,3,4,1,1", "1,2,3,4,3,1"], "xywhcs"),
        (["1,2,3,4,1,1", "1,2,3,4,0,2"], "xywhsc"),
        (["1,2,3,4,3.0,1.0"], "xywhcs"),
        (["1141.00,421.00,192.00,350.00,1,1.000000"], "xywhcs"),
        (["1141.00,421.00,192.00,350.00,1.000000,1"], "xywhsc"),
    ],
)
def test_the_order_of_fields_is_decided_over_the_whole_file(lines: list[str], fields: str) -> None:
    assert parse(*lines).fields == fields


@pytest.mark.parametrize(
    "lines",
    [["1,2,3,4,1,1"], ["1,2,3,4,1.0,1.0"], ["1,2,3,4,2,3"], ["1,2,3,4,0.5,0.7"]],
)
def test_an_undecidable_order_is_refused(lines: list[str]) -> None:
    assert kind(*lines) == "FIELD_ORDER"


def test_a_declared_order_is_taken() -> None:
    assert parse("1,2,3,4,1,1", fields="xywhsc").labels.tolist() == [0]
    told = {"_meta": {"fields": "xywhsc"}, "val/a/img1/1": ["1,2,3,4,1,1"]}
    assert parse_database(told).fields == "xywhsc"
    with pytest.raises(DatabaseError, match="says that its fields are xywhsc"):
        parse_database(told, DatabaseOptions("xywhcs"))
    assert kind("1,2,3,4,1,1", fields="xyxys") == "FIELD_ORDER"
    assert kind("1,2,3,4,1,1", fields="xywhs") == "FIELD_COUNT"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1,2,3,4", "FIELD_COUNT"),
        ("1,2,3,4,5,6,7", "FIELD_COUNT"),
        ("1,2,3,4,nan", "NOT_A_NUMBER"),
        ("1,2,inf,4,0.5", "NOT_A_NUMBER"),
        ("1,2,,4,0.5", "NOT_A_NUMBER"),
        ("1,2,three,4,0.5", "NOT_A_NUMBER"),
        ("1,2,0,4,0.5", "BAD_BOX"),
        ("1,2,3,4,1.5", "BAD_SCORE"),
        ("1,2,3,4,-0.1", "BAD_SCORE"),
        ("1,2,3,4,0,0.5", "CLASS_OUT_OF_RANGE"),
        ("0.1,0.2,0.3,0.4,0.5", "NORMALISED_BOXES"),
        ("600,10,700,20,0.5", "CORNER_BOXES"),
    ],
)
def test_what_is_refused(line: str, expected: str) -> None:
    size = (1000, 500) if expected == "CORNER_BOXES" else None
    fields = "xywhcs" if expected == "CLASS_OUT_OF_RANGE" else "auto"
    assert kind(line, fields=fields, classes=8, size=size) == expected


def test_an_error_names_the_frame_and_the_line() -> None:
    with pytest.raises(DatabaseError, match=r"val/a:2: .*'9,9,0,9,0.5'"):
        parse_database({"val/a/img1/1": ["1,2,3,4,0.5"] * 3, "val/a/img1/2": ["9,9,0,9,0.5"]})


def test_classes_that_count_from_zero_are_named_as_that() -> None:
    with pytest.raises(DatabaseError, match="seem to count from 0"):
        parse("1,2,3,4,0,0.5", "1,2,3,4,1,0.5", classes=2)
    told = {"_meta": {"class_base": 0, "classes": ["x", "y"]}, "val/a/img1/1": ["1,2,3,4,1,0.5"]}
    found = parse_database(told)
    assert (found.labels.tolist(), found.names) == ([1], ("x", "y"))
    with pytest.raises(DatabaseError, match="1 to 2"):
        parse_database(told | {"val/a/img1/2": ["1,2,3,4,2,0.5"]})


def test_four_detections_of_six_fields_stay_four() -> None:
    """The original reads them as five boxes where nothing is annotated."""
    assert parse(*["1,2,3,4,1,0.5"] * 4).boxes.shape == (4, 4)


def test_frames_without_detections(tmp_path: Path) -> None:
    path = tmp_path / "db.json"
    path.write_text(json.dumps({"val/a/img1/1": [], "val/a/img1/2": ["\n"]}))
    found = read_database(path)
    assert found.rows == {"val/a:1": (0, 0), "val/a:2": (0, 0)}
    assert found.boxes.shape == (0, 4)
    assert not found.constant_score


@pytest.mark.parametrize(
    "content",
    [[], {"k/1": "1,2,3,4,5"}, {"k/1": [[1, 2, 3, 4, 5]]}, {"_meta": 3},
     {"_meta": {"class_base": 2}, "k/1": ["1,2,3,4,1,0.5"]}, {"_meta": {"classes": "ab"}}],
)  # fmt: skip
def test_another_form_is_refused(content: object) -> None:
    with pytest.raises(DatabaseError) as caught:
        parse_database(content)
    assert caught.value.kind == "FORMAT"


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "db.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_database(tmp_path / "db.json")
    with pytest.raises(DataError, match="no such file"):
        read_database(tmp_path / "none.json")


@pytest.mark.parametrize("prefix", ["", "set/", "other/set/", "/far/away/", "C:\\far\\"])
def test_proposals_reach_their_frames(tmp_path: Path, prefix: str) -> None:
    root = made.clean(tmp_path / "set")
    found = {prefix + key: lines for key, lines in made.detections(root).items()}
    split = with_proposals(read_mot(root, "val"), parse_database(found))
    (sequence,) = split.sequences
    assert sequence.keyed is not None
    assert sequence.keyed.all()
    third = sequence.frame(2)
    assert third.number == 3
    assert third.proposals.shape == (5, 4)
    assert third.proposals[0] == pytest.approx([70, 40, 20, 20])
    assert third.proposal_scores[0] == 0.2
    assert third.proposal_classes.tolist() == [0, 0, 1, 2, 0]


def test_frames_without_a_key_have_no_proposals(tmp_path: Path) -> None:
    root = made.clean(tmp_path / "set")
    (sequence,) = with_proposals(
        read_mot(root, "val"), parse_database({"val/c/img1/2": ["1,2,3,4,0.5"]})
    ).sequences
    assert sequence.keyed is not None
    assert np.flatnonzero(sequence.keyed).tolist() == [1]
    assert len(sequence.frame(0).proposals) == 0
    assert sequence.frame(1).proposal_classes.tolist() == [-1]


def test_a_database_of_several_data_sets(tmp_path: Path) -> None:
    """The one below the right folder counts; two that fit equally well are refused."""
    root = made.clean(tmp_path / "set")
    split = read_mot(root, "val")
    two = {"set/val/c/img1/1": ["1,2,3,4,0.5"], "other/val/c/img1/1": ["5,6,7,8,0.5"]}
    (sequence,) = with_proposals(split, parse_database(two)).sequences
    assert sequence.frame(0).proposals.tolist() == [[1, 2, 3, 4]]
    unclear = {"x/val/c/img1/1": ["1,2,3,4,0.5"], "y/val/c/img1/1": ["5,6,7,8,0.5"]}
    with pytest.raises(DataError, match="x/val/c and as y/val/c"):
        with_proposals(split, parse_database(unclear))


@pytest.mark.parametrize("fields", ["xywhs", "xywhcs", "xywhsc"])
def test_a_database_without_any_detection(fields: str) -> None:
    database = parse_database({"_meta": {"fields": fields}, "val/a/img1/000001": []})
    assert database.fields == fields
    assert database.rows == {"val/a:1": (0, 0)}
    assert len(database.scores) == 0
