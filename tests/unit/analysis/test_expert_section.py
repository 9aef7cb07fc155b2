"""The part of a training's report that is about its experts."""

import pytest

from backend.analysis.experts import DenseTwin, solo_by_class, solo_matrix
from backend.analysis.report.experts import blocks
from backend.core.experts import ExpertReport
from tests.support.expert_reports import report, router

TWIN = DenseTwin(run=None, differs=(), fair=False, better=None, said="No dense run; train one")


def text_of(given: ExpertReport, dense: DenseTwin | None = None) -> str:
    return "\n".join(str(block) for block in blocks(given, dense))


def test_a_run_without_experts_has_no_section() -> None:
    assert blocks(None, TWIN) == []


def test_the_section_names_dead_experts_and_holds_what_one_asks_for() -> None:
    dead = (router("token", 1.0, 0.0), router("query/0", 0.6, 0.4))
    found = text_of(report(routers=dead, solo_ap=((0.4, 0.1), (0.2, 0.3))), dense=TWIN)
    assert "- dead: b was never chosen (the token router)." in found
    assert "- No dense run; train one" in found
    assert "| a | x | 100.0 % | 60.0 % | 0.600 | 0.800 | 3 |" in found
    assert "| x | 3 | 0.80\\* | 0.20 |" in found
    assert "| y | 1 | 0.30 | 0.70\\* |" in found
    assert "| small | 0 | – | – |" in found
    assert "| x | 0.40\\* | 0.20 |" in found, "alone, with the experts in columns as above"
    assert "0.350 on the classes it is in charge of, 0.150 on others" in found
    assert "at most ln 2 = 0.693" in found


def test_what_was_not_measured_is_left_out() -> None:
    found = text_of(report(losses=(), supervised=False))
    assert "works alone" not in found
    assert "| a | x | 50.0 % | 60.0 % | – | – | – |" in found
    assert "routing not supervised" in found


def test_names_are_no_markup() -> None:
    assert "a\\|b" in text_of(report(experts=("a|b", "c")))


def test_both_views_of_the_experts_alone_agree() -> None:
    measured = report(solo_ap=((0.4, 0.1), (0.2, None)))
    rows, columns = solo_matrix(measured), solo_by_class(measured)
    assert rows is not None
    assert columns is not None
    assert columns.values == ((0.4, 0.2), (0.1, None))
    assert columns.owners == (0, 1)
    assert (columns.rows, columns.columns) == (rows.columns, rows.rows)
    assert solo_by_class(report()) is None


@pytest.mark.parametrize("count", [1, 2])
def test_kinds_without_routers_have_no_column(count: int) -> None:
    found = text_of(
        report(routers=(router("token", 0.5, 0.5), router("query/0", 0.5, 0.5))[:count])
    )
    assert ("use (query router)" in found) is (count == 2)
