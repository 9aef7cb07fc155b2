"""D03: labels, classes and heads do not fit."""

from typing import Any

from backend.analysis.diagnostics.rules.d03_labels_and_heads import RULE
from tests.support.evidence_made import Made, healthy, labels
from tests.support.rule_checks import clear, fired, unknown


def labelled(**changes: Any) -> Made:
    return healthy().surveyed(labels=(labels("train", 160, 1000, **changes),))


def test_a_wrong_separator_stops_the_run() -> None:
    made = labelled(empty=1000, unknown={"Arm Forward": 600, "Twist 2": 400}, better=" ")
    found = fired(RULE, made)
    assert found.severity == "stop"
    assert "100 % of 1,000 events have no known element" in found.headline
    assert found.advice.change[0].role == "separator"
    assert found.advice.change[0].values == (" ",)
    assert "'Arm Forward' (600)" in found.advice.text


def test_without_a_better_separator_it_asks() -> None:
    found = fired(RULE, labelled(empty=51))
    assert found.severity == "stop"
    assert "the separator" in found.advice.text
    assert not found.advice.change


def test_a_few_unknown_tokens_warn() -> None:
    found = fired(RULE, labelled(empty=50, unknown={"lobb": 3}))
    assert found.severity == "warning"
    assert "'lobb' (3)" in found.headline
    clear(RULE, labelled(empty=50))


def test_a_head_of_another_width_is_an_error() -> None:
    found = fired(RULE, labelled(head=5))
    assert found.severity == "error"
    assert "5 outputs for the 4 classes" in found.headline
    clear(RULE, labelled(head=None))


def test_a_class_id_without_an_output_stops() -> None:
    found = fired(RULE, labelled(highest=4))
    assert found.severity == "stop"
    assert "class id 4" in found.headline
    assert fired(RULE, labelled(highest=4, head=None)).severity == "stop"


def test_a_class_without_training_example() -> None:
    train = labels(
        "train", 160, 620, counts={"near": 300, "far": 320, "lob": 0}, head=3, highest=1
    )
    never = labels("val", 40, 155, counts={"near": 80, "far": 75, "lob": 0}, head=3, highest=1)
    asked = labels("val", 40, 155, counts={"near": 80, "far": 74, "lob": 1}, head=3, highest=2)
    found = fired(RULE, healthy().surveyed(labels=(train, never)))
    assert found.severity == "info"
    found = fired(RULE, healthy().surveyed(labels=(train, asked)))
    assert found.severity == "warning"
    assert "lob, which validation asks for" in found.headline


def test_the_gravest_fault_speaks() -> None:
    found = fired(RULE, labelled(unknown={"lobb": 3}, head=5))
    assert found.severity == "error"
    assert "unknown label tokens" in found.headline


def test_labels_that_were_not_counted_are_unknown() -> None:
    unknown(RULE, healthy().surveyed(labels=()), "did not count")
    unknown(RULE, healthy().replace(survey=None), "did not count")
    clear(RULE, healthy())


def test_without_annotated_training_data_no_class_is_missed() -> None:
    val = labels("val", 40, 155)
    clear(RULE, healthy().surveyed(labels=(val,)))
    bare = labels("train", 160, 0, counts=dict.fromkeys(val.counts, 0))
    clear(RULE, healthy().surveyed(labels=(bare, val)))
