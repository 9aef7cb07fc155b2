"""The report of a search with two objectives names its front, not a best trial."""

import pytest

from backend.analysis.report import curves, study
from backend.analysis.report.study import Search, plain_trial, remarks_of
from backend.core.records import StudyRecord
from tests.support.fronts import DOWN, TRIALS, UP, made


def search(record: StudyRecord) -> Search:
    return Search(record, strategies=("full", "moderate"), plain=plain_trial(record))


def said(record: StudyRecord) -> dict[str, str]:
    return {remark.rule: remark.said for remark in remarks_of(search(record))}


def only(*numbers: int, front: tuple[int, ...]) -> StudyRecord:
    trials = tuple(TRIALS[number] for number in numbers)
    return made().model_copy(update={"trials": trials, "front": front})


def test_the_front_is_named_with_where_it_reaches() -> None:
    found = said(made())
    assert found["front"].startswith(
        "4 of 6 trials are on the Pareto front, trials 2, 5, 1 and 4: no trial is better"
    )
    assert found["front-reach"] == (
        f"It reaches from {UP} 0.6000 with {DOWN} 0.3000 (trial 2) to {UP} 0.3000 with {DOWN} "
        "−0.0100 (trial 4)."
    )
    assert "They were picked from 6 by these values" in found["front-of"]
    assert not {"best", "best-of", "edge"} & found.keys(), "no trial is called the best"
    steps = [remark.step for remark in remarks_of(search(made()))]
    assert any("`assay compare run-2 run-4 --split holdout`" in step for step in steps)


def test_plain_fine_tuning_is_dominated_or_on_the_front() -> None:
    assert said(made())["plain"].startswith(
        f"Plain full fine-tuning (trial 0, {UP} 0.5000 with {DOWN} 0.2000) is not on the front: "
        "trial 5 dominates it"
    )
    alone = said(only(0, 1, front=(0, 1)))
    assert "is on the front: no trial dominates it" in alone["plain-front"]


def test_a_front_of_one_and_a_study_of_one() -> None:
    assert "Trial 5 alone is on the Pareto front" in said(only(0, 5, front=(5,)))["front"]
    assert "none of 1 other trial is better in either" in said(only(0, 5, front=(5,)))["front"]
    assert "is the only one with values" in said(only(0, front=(0,)))["front"]
    assert list(said(only(7, front=()))) == ["nothing"]


@pytest.mark.parametrize(
    "line",
    [
        "9 trials of 12 asked for (6 complete, 1 failed, 1 pruned, 1 running); "
        f"{UP} is to be maximized and {DOWN} is to be minimized.",
        "## Pareto front",
        f"| trial | `freeze.strategy` | `runner.optimizer.lr.all` | {UP} | {DOWN} |",
        "| 4 | minimal | 0.0005 | 0.3000 | −0.0100 |",
        "| 0 (plain) | full | 0.0001 | complete | 0.5000 | 0.2000 |",
        "| 5 (front) | full | 0.0006 | complete | 0.5500 | 0.1500 |",
        "| 7 | full | 0.0008 | pruned |  |  |",
        f"| parameter | share of {UP} | share of {DOWN} |",
        "| `freeze.strategy` | 70 % | 20 % |",
    ],
)
def test_every_table_is_there(line: str) -> None:
    assert line in study.document(search(made())).markdown().splitlines()


def test_the_front_is_drawn() -> None:
    (drawing,) = curves.of_study(made(), {})
    assert "the line joins the Pareto front" in drawing.about
    for words in (f"{UP} against {DOWN}", "dominated", "Pareto front"):
        assert words in drawing.svg
