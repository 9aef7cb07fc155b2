"""Numbers, times and signs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.formatting import count, duration, moment, number, percent, plain, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.61234, "0.6123"),
        (0.05, "0.0500"),
        (0, "0.0000"),
        (-0.031, "−0.0310"),
        (1.23456, "1.235"),
        (12.3456, "12.35"),
        (1234.56, "1235"),
        (0.0008, "0.0008"),
        (0.00041234, "4.12e−4"),
        (2.5e7, "2.50e7"),
        (None, "–"),
        (math.nan, "NaN"),
        (-math.inf, "−∞"),
    ],
)
def test_metrics_have_four_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_a_shown_number_is_near_the_number(value: float) -> None:
    shown = float(number(value).replace("−", "-"))
    assert shown == pytest.approx(value, rel=0.006, abs=5.1e-5 if value >= 5e-4 else 0)


@pytest.mark.parametrize(
    ("value", "text"), [(0.03, "+0.0300"), (-0.03, "−0.0300"), (0.0, "0.0000"), (None, "–")]
)
def test_differences_carry_their_sign(value: float | None, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.0003162277660168379", "0.0003162"),
        (1e-5, "1e−5"),
        (0.5, "0.5"),
        ("1.10", "1.10"),
        ("AdamW", "AdamW"),
        ("", "–"),
        (None, "–"),
        (True, "True"),
    ],
)
def test_parameters_are_cut_where_they_are_long(value: object, text: str) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (65, "1 min 05 s"), (3720, "1 h 02 min"), (90000, "1 d 1 h"), (None, "–")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_small_words() -> None:
    assert percent(0.9912) == "99.1 %"
    assert percent(None) == "–"
    assert count(1, "run") == "1 run"
    assert count(1200, "run") == "1,200 runs"
    assert moment(None) == "–"
    assert moment(0.0)[:4] in ("1969", "1970")
