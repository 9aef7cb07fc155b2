"""Curves over a run's validations, and one report as matrices."""

import math

import pytest

from backend.analysis.experts import (
    affinity_change,
    at_step,
    changes,
    class_matrix,
    entropies,
    final_of,
    kinds,
    losses_over_time,
    over_time,
    solo,
    solo_matrix,
    usage_of,
    usage_over_time,
    validations,
)
from backend.core.errors import StoreError
from backend.core.experts import Affinity, ExpertReport
from tests.support.expert_reports import report, router


def course() -> list[ExpertReport]:
    """Two validations, then the final evaluation of the first."""
    first = report(step=10, routers=(router("token", 0.5, 0.5), router("query/0", 0.8, 0.2),
                                     router("query/1", 0.4, 0.6)))  # fmt: skip
    second = report(step=20, routers=(router("token", 0.9, 0.1), router("query/0", 1.0, 0.0),
                                      router("query/1", 0.5, 0.5)))  # fmt: skip
    return [first, second, first.model_copy(update={"solo_ap": ((0.4, 0.1), (None, 0.3))})]


def test_the_final_report_stands_apart() -> None:
    reports = course()
    assert final_of(reports) is reports[-1]
    assert [r.step for r in validations(reports)] == [10, 20]
    assert final_of(reports[:2]) is None
    assert final_of(reports[:1]) is None
    best_was_last = [*reports[:2], reports[1]]
    assert final_of(best_was_last) is best_was_last[-1]


def test_a_report_is_found_by_its_step() -> None:
    reports = course()
    assert at_step(reports) is reports[-1]
    assert at_step(reports, 10) is reports[0], "the validation, not the final evaluation"
    with pytest.raises(StoreError, match="no validation at step 15; there is: 10, 20"):
        at_step(reports, 15)
    with pytest.raises(StoreError, match="nothing is known of experts"):
        at_step([])


def test_many_steps_are_not_all_listed() -> None:
    with pytest.raises(StoreError, match=r"there is: 0, 1, 2, 3, \.\.\., 46, 47, 48, 49$"):
        at_step([report(step=step) for step in range(50)], 99)


def test_usage_is_a_mean_over_query_layers_and_sums_to_one() -> None:
    heat = usage_over_time(course(), "query")
    assert (heat.experts, heat.steps) == (("a", "b"), (10, 20))
    assert heat.values[0] == pytest.approx((0.6, 0.75))
    assert heat.values[1] == pytest.approx((0.4, 0.25))
    assert usage_over_time(course(), "token").values == ((0.5, 0.9), (0.5, 0.1))
    assert usage_over_time([], "token").values == ()


def test_entropies_come_with_the_largest_that_they_can_be() -> None:
    found = entropies(course(), "token")
    assert found.bound == math.log(2)
    assert found.usage == pytest.approx((math.log(2), 0.3250829733914482))
    assert found.share(found.usage)[0] == pytest.approx(1)
    alone = report(experts=("a",), groups=(("x", "y"),), routers=(router("token", 1.0),))
    assert entropies([alone], "token").share((0.0,)) == (0.0,)


def test_a_quantity_is_averaged_over_layers_never_pooled() -> None:
    line = over_time(course(), "query", "load_balance")
    assert line.steps == (10, 20)
    # each layer's 2 * sum(usage^2): 1.36 and 1.04; pooling the layers first would give 1.04
    assert line.values[0] == pytest.approx(1.2)
    assert over_time([report(routers=())], "query", "z_loss").steps == ()


def test_kinds_are_those_that_a_report_knows() -> None:
    assert kinds(course()[0]) == ("token", "query")
    assert kinds(report(routers=(router("query/0", 0.5, 0.5),))) == ("query",)
    assert usage_of(report(routers=()), "token") == ()


def test_losses_by_expert_leave_out_what_is_not_defined() -> None:
    reports = [report(step=1, objects=(3, 0)), report(step=2, objects=(3, 1))]
    val, per_object = losses_over_time(reports), losses_over_time(reports, "per_object")
    assert val["a"].steps == val["b"].steps == (1, 2)
    assert per_object["b"].steps == (2,), "no object, no loss per object"
    assert losses_over_time(reports, "train")["a"].values == (0.7, 0.7)
    assert losses_over_time([report(train_losses=())], "train") == {}


def test_the_affinity_matrix_has_holes_and_owners() -> None:
    affinity = Affinity(rows=("x", "y"), objects=(4, 0), matrix=((0.9, 0.1), None))
    matrix = class_matrix(report(classes_to_experts=affinity))
    assert matrix.values == ((0.9, 0.1), (None, None))
    assert (matrix.rows, matrix.columns) == (("x", "y"), ("a", "b"))
    assert (matrix.counts, matrix.owners) == ((4, 0), (0, 1))
    sizes = class_matrix(report(), "sizes")
    assert sizes.rows == ("small", "medium", "large")
    assert sizes.owners == (None, None, None)


def test_solo_is_at_home_against_elsewhere() -> None:
    final = course()[-1]
    found = solo(final)
    assert found is not None
    assert found.own == pytest.approx(0.35)
    assert found.others == pytest.approx(0.1)
    assert found.ratio == pytest.approx(3.5)
    matrix = solo_matrix(final)
    assert matrix is not None
    assert (matrix.rows, matrix.columns) == (("a", "b"), ("x", "y"))
    assert solo(course()[0]) is None
    assert solo_matrix(course()[0]) is None


def test_solo_without_elsewhere_has_no_ratio() -> None:
    found = solo(report(solo_ap=((0.4, None), (None, 0.2))))
    assert found is not None
    assert (found.others, found.ratio) == (None, None)
    nothing = solo(report(solo_ap=((0.4, 0.0), (0.0, 0.2))))
    assert nothing is not None
    assert nothing.ratio is None


def test_two_reports_beside_each_other() -> None:
    first, second = course()[:2]
    found = {change.name: change for change in changes(first, second)}
    assert found["token usage of a"].delta == pytest.approx(0.4)
    assert found["token usage of a"].better is None, "neither more nor less use is better"
    assert found["query load_balance"].delta == pytest.approx(1.5 - 1.2)
    assert found["loss of a"].better == "lower"
    assert found["AP of y"].delta == 0
    unseen = second.model_copy(update={"per_class": {"x": 0.5, "y": None}})
    assert {c.name: c.delta for c in changes(first, unseen)}["AP of y"] is None
    grown = first.model_copy(update={"routers": first.routers[:1]})
    assert {c.name: c.delta for c in changes(grown, second)}["query usage of a"] is None


def test_affinities_subtract_where_both_are_known() -> None:
    new = Affinity(rows=("x", "y"), objects=(4, 0), matrix=((0.6, 0.4), None))
    matrix = affinity_change(report(), report(classes_to_experts=new))
    assert matrix.values[0] == pytest.approx((-0.2, 0.2))
    assert matrix.values[1] == (None, None)


def test_reports_of_other_experts_or_classes_are_not_compared() -> None:
    other = report(experts=("a", "c"))
    with pytest.raises(StoreError, match="different experts: a, b and a, c"):
        changes(report(), other)
    renamed = report().classes_to_experts.model_copy(update={"rows": ("x", "z")})
    with pytest.raises(StoreError, match="different classes: x, y and x, z"):
        affinity_change(report(), report(classes_to_experts=renamed))
