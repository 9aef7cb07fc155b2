import math
from typing import Any

import pytest

from backend.analysis import text
from backend.analysis.report import markdown
from backend.core.comparisons import (
    Change,
    Family,
    FamilyMember,
    LayerChange,
    MetricDelta,
    Selection,
    UnitDelta,
)
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
                    layer="model.0",
                    parameters=432,
                    relative=0.0,
                    note="equal to the bit",
                    identical=True,
                ),
                LayerChange(
                    layer="model.1",
                    parameters=12_345,
                    relative=0.0371,
                    buffers=4,
                    buffers_moved=("running_mean",),
                ),
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
        "(Euclidean norms). 1 of 3 layers are equal to the bit, buffers included; 1 moved, most "
        "model.1 by 3.7%; 1 could not be compared.",
        "| `model.0` | 432 | 0.00 % | – | equal to the bit |",
        "| `model.1` | 12,345 | 3.71 % | 1 of 4 |  |",
        "| `model.2` | 9 | – | – | x has shape 1 |",
        "Only what differs; nothing is said of what one side does not tell.",
        "| config | `decay` | none | 0.9 |",
        "| config | `freeze` | full | backbone |",
        "| statistics | paired bootstrap over images, 1,000 replicates, seed 0; percentile "
        "intervals at 95 %; margin ±0.01 |",
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
        "## What changed",
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


def test_files_of_predictions_have_no_split() -> None:
    report = markdown(comparison(data(split="")))

    assert "mAP50-95 on 80 images: 0.400" in report
    assert "''" not in report


def test_errors_are_said_to_cost_what_was_measured() -> None:
    """TIDE's costs are in AP at IoU 0.5, whatever the primary metric is."""
    target = data().model_copy(update={"errors": (delta("missed"),)})

    (note,) = (line for line in markdown(comparison(target)).splitlines() if "mended" in line)
    assert note.startswith("How much AP at IoU 0.5 each side would gain")


def test_a_small_report_says_only_what_is_known() -> None:
    report = markdown(comparison())

    heads = [line for line in report.splitlines() if line.startswith("## ")]
    assert heads == ["## On the target data", "## What changed", "## Conditions"]
    assert "The training parameters of the baseline and the candidate are not known." in report


def test_equal_parameters_are_said_to_be_equal() -> None:
    sides = {"baseline": contender("a", lr="1"), "candidate": contender("b", lr="1")}

    assert "Both were trained with the same configuration." in markdown(comparison(**sides))


def test_what_newer_records_hold_is_shown() -> None:
    target = data(
        delta(p_value=0.0001, margin=0.02, interval="bca"),
        delta("mAP50", verdict="undecided", needed=1234, p_value=0.4, interval="percentile"),
    ).model_copy(
        update={
            "errors": (delta("missed", change=-0.02, verdict="better"),),
            "per_unit": (UnitDelta(unit="im|g", baseline=0.1, candidate=0.9, delta=0.8),),
            "unit_metric": "F1",
        }
    )
    picked = contender("new").model_copy(
        update={"selection": Selection(study="s", trials=7, metric="val/mAP50-95")}
    )
    change = Change(kind="environment", name="torch", baseline="2.12", candidate=None)
    said = markdown(comparison(target, candidate=picked, changes=(change,)))

    assert "margin of" not in said.splitlines()[2]
    assert "a paired permutation test gives p <0.001." in said
    assert (
        "| metric | old | new | difference | 95 % interval | p | new wins | margin | verdict | "
        "units needed |"
    ) in said
    assert "| mAP50 | 0.400 | 0.450 | +0.050 | +0.030 to +0.070 | 0.400 | 90 % | – | " in said
    assert "undecided | 1,234 |" in said
    assert "| missed | 0.400 | 0.380 | −0.020 | " in said
    assert "| im\\|g | 0.100 | 0.900 | +0.800 |" in said
    assert "| environment | `torch` | 2.12 | not set |" in said
    assert "picked as the best of 7 trials of study 's' by val/mAP50-95" in said
    assert "BCa or expanded percentile intervals" in said


def test_a_margin_of_ones_own_is_the_one_named() -> None:
    change = delta(verdict="equivalent", change=0.001, spread=0.004, margin=0.03)
    assert "within the margin of ±0.03" in markdown(comparison(data(change)))


def test_several_candidates_at_once() -> None:
    member = FamilyMember(
        label="a|b", value=0.5, delta=0.1, low=0.02, high=0.18, p_value=0.03, verdict="better"
    )
    family = Family(
        task="detection", metric="mAP50-95", direction="maximize", baseline="old",
        baseline_value=0.4, confidence=0.95, margin=0.01, replicates=1000, seed=0, units=80,
        members=(member, member), warnings=("Picked on these.",),
    )  # fmt: skip
    said = markdown(comparison(family=family))
    assert "2 candidates against old in mAP50-95" in said
    assert "| a\\|b | 0.400 | 0.500 | +0.100 | +0.020 to +0.180 | 0.030 | better |" in said
    assert "- Picked on these." in said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.00015, "+0.00015"),
        (-0.026, "−0.026"),
        (0.0, "0"),
        (12345.0, "+12345"),
        (0.0999, "+0.10"),
        (3e-9, "+3.0e−09"),
    ],
)
def test_significant_digits(value: float, said: str) -> None:
    assert text.significant(value) == said


def test_times_and_counts() -> None:
    assert [text.minutes(s) for s in (12.0, 720.0, 7200.0)] == ["12.0 s", "12.0 min", "2.0 h"]
    assert [text.plural(n, "image") for n in (1, 2000)] == ["1 image", "2,000 images"]
