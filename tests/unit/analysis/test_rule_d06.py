"""D06: the validation of the data found something."""

import pytest

from backend.analysis.diagnostics.engine import diagnose, preflight
from backend.analysis.diagnostics.rules.d06_found_wrong import RULE
from tests.support.evidence_made import healthy
from tests.support.rule_checks import clear, fired, unknown
from tests.support.tracks_made import always, refused, tracker, warned

N4 = refused("N4", "the detection database tells no classes (xywhs), but there are 8.", classes=8)
N6 = refused("N6", "the model has 1 classes, the data have 8.", wanted=1, declared=8)
N8 = refused("N8", "the label filter 'person' drops 4 classes.", boxes=400, entirely=4)
S1 = warned("S1", "all scores are 1.", split="", score=1)


def test_errors_stop_and_warnings_stay_warnings() -> None:
    assert fired(RULE, tracker().surveyed(findings=(N4, S1))).severity == "stop"
    found = fired(RULE, tracker().surveyed(findings=(S1,)))
    assert (found.severity, found.headline, found.cause) == (
        "warning",
        "S1: all scores are 1.",
        "",
    )
    assert "Training goes on" in found.advice.text


def test_a_note_alone_is_no_warning() -> None:
    """THUMOS' Ambiguous is left out of every run, as the config has it."""
    note = S1.model_copy(update={"code": "V7", "level": "note"})
    found = fired(RULE, healthy().surveyed(findings=(note,)))
    assert (found.severity, found.advice.text) == ("info", "Nothing: it is as the config has it.")
    mixed = fired(RULE, healthy().surveyed(findings=(note, S1)))
    assert (mixed.severity, mixed.headline[:3]) == ("warning", "S1:")
    assert "Training goes on" in mixed.advice.text
    assert fired(RULE, healthy().surveyed(findings=(note, N4))).severity == "stop"


def test_errors_come_first_and_all_are_told_with_their_numbers() -> None:
    found = fired(RULE, tracker().surveyed(findings=(S1, N4, N6, N8)))
    codes = [found.headline.index(code) for code in ("N4", "N6", "N8", "S1")]
    assert codes == sorted(codes)
    assert found.cause.startswith("N4 (train): the detection database tells no classes")
    numbers = {fact.name: fact.value for fact in found.evidence}
    assert numbers == {
        "N4 (train)": "classes 8", "N6 (train)": "wanted 1, declared 8",
        "N8 (train)": "boxes 400, entirely 4", "S1": "score 1",
    }  # fmt: skip
    assert "start no study" in found.advice.text


def test_one_of_each_kind_is_said_and_the_rest_counted() -> None:
    other = N4.model_copy(update={"split": "val"})
    found = fired(RULE, tracker().surveyed(findings=(N4, other, N6)))
    assert found.headline.index("N4 (train)") < found.headline.index("N6 (train)")
    assert "N4 (train)" in found.headline
    assert "N4 (val)" not in found.headline
    assert found.headline.endswith("data have 8; 1 more of these kinds.")
    assert [fact.name for fact in found.evidence] == ["N4 (train)", "N4 (val)", "N6 (train)"]
    alone = fired(RULE, tracker().surveyed(findings=(N4, other)))
    assert alone.cause == "", "the headline says it"
    assert "'assay check CONFIG'" in alone.advice.text


def test_clean_data_are_clear_and_unvalidated_ones_unknown() -> None:
    clear(RULE, tracker())
    unknown(RULE, tracker().replace(survey=None), "did not validate")
    unknown(RULE, healthy(), "did not validate")
    clear(RULE, healthy().surveyed(validated=True))
    fired(RULE, tracker().surveyed(tracks=(), findings=(N4,)))


@pytest.mark.parametrize("ended", ["", "failed"])
def test_a_run_that_was_refused_is_told_all_of_it(ended: str) -> None:
    """The brief's failed run before its first step."""
    made = tracker(end=ended).first(0).surveyed(findings=(N4, N6, N8))
    said = diagnose(made.evidence())
    assert [finding.rule for finding in said.findings] == ["D06"]
    assert said.state == "sick"
    assert said.verdict.startswith("not worth training: N4 (train): the detection database")
    assert all(code in said.findings[0].headline for code in ("N4", "N6", "N8"))
    assert [f.rule for f in preflight(made.evidence()).findings] == ["D06"]


def test_a_run_that_was_forced_through_is_told_what_it_came_to() -> None:
    """The same run after training: row 6 of the table, and the errors as its cause."""
    said = diagnose(always(top=0.3).surveyed(findings=(N4, N6, N8)).evidence())
    assert [finding.rule for finding in said.findings] == ["D06"]
    assert {"T06", "B01"} <= {finding.rule for finding in said.also_seen} | {"B01"}
    assert "99.9 % of the scores are at most 0.30" in said.findings[0].headline
    assert "Cause: N4 (train): the detection database" in said.findings[0].headline
    assert said.verdict.startswith("nothing is tracked: N4 (train)")
