"""D01: input files are missing."""

import pytest

from backend.analysis.diagnostics.rules.d01_input_missing import RULE
from tests.support.evidence_made import census, healthy, survey
from tests.support.rule_checks import clear, fired, unknown


@pytest.mark.parametrize(
    ("missing", "severity"),
    [(1, "warning"), (7, "warning"), (8, "error"), (79, "error"), (80, "stop"), (160, "stop")],
)
def test_the_share_of_missing_files_decides(missing: int, severity: str) -> None:
    found = fired(RULE, healthy().surveyed(inputs=(census("train", 160, missing),)))
    assert found.severity == severity
    assert f"{missing} of 160 skeleton files of 'train' are missing" in found.headline
    assert (found.sure, found.step) == ("proven", 0)


def test_it_says_where_and_for_what_it_looked() -> None:
    told = census("train", 160, 40, elsewhere="160 exist as <video>.npz")
    found = fired(RULE, healthy().surveyed(inputs=(told,)))
    for text in ("data/skeletons", "clip0.pkl", "clip4.pkl", "160 exist as <video>.npz"):
        assert text in found.advice.text
    assert found.advice.change[0].role == "missing"


def test_without_input_no_study_is_proposed() -> None:
    told = census("train", 160, 160, policy="zeros")
    found = fired(RULE, healthy().surveyed(inputs=(told,)))
    assert "replaced by zeros" in found.cause
    assert not found.advice.change
    assert not found.advice.study
    assert "start no study" in found.advice.text


def test_the_worst_split_speaks_and_all_are_listed() -> None:
    told = (census("train", 160, 2), census("val", 40, 10), census("test", 0))
    found = fired(RULE, healthy().surveyed(inputs=told))
    assert "'val'" in found.headline
    assert [fact.value for fact in found.evidence] == [10.0, 2.0]


def test_whole_data_is_clear_and_an_uncounted_one_unknown() -> None:
    clear(RULE, healthy())
    unknown(RULE, healthy().surveyed(inputs=()), "did not count")
    unknown(RULE, healthy().replace(survey=None), "did not count")
    unknown(RULE, healthy().replace(survey=survey(inputs=(census("train", 0),))), "did not count")
