"""D04: rare events that weigh too little, and rare classes."""

import pytest

from backend.analysis.diagnostics.rules.d04_imbalance import RULE
from backend.analysis.diagnostics.weighting import weighting_of
from tests.support.evidence_made import Made, healthy, sampled, zeros
from tests.support.rule_checks import clear, fired, unknown

EVEN = {"near": 500, "far": 500}


def stream(positive: int, weight: float, made: Made | None = None) -> Made:
    told = sampled("train", weight, positions=10_000, positive=positive, counts=EVEN)
    return (made or healthy()).surveyed(sampled=(told,))


def test_the_weight_of_events_is_the_specifications() -> None:
    weighting = weighting_of(stream(362, 1.0).evidence())
    assert weighting is not None
    assert weighting.share == pytest.approx(0.0362)
    weighting = weighting_of(stream(362, 5.0).evidence())
    assert weighting is not None
    assert weighting.share == pytest.approx(5 * 0.0362 / (5 * 0.0362 + 1 - 0.0362))


@pytest.mark.parametrize(("positive", "weight"), [(499, 1.0), (300, 10.0)])
def test_rare_and_light_events_are_told(positive: int, weight: float) -> None:
    found = fired(RULE, stream(positive, weight))
    assert found.severity == "info"
    assert f"with weight {weight:g}" in found.headline


@pytest.mark.parametrize(("positive", "weight"), [(500, 1.0), (300, 11.0), (499, 7.0)])
def test_frequent_or_heavy_ones_are_not(positive: int, weight: float) -> None:
    clear(RULE, stream(positive, weight))


def test_a_share_that_is_small_is_not_called_none() -> None:
    assert "they carry <1 % of the loss" in fired(RULE, stream(362, 0.1)).headline


def test_a_run_that_finds_nothing_makes_it_a_warning() -> None:
    found = fired(RULE, stream(362, 1.0, zeros()))
    assert found.severity == "warning"
    assert "(D04)" in found.cause


def test_the_next_action_is_a_weight_and_a_study() -> None:
    advice = fired(RULE, stream(362, 1.0)).advice
    assert advice.change[0].role == "positive_weight"
    assert advice.change[0].values == (5.0,)
    assert advice.study[0].values == (5.0, 10.0, 26.6, 30.0)
    assert fired(RULE, stream(362, 5.0)).advice.change[0].values == (10.0,)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"a": 400, "b": 9}, "rare: b (9)"),
        ({"a": 5000, "b": 45}, "rare: b (45)"),
        ({"a": 500, "b": 45}, "11 times as often"),
    ],
)
def test_rare_classes_are_named(counts: dict[str, int], says: str) -> None:
    told = sampled("train", 50.0, positions=20_000, positive=sum(counts.values()), counts=counts)
    found = fired(RULE, healthy().surveyed(sampled=(told,)))
    assert says in found.headline
    assert found.severity == "info"


def test_without_the_sampled_stream_it_is_unknown() -> None:
    unknown(RULE, healthy().surveyed(sampled=()), "loader yields")
    unknown(RULE, healthy().surveyed(sampled=(sampled("val"),)), "loader yields")
    unknown(RULE, healthy().replace(survey=None), "loader yields")


def test_the_numbers_are_those_of_the_stream() -> None:
    facts = {fact.name: fact.value for fact in fired(RULE, stream(362, 1.0)).evidence}
    assert facts["positions with a label"] == pytest.approx(0.0362)
    assert facts["share of the loss that labels carry"] == pytest.approx(0.0362)
    heavy = sampled("train", 50.0, positions=20_000, positive=409, counts={"a": 400, "b": 9})
    told = fired(RULE, healthy().surveyed(sampled=(heavy,))).evidence
    assert "share of the loss that labels carry" not in {fact.name for fact in told}
