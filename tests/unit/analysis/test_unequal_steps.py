"""A longer training is not taken for a better recipe."""

import pytest

from backend.analysis.caveats import about_sides, unequal_steps
from backend.analysis.reports import Reports
from backend.core.comparisons import Contender
from backend.core.records import EvalReport
from tests.support.detections import contender


def trained(label: str, steps: int | None) -> Contender:
    return contender(label).model_copy(update={"steps": steps})


def reports() -> Reports:
    report = EvalReport(
        task="detection", trainer="made", checkpoint="c", data="d", split="val", data_digest="0",
        evaluator="e", units=1, metrics={},
    )  # fmt: skip
    return report, report


@pytest.mark.parametrize(("old", "new"), [(1000, 1051), (1000, 3000), (3000, 1000)])
def test_clearly_different_numbers_of_steps_are_told(old: int, new: int) -> None:
    (warning,) = about_sides((trained("a", old), trained("b", new)), reports())[1:]
    assert f"for {old:,} optimizer steps and the candidate for {new:,}" in warning
    assert "shows no effect of anything else" in warning


@pytest.mark.parametrize(
    ("old", "new"), [(1000, 1000), (1000, 1050), (None, 1000), (1000, None), (None, None)]
)
def test_about_as_many_steps_or_unknown_ones_are_not(old: int | None, new: int | None) -> None:
    assert unequal_steps(old, new) == []


def test_two_checkpoints_of_one_run_differ_in_nothing_else() -> None:
    sides = [
        side.model_copy(update={"checkpoint": side.checkpoint.model_copy(update={"run": "run-1"})})
        for side in (trained("a", 1000), trained("b", 3000))
    ]
    assert about_sides((sides[0], sides[1]), reports()) == (
        "Both are of one run, which speaks for these two weight files, not for their recipes.",
    )
