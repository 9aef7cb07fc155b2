"""Boxes against their image."""

import pytest

from backend.datasets.boxes import INVERTED, NOT_FINITE, OUTSIDE, SHARES, TINY, Corners, check_box

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("corners", "problem"),
    [
        ((NAN, 1, 9, 9), NOT_FINITE),
        ((1, 1, INF, 9), NOT_FINITE),
        ((9, 1, 5, 9), INVERTED),
        ((1, 9, 9, 5), INVERTED),
        ((10, 10, 10.4, 20), TINY),
        ((10, 10, 20, 10), TINY),
        ((0.2, 0.2, 0.9, 0.9), SHARES),
        ((100, 10, 140, 20), OUTSIDE),
        ((-40, 10, 0, 20), OUTSIDE),
        ((10, 54, 20, 60), OUTSIDE),
        ((-30, 10, 0.5, 20), TINY),
    ],
)
def test_bad_boxes(corners: Corners, problem: str) -> None:
    checked = check_box(corners, 96, 54)
    assert checked.corners is None
    assert checked.problem == problem


@pytest.mark.parametrize(
    ("corners", "cut", "clipped"),
    [
        ((0, 0, 96, 54), (0, 0, 96, 54), False),
        ((10, 10, 11, 11), (10, 10, 11, 11), False),
        ((-6, 20, 14, 30), (0, 20, 14, 30), True),
        ((80, 30, 130, 70), (80, 30, 96, 54), True),
        ((50, 10, 96.000002, 20), (50, 10, 96, 20), False),
    ],
)
def test_boxes_that_stay(corners: Corners, cut: Corners, clipped: bool) -> None:
    assert check_box(corners, 96, 54) == (cut, "", clipped)
