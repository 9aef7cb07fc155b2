"""D05: events out of place."""

from typing import Any

import pytest

from backend.analysis.diagnostics.rules.d05_events import RULE
from tests.support.evidence_made import Made, healthy, labels
from tests.support.rule_checks import clear, fired, unknown


def annotated(**changes: Any) -> Made:
    return healthy().surveyed(labels=(labels("train", 50, 282, **changes),))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"past_end": 14}, "14 events of 'train' lie past the end"),
        ({"unsorted": 5}, "5 clips of 'train' have events out of order"),
        ({"collisions": 3}, "1.1 % of the events of 'train' share a frame"),
    ],
)
def test_each_defect_warns(fault: dict[str, int], says: str) -> None:
    found = fired(RULE, annotated(**fault))
    assert found.severity == "warning"
    assert says in found.headline


def test_few_collisions_are_no_defect_and_many_ask_for_stride_one() -> None:
    clear(RULE, annotated(collisions=2))
    change = fired(RULE, annotated(collisions=3)).advice.change[0]
    assert (change.role, change.values) == ("stride", (1,))
    assert not fired(RULE, annotated(past_end=1)).advice.change


def test_the_clips_are_named() -> None:
    assert (
        "m3_04" in fired(RULE, annotated(unsorted=1, examples={"unsorted": ("m3_04",)})).headline
    )


def test_splits_that_share_a_match_leak() -> None:
    found = fired(RULE, healthy().surveyed(shared={"train+val": ("match 3",)}))
    assert "train and val share match 3" in found.headline
    assert "no video, image or match is in two splits" in found.advice.text
    assert "annotations" not in found.advice.text, "they are not at fault"
    clear(RULE, healthy().surveyed(shared={"train+val": ()}))


def test_all_that_is_shared_is_counted_and_five_are_named() -> None:
    clips = tuple(f"clip {number}" for number in range(40))
    found = fired(RULE, healthy().surveyed(shared={"train+val": clips}))
    assert "clip 4 and 35 more" in found.headline
    assert found.evidence[0].value == 40


def test_of_what_is_shared_the_record_may_keep_the_number_and_few_names() -> None:
    images = tuple(f"{number}.jpg" for number in range(5))
    leak = {"shared": {"train+val": images}, "shared_counts": {"train+val": 12}}
    found = fired(RULE, healthy().surveyed(**leak))
    assert "4.jpg and 7 more" in found.headline
    assert found.evidence[0].value == 12


def test_what_was_not_checked_is_unknown() -> None:
    unknown(RULE, annotated(past_end=None, unsorted=None, collisions=None), "not checked")
    unknown(RULE, healthy().replace(survey=None), "not checked")
    clear(RULE, healthy())


def test_the_advice_is_for_what_was_found() -> None:
    assert "Stride 1" in fired(RULE, annotated(collisions=3)).advice.text
    assert "Stride 1" not in fired(RULE, annotated(past_end=1)).advice.text
    assert "two splits" not in fired(RULE, annotated(past_end=1)).advice.text
