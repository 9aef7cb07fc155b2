"""The report of a search: what its trials say and what they do not."""

from typing import Any

import pytest

from backend.analysis.report import curves, study
from backend.analysis.report.study import Search, plain_trial, remarks_of
from backend.core.records import Series, StudyRecord, TrialRecord
from tests.support.comparisons import comparison, data, delta
from tests.support.detections import contender

STRATEGIES = ("full", "backbone", "head-only")
PLAIN: dict[str, Any] = {"freeze.strategy": "full", "lr": 0.001}


def trial(number: int, value: float | None, **params: Any) -> TrialRecord:
    state = params.pop("state", "complete")
    note = params.pop("note", "")
    named = {name.replace("__", "."): given for name, given in params.items()} or PLAIN
    return TrialRecord(
        number=number, state=state, value=value, params=named, run=f"run-{number}", note=note
    )


def made(*trials: TrialRecord, **changes: Any) -> StudyRecord:
    record = StudyRecord(
        name="a|b", metric="val/mAP", direction="maximize", target=12, trials=trials,
        importances={"lr": 0.7, "freeze.strategy": 0.3}, best=1, description="What to freeze",
    )  # fmt: skip
    return record.model_copy(update=changes)


RATES = (0.001, 0.008, 0.002, 0.0005, 0.004)


def search(best: int = 1, *more: TrialRecord, **about: Any) -> Search:
    """Five rates, of which the one at place ``best`` won; the plain one comes first."""
    trials = [
        trial(n, 0.6 + (0.1 if n == best else 0.01 * n), freeze__strategy="full", lr=rate)
        for n, rate in enumerate(RATES)
    ]
    record = made(*trials, *more, best=best)
    return Search(record, strategies=("full",), plain=plain_trial(record), **about)


def said(found: Search) -> dict[str, str]:
    return {remark.rule: remark.said for remark in remarks_of(found)}


def test_the_best_is_named_with_how_it_was_picked() -> None:
    found = said(search())
    assert found["best"] == (
        "Trial 1 has the best val/mAP, 0.7000, 0.0600 from the next, trial 4."
    )
    assert "picked as the best of 5" in found["best-of"]
    alone = said(Search(made(trial(0, 0.5))))
    assert "best-of" not in alone
    assert "the only one with a value" in alone["best"]


def test_plain_fine_tuning_that_won_is_said_to_have_won() -> None:
    assert "None of 4 other trials has a better value" in said(search(0))["plain-best"]
    assert "plain-best" not in said(search())
    assert "no-plain" in said(Search(search().study))


def test_no_improvement_without_a_comparison() -> None:
    before = remarks_of(search())
    assert "so which one is better is not known" in said(search())["not-compared"]
    assert any("assay compare run-0 run-1" in remark.step for remark in before)
    sides = [
        contender(label).model_copy(
            update={"checkpoint": contender(label).checkpoint.model_copy(update={"run": label})}
        )
        for label in ("run-0", "run-1")
    ]
    judged = comparison(data(delta()), baseline=sides[0], candidate=sides[1])
    after = said(search(comparisons=(judged,)))
    assert "not-compared" not in after
    assert after["compared"].startswith("'run-1' is better than 'run-0' in mAP50-95: +0.050 (95 %")


@pytest.mark.parametrize(("best", "end"), [(1, "upper"), (3, "lower"), (2, None)])
def test_the_ends_of_what_was_tried(best: int, end: str | None) -> None:
    found = said(search(best)).get("edge")
    if end is None:
        assert found is None
    else:
        assert found == (
            f"The best trial's `lr`, {RATES[best]:g}, lies at the {end} end of what was tried "
            "(0.0005 to 0.008)."
        )


def test_few_values_have_no_end() -> None:
    few = made(*(trial(n, 0.5 + n, freeze__strategy="full", lr=n) for n in range(3)))
    assert "edge" not in said(Search(few))


def test_strategies_without_a_value() -> None:
    found = search()
    wide = Search(found.study, strategies=STRATEGIES, plain=found.plain)
    assert "`backbone`, `head-only`" in said(wide)["unexplored"]
    assert "unexplored" not in said(found)


def test_failures_and_an_empty_study() -> None:
    broken = trial(5, None, state="failed", note="out of | memory", lr=1.0)
    assert said(search(1, broken))["failed"] == (
        "1 of 6 trials failed, the first: out of \\| memory."
    )
    assert "failed" not in said(search())
    assert list(said(Search(made()))) == ["nothing"]


def test_the_plain_trial_is_the_recipe_that_the_study_began_with() -> None:
    first = trial(0, None, state="failed")
    again = trial(2, 0.5)
    other = trial(1, 0.6, freeze__strategy="head-only", lr=0.001)
    assert plain_trial(made(first, other, again)) == again
    assert plain_trial(made(other, again)) is None, "it began with something else"
    assert plain_trial(made(first)) is None


@pytest.mark.parametrize(
    "line",
    [
        "# Study report: a\\|b",
        "5 trials of 12 asked for (5 complete); val/mAP is to be maximized.",
        "| `freeze.strategy` | full (5) |",
        "| `lr` | 0.0005 (1), 0.001 (1), 0.002 (1), 0.004 (1), 0.008 (1) |",
        "| trial | `freeze.strategy` | `lr` | state | val/mAP |",
        "| 1 (best) | full | 0.008 | complete | 0.7000 |",
        "| 0 (plain) | full | 0.001 | complete | 0.6000 |",
        "| `lr` | 70 % |",
    ],
)
def test_every_table_is_there(line: str) -> None:
    assert line in study.document(search()).markdown().splitlines()


def test_curves_of_trials() -> None:
    one = Series(steps=(1, 2, 3), values=(0.1, 0.2, 0.3), times=(0.0, 1.0, 2.0))
    drawn = curves.of_study(search().study, {1: one, 4: one})
    assert [">trial 4<" in found.svg for found in drawn] == [True]
    assert "the 2 best, over their training" in drawn[0].about
    assert curves.of_study(made(), {}) == []
