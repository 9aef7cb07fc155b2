import math
from typing import Any

import pytest

from backend.analysis import text
from backend.analysis.report import markdown
from backend.core.records import LayerChange, MetricDelta
from tests.support.comparisons import comparison, data, delta
from tests.support.detections import contender

ABSENT: dict[str, Any] = dict.fromkeys(("baseline", "candidate", "delta", "low", "high", "wins"))


@pytest.mark.parametrize(
    ("value", "plain", "signed"),
    [
        (0.41234, "0.412", "+0.412"),
        (-0.0411, "−0.041", "−0.041"),
        (0.0, "0.000", "0.000"),
        (-0.0001, "0.000", "0.000"),
        (0.0001, "0.000", "0.000"),
        (None, "–", "–"),
        (math.nan, "–", "–"),
        (math.inf, "–", "–"),
    ],
)
def test_numbers(value: float | None, plain: str, signed: str) -> None:
    assert text.number(value) == plain
    assert text.signed(value) == signed


def test_percent_and_level() -> None:
    assert [text.percent(None), text.percent(0.975), text.percent(1.0)] == ["–", "98 %", "100 %"]
    wins = (None, 0.0, 0.002, 0.5, 0.9975, 1.0)
    assert [text.share(w) for w in wins] == ["–", "0 %", "<1 %", "50 %", ">99 %", "100 %"]
    assert [text.level(0.95), text.level(0.995)] == ["95 %", "99.5 %"]


def whole() -> str:
    per_class = (delta("cat", change=0.1), delta("a|b", **ABSENT, verdict="undecided"))
    return markdown(
        comparison(
            data().model_copy(update={"per_class": per_class}),
            baseline=contender("plain", lr="0.001", seed="0", freeze="full", decay=""),
            candidate=contender("trial 7", lr="0.003", seed="0", freeze="backbone", decay="0.9"),
            source=data(delta(change=-0.2, verdict="worse"), role="source"),
            weights=(
                LayerChange(
                    layer="model.0", parameters=432, relative=0.0, note="equal to the bit"
                ),
                LayerChange(layer="model.1", parameters=12_345, relative=0.0371),
                LayerChange(layer="model.2", parameters=9, relative=None, note="x has shape 1"),
            ),
            warnings=("One run per side.",),
        )
    )


def test_the_verdict_comes_first() -> None:
    lines = whole().splitlines()

    assert lines[0] == "# trial 7 against plain"
    assert lines[2] == (
        "**trial 7** is better than **plain** in mAP50-95 on 80 images of 'holdout': 0.400 → "
        "0.450, a difference of +0.050 with a 95 % interval of +0.030 to +0.070. The interval "
        "lies wholly on the good side of zero; the new one wins in 90 % of the replicates."
    )


@pytest.mark.parametrize(
    "line",
    [
        "| metric | old | new | difference | 95 % interval | new wins | verdict |",
        "| mAP75 | 0.400 | 0.450 | +0.050 | +0.030 to +0.070 | 90 % | better |",
        "| cat | 0.400 | 0.500 | +0.100 | +0.080 to +0.120 | 90 % | better |",
        "| a\\|b | – | – | – | – | – | not present |",
        "On 80 images of 'holdout' of the source domain, mAP50-95 is 0.400 with the old and 0.200 "
        "with the new one: the new one has forgotten more.",
        "| mAP50-95 | 0.400 | 0.200 | −0.200 | −0.220 to −0.180 | 90 % | worse |",
        "(Euclidean norms). 1 of 3 layers are equal to the bit.",
        "| `model.0` | 432 | 0.00 % | equal to the bit |",
        "| `model.1` | 12,345 | 3.71 % |  |",
        "| `model.2` | 9 | – | x has shape 1 |",
        "Only those that differ; 1 others are the same.",
        "| `decay` | none | 0.9 |",
        "| `freeze` | full | backbone |",
        "| statistics | paired bootstrap over images, 1,000 replicates, seed 0; expanded "
        "percentile intervals at 95 %; margin ±0.01 |",
        "| made | 1970-01-01 00:00 UTC, key `compare-1` |",
        "- One run per side.",
    ],
)
def test_the_report_holds_the_evidence(line: str) -> None:
    assert any(found.endswith(line) for found in whole().splitlines())


def test_sections_come_in_order_and_tables_are_whole() -> None:
    report = whole()

    heads = [line for line in report.splitlines() if line.startswith("#")]
    assert heads[1:] == [
        "## On the target data",
        "### Per class",
        "## Forgetting: on the source data",
        "## Weights",
        "## Parameters",
        "## Conditions",
        "## Limits",
    ]
    for block in report.split("\n\n"):
        if block.startswith("|"):
            cells = {line.replace("\\|", "").count("|") for line in block.splitlines()}
            assert len(cells) == 1
    assert not {"nan", "None", "inf"} & set(report.replace("|", " ").split())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (delta(verdict="worse", change=-0.05), ("is worse than", "bad side of zero")),
        (
            delta(verdict="equivalent", change=0.001, spread=0.004),
            ("is equivalent to", "The whole interval lies within the margin of ±0.01"),
        ),
        (
            delta(verdict="undecided", change=0.01, spread=0.04),
            ("cannot be told apart from", "contains zero and reaches beyond the margin of ±0.01"),
        ),
        (
            delta(verdict="undecided", low=None, high=None, wins=None),
            ("cannot be told apart from", "there are too few images for an interval."),
        ),
        (
            delta(verdict="undecided", **ABSENT),
            ("cannot be told apart from", "the metric is undefined on one side."),
        ),
    ],
)
def test_each_verdict_has_its_sentence(change: MetricDelta, words: tuple[str, str]) -> None:
    sentence = markdown(comparison(data(change))).splitlines()[2]

    assert all(word in sentence for word in words)


def test_a_small_report_says_only_what_is_known() -> None:
    report = markdown(comparison())

    heads = [line for line in report.splitlines() if line.startswith("## ")]
    assert heads == ["## On the target data", "## Parameters", "## Conditions"]
    assert "The baseline's training parameters are not known." in report


def test_equal_parameters_are_said_to_be_equal() -> None:
    sides = {"baseline": contender("a", lr="1"), "candidate": contender("b", lr="1")}

    assert "Both were trained with the same parameters." in markdown(comparison(**sides))
