"""Label files, good and bad."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.errors import DataError
from backend.scoring.detection.yolo_labels import Labels, parse_labels

FILE = Path("labels/a.txt")


def parse(text: str, classes: int = 3) -> Labels:
    return parse_labels(text.encode(), FILE, classes)


def test_boxes_are_read_once_each() -> None:
    labels = parse("0 0.5 0.5 0.2 0.1\n\n2 0.1 0.2 0.1 0.1\n0 0.5 0.5 0.2 0.1\n")
    assert labels.rows == ((0, 0.5, 0.5, 0.2, 0.1), (2, 0.1, 0.2, 0.1, 0.1))
    assert not labels.rewrite


def test_an_empty_file_is_a_background() -> None:
    assert parse("").rows == parse(" \n\n").rows == ()


def test_a_byte_order_mark_and_float_classes_are_fine() -> None:
    assert parse("\ufeff1.0 0.5 0.5 0.2 0.1\r\n").rows == ((1, 0.5, 0.5, 0.2, 0.1),)


def test_a_polygon_gives_its_bounds_and_the_file_stays_as_it_is() -> None:
    labels = parse("1 0.1 0.2 0.5 0.2 0.5 0.6\n")
    assert labels.rows[0] == pytest.approx((1, 0.3, 0.4, 0.4, 0.4))
    assert not labels.rewrite


def test_a_mixed_file_is_to_be_rewritten_as_boxes() -> None:
    labels = parse("0 0.5 0.5 0.2 0.1\n1 0.1 0.2 0.5 0.2 0.5 0.6\n")
    assert labels.rewrite
    assert parse(labels.text()).rows == labels.rows


def test_boxes_without_area_are_counted_and_left_out() -> None:
    labels = parse("0 0.5 0.5 0.0 0.1\n1 0.5 0.5 0.2 0.1\n")
    assert labels.flat == 1
    assert len(labels.rows) == 1
    assert labels.rewrite


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("0 0.5 0.5 0.2", "got 4 numbers"),
        ("0 0.5 0.5 0.2 0.1 0.9", "got 6 numbers"),
        ("cat 0.5 0.5 0.2 0.1", "expected numbers, got 'cat"),
        ("3 0.5 0.5 0.2 0.1", r"class id 3, but the dataset has 3 classes \(0 to 2\)"),
        ("-1 0.5 0.5 0.2 0.1", "class id -1"),
        ("1.5 0.5 0.5 0.2 0.1", "whole number, got 1.5"),
        ("nan 0.5 0.5 0.2 0.1", "whole number"),
        ("0 320 240 50 40", "from 0 to 1; got 320"),
        ("0 0.5 nan 0.2 0.1", "from 0 to 1; got nan"),
        ("0 0.5 0.5 -0.005 0.1", "negative size"),
    ],
)
def test_a_wrong_line_is_named(line: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        parse(f"0 0.5 0.5 0.2 0.1\n{line}\n")
    assert f"{FILE}, line 2" in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(DataError, match="must be text"):
        parse_labels(b"\x93NUMPY\xff\xfe", FILE, 3)


share = st.floats(0.01, 0.99)


@given(st.lists(st.tuples(st.integers(0, 2), share, share, share, share), unique=True))
def test_written_rows_are_read_back_exactly(
    rows: list[tuple[int, float, float, float, float]],
) -> None:
    assert parse(Labels(tuple(rows)).text()).rows == tuple(rows)
