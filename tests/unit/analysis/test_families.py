import numpy as np
import pytest

from backend.analysis.families import _simultaneous, compare_family
from backend.analysis.settings import ComparisonSettings
from backend.core.comparisons import Family, FamilyMember
from backend.core.errors import ComparisonError
from tests.support.evidence import COUNTS, CountEvidence, counted

FEW = ComparisonSettings(replicates=300)


def family(**candidates: CountEvidence) -> Family:
    return compare_family(COUNTS, ("old", counted(seed=1)), candidates, FEW)


def member(found: Family, label: str) -> FamilyMember:
    return next(one for one in found.members if one.label == label)


def width(one: FamilyMember) -> float:
    assert one.low is not None
    assert one.high is not None
    return one.high - one.low


def test_a_better_candidate_is_found_among_equal_ones() -> None:
    found = family(good=counted(skill=0.8, seed=2), same=counted(seed=3), copy=counted(seed=1))

    assert [one.label for one in found.members] == ["good", "same", "copy"]
    good, same, copy = found.members
    assert good.verdict == "better"
    assert good.p_value is not None
    assert good.p_value < 0.01
    assert same.p_value is not None
    assert same.p_value > 0.05
    assert (copy.delta, copy.low, copy.high, copy.p_value) == (0, 0, 0, 1)
    assert copy.verdict == "equivalent"


def test_more_candidates_make_each_interval_wider() -> None:
    good = counted(skill=0.65, seed=2)
    others = {f"other {seed}": counted(seed=seed) for seed in range(3, 15)}

    alone, among = (member(family(good=good, **more), "good") for more in ({}, others))

    assert alone.delta == among.delta
    assert width(among) > 1.2 * width(alone)
    assert among.p_value is not None
    assert alone.p_value is not None
    assert among.p_value > alone.p_value


def test_copies_of_a_candidate_cost_nothing() -> None:
    """Bonferroni would widen the interval; the resamples know that all are one."""
    good = counted(skill=0.65, seed=2)

    alone = family(good=good)
    many = family(good=good, **{f"copy {n}": good for n in range(10)})

    assert member(many, "good") == member(alone, "good")


def test_less_is_better_where_the_task_says_so() -> None:
    settings = FEW.model_copy(update={"primary": "missed"})
    found = compare_family(
        COUNTS, ("old", counted(seed=1)), {"new": counted(skill=0.9, seed=2)}, settings
    )

    assert (found.metric, found.direction, found.margin) == ("missed", "minimize", 0)
    assert found.members[0].delta is not None
    assert found.members[0].delta < 0
    assert found.members[0].verdict == "better"


def test_of_equal_candidates_one_in_twenty_families_claims_a_winner() -> None:
    """150 families of five: 7.5 give or take 2.7; unadjusted it would be some 25."""
    settings = ComparisonSettings(replicates=200, margin=0)
    claimed = 0
    for trial in range(150):
        old, *new = (counted(40, seed=10 * trial + s, truth=trial) for s in range(6))
        found = compare_family(
            COUNTS, ("old", old), dict(zip("abcde", new, strict=True)), settings
        )
        claimed += any(one.verdict in {"better", "worse"} for one in found.members)

    assert claimed <= 16


def test_few_units_have_no_p_value_and_one_has_no_interval() -> None:
    few = compare_family(COUNTS, ("old", counted(10)), {"new": counted(10, seed=2)}, FEW)
    one = compare_family(COUNTS, ("old", counted(1)), {"new": counted(1, seed=2)}, FEW)

    assert (few.members[0].p_value, few.members[0].low is None) == (None, False)
    assert "Only 10 units carry ground truth" in few.warnings[0]
    assert (one.members[0].low, one.members[0].verdict) == (None, "undecided")


def alike(units: int, hits: int) -> CountEvidence:
    """The same in every unit, so that no resample differs from another."""
    return CountEvidence(np.tile(np.array([hits, 0, 4 - hits]), (units, 1, 1)))


def test_few_units_that_all_differ_by_the_same_decide_nothing() -> None:
    few = compare_family(COUNTS, ("old", alike(5, 1)), {"new": alike(5, 3)}, FEW).members[0]
    many = compare_family(COUNTS, ("old", alike(30, 1)), {"new": alike(30, 3)}, FEW).members[0]

    assert few.delta == many.delta
    assert (few.low, few.verdict) == (None, "undecided")
    assert (many.low, many.verdict) == (many.delta, "better")
    assert many.p_value == pytest.approx(1 / 301)


def test_a_candidate_without_the_metric_takes_nothing_from_the_others() -> None:
    rng = np.random.default_rng(0)
    differences = np.column_stack([rng.normal(0.5, 0.1, 300), np.full(300, np.nan)])

    low, high, p = _simultaneous(differences, 50, 0.95)

    assert 0 < low[0] < high[0]
    assert p[0] < 0.05
    assert np.isnan([low[1], high[1], p[1]]).all()


def test_picking_from_several_is_warned_of() -> None:
    found = family(a=counted(seed=2), b=counted(seed=3))

    assert found.warnings == (
        "Whichever of these 2 candidates is picked, its measured value is likely to be better "
        "than new data will show, as it was picked on these.",
    )
    assert Family.model_validate_json(found.model_dump_json()) == found


def test_families_without_sense_are_refused() -> None:
    with pytest.raises(ComparisonError, match="no candidate to compare"):
        family()
    with pytest.raises(ComparisonError, match="different ground truth"):
        family(new=CountEvidence(counted().found, digest="other"))
    with pytest.raises(ComparisonError, match="'f9' has no paired bootstrap; choose one of f1, m"):
        compare_family(
            COUNTS, ("a", counted()), {"b": counted()}, ComparisonSettings(primary="f9")
        )


def test_an_undefined_metric_stays_undefined() -> None:
    nothing = CountEvidence(np.zeros((30, 2, 3), dtype=np.int64))

    found = compare_family(COUNTS, ("a", nothing), {"b": nothing}, FEW).members[0]

    assert (found.value, found.delta, found.low, found.p_value) == (None,) * 4
    assert found.verdict == "undecided"
