"""D02: the input says nothing or is damaged."""

from typing import Any

import pytest

from backend.analysis.diagnostics.rules.d02_input_degenerate import RULE
from backend.core.evidence import Channel, InputQuality
from tests.support.evidence_made import Made, healthy, quality
from tests.support.rule_checks import clear, fired, unknown


def damaged(**changes: Any) -> Made:
    return healthy().surveyed(quality=(quality("train", 100, **changes),))


def test_all_zeros_stop_the_run_and_no_setting_helps() -> None:
    found = fired(RULE, damaged(zero_frames=1.0, zero_units=100))
    assert found.severity == "stop"
    assert found.cause == "100 of 100 skeleton files of 'train' are all zeros"
    assert "start no study" in found.advice.text
    assert not found.advice.change
    assert not found.advice.study


@pytest.mark.parametrize(
    ("broken", "sound", "says"),
    [
        ({"nonfinite": 1}, {"nonfinite": 0}, "no number"),
        ({"integer": 1}, {"integer": 0}, "whole numbers"),
        ({"zero_frames": 0.31}, {"zero_frames": 0.3}, "31 % of the frames"),
        ({"zero_units": 6}, {"zero_units": 5}, "6 of 100 skeleton files"),
        ({"outside": 0.21}, {"outside": 0.2}, "outside the image"),
        ({"mismatched": 2}, {"mismatched": 1}, "another length"),
        ({"swapped": 31}, {"swapped": 30}, "smaller than the far one"),
    ],
)
def test_each_limit_is_the_specifications(
    broken: dict[str, Any], sound: dict[str, Any], says: str
) -> None:
    found = fired(RULE, damaged(**broken))
    assert found.severity == "error"
    assert says in found.headline
    clear(RULE, damaged(**sound))


@pytest.mark.parametrize(
    ("std", "distinct", "says"),
    [(0.9e-6, 5000, "is constant"), (0.4, 15, "takes 15 values only")],
)
def test_a_flat_channel_is_named(std: float, distinct: int, says: str) -> None:
    found = fired(
        RULE, damaged(channels=(Channel(name="velocity x", std=std, distinct=distinct),))
    )
    assert "channel 'velocity x' of 'train'" in found.headline
    assert says in found.headline
    clear(RULE, damaged(channels=(Channel(name="x", std=1.1e-6, distinct=16),)))


def test_the_file_is_named() -> None:
    told = {"integer": ("clip7.pkl (x, y)",)}
    assert "clip7.pkl (x, y)" in fired(RULE, damaged(integer=1, examples=told)).headline


def test_several_faults_are_all_told_the_hopeless_one_first() -> None:
    found = fired(RULE, damaged(nonfinite=3, zero_frames=1.0, zero_units=100))
    assert found.headline.startswith("100 of 100")
    assert "no number" in found.headline
    assert len(found.evidence) == 2


def test_what_was_not_looked_at_is_unknown() -> None:
    unknown(RULE, healthy().surveyed(quality=()), "did not look")
    bare = InputQuality(split="train", units=100)
    unknown(RULE, healthy().surveyed(quality=(bare,)), "did not look")
    unknown(RULE, healthy().surveyed(quality=(quality("train", 0),)), "did not look")
    unknown(RULE, healthy().replace(survey=None), "did not look")
    clear(RULE, healthy())


def test_the_advice_says_which_side_is_sound() -> None:
    flat = damaged(channels=(Channel(name="x", std=0.0, distinct=5000),))
    assert "at least 1e−06 is sound" in fired(RULE, flat).advice.text
    coarse = damaged(channels=(Channel(name="x", std=1.0, distinct=3),))
    assert "3, at least 16 is sound" in fired(RULE, coarse).advice.text
    assert "0.4, at most 0.3 is sound" in fired(RULE, damaged(zero_frames=0.4)).advice.text
