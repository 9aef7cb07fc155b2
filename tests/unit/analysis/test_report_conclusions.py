"""Each sentence of a report: a series where it must be said, and one where it must not."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from backend.analysis.report import outlook
from backend.analysis.report.conclusions import Remark, conclude
from backend.analysis.report.course import Course, course_of
from backend.analysis.report.trends import Watched, trend_of
from backend.core.events import MetricsLogged
from backend.core.records import Finding
from tests.support.comparisons import comparison, data, delta, report
from tests.support.courses import BRIEF, Curves, envelopes, run, started, training
from tests.support.detections import contender

RISING = [0.30 + 0.02 * epoch for epoch in range(12)]
LEVEL = [0.70 + 0.0005 * (-1) ** epoch for epoch in range(12)]
NOISE = list(0.5 + np.random.default_rng(0).normal(0, 0.1, 12))
PEAK = [0.30, 0.50, 0.70, *(0.68 - 0.02 * epoch for epoch in range(10))]
REACHED = [*(0.3 + 0.05 * epoch for epoch in range(7)), 0.59, 0.595, 0.592, 0.594, 0.593]
"""One of each kind of curve."""


def course(curves: Curves, planned: int = 20, headline: str = "val/mAP") -> Course:
    return course_of(training(curves, headline, planned))


def curve(values: list[float], key: str = "val/mAP") -> Mapping[str, Mapping[int, float]]:
    return {key: dict(enumerate(values, start=1))}


def rules(curves: Curves, planned: int = 20) -> dict[str, Remark]:
    return {remark.rule: remark for remark in conclude(course(curves, planned))}


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ("improving", RISING, LEVEL),
        ("improving", RISING, NOISE),
        ("improving", RISING, PEAK),
        ("improving", RISING, REACHED),
        ("improved", REACHED, RISING),
        ("level", LEVEL, NOISE),
        ("level", LEVEL, RISING),
        ("unclear", NOISE, RISING),
        ("unclear", NOISE, LEVEL),
        ("worsening", PEAK, RISING),
        ("overtrained", PEAK, RISING),
        ("overtrained", PEAK, NOISE),
        ("few", [0.1, 0.2, 0.3, 0.4], RISING),
        ("same", NOISE, RISING),
        ("differ", RISING, NOISE),
        ("differ", RISING, LEVEL),
    ],
)
def test_a_curve_is_said_to_be_what_it_is(rule: str, yes: list[float], no: list[float]) -> None:
    assert rule in rules(curve(yes))
    assert rule not in rules(curve(no))


def test_a_large_jump_in_a_short_curve_is_undecided_for_a_reason() -> None:
    said = rules(curve([0.10, 0.11, 0.10, 0.11, 0.60]))["same"].said

    assert said.endswith("and 5 measured epochs are too few to know the scatter.")


def test_an_improvement_says_its_slope_and_what_is_left() -> None:
    found = rules(curve(RISING), planned=30)["improving"]

    assert "+0.020 per epoch (95 % interval +0.020 to +0.020) over epochs 1 to 12" in found.said
    assert found.step == (
        "Train longer (epoch 12 of 30 was reached): the trend of val/mAP is not zero at the end."
    )
    assert "of 12 was reached" not in rules(curve(RISING), planned=12)["improving"].step


def test_a_tiny_trend_is_not_said_to_be_worth_it() -> None:
    slow = [0.70 + 0.0001 * epoch for epoch in range(12)]
    found = rules(curve(slow), planned=30)["improving"]

    assert "less than the 0.01 that counts as a difference" in found.said
    assert "Train longer" not in found.step
    assert "the 18 epochs that are left: even an unbroken trend would change" in found.step
    assert "by only 0.0018" in found.step


def test_where_lower_is_better_all_turns_around() -> None:
    peak = [2.0, 1.0, *(1.1 + 0.1 * epoch for epoch in range(8))]
    down, up = (
        course_of(training(curve(values, "val/loss"), "val/loss", 20, "minimize"))
        for values in ([3.0 - 0.1 * epoch for epoch in range(12)], peak)
    )
    said = {remark.rule: remark.said for remark in conclude(down)}
    after = {remark.rule: remark.said for remark in conclude(up)}

    assert said["best"].startswith("The lowest val/loss is 1.9000, at epoch 12")
    assert "improving" in said
    assert "overtrained" not in said
    assert "at epoch 2" in after["best"]
    assert "it is 1.8000 at epoch 10" in after["overtrained"]


def test_the_best_epoch_and_how_close_the_next_is() -> None:
    assert rules(curve([0.1, 0.5, 0.3]))["best"].said == (
        "The highest val/mAP is 0.5000, at epoch 2 (3 measured); the next, epoch 3, is 0.2000 "
        "from it."
    )
    tie = rules(curve([0.50001, 0.5, 0.1]))["best"].said
    assert "epoch 2, has the same to four digits." in tie
    assert "measured only once" in rules(curve([0.5]))["best"].said


def test_metrics_that_move_against_the_headline() -> None:
    against = {**curve([0.1, 0.2, 0.3]), "val/mAP_0.6": {2: 0.30, 3: 0.25}}
    along = {**curve([0.1, 0.2, 0.3]), "val/mAP_0.6": {2: 0.30, 3: 0.35}}

    assert rules(against)["against"].said == (
        "From epoch 2 to 3, against val/mAP: val/mAP_0.6 falls by 0.0500."
    )
    assert "against" not in rules(along)


def test_a_loss_is_told_with_both_ends_and_its_lowest() -> None:
    down = rules(curve([0.9, 0.4, 0.5], "train/loss"))["loss"].said
    assert down == (
        "train/loss goes from 0.9000 (epoch 1) to 0.5000 (epoch 3); its lowest is 0.4000, at "
        "epoch 2."
    )
    assert "lowest" not in rules(curve([0.9, 0.5, 0.4], "train/loss"))["loss"].said
    assert "loss" not in rules(curve([0.9], "train/loss"))


def test_overfitting_takes_both_trends() -> None:
    falling = curve([1.0 - 0.05 * epoch for epoch in range(10)], "train/loss")
    rising = curve([1.0 + 0.05 * epoch for epoch in range(10)], "val/loss")
    also_falling = curve([1.2 - 0.05 * epoch for epoch in range(10)], "val/loss")

    assert "overfitting" in rules({**falling, **rising})
    assert "overfitting" not in rules({**falling, **also_falling})
    assert "overfitting" not in rules(rising)


def test_values_that_are_no_number_are_left_out() -> None:
    broken = [*RISING[:6], math.nan, math.inf, *RISING[8:]]
    assert "(10 measured)" in rules(curve(broken))["improving"].said
    assert conclude(course(curve([math.nan]))) == []


def test_no_trend_from_four_values() -> None:
    assert trend_of("val/mAP", {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}) is None
    assert trend_of("val/mAP", dict(enumerate(RISING))) is not None
    assert Watched("val/mAP", "maximize", {1: 0.1, 2: 0.1}, 0).best == 1


UNSUPPORTED = (
    "converge", "stable", "12 epochs", "68.60", "improve", "optimis", "utili", "0.37 to 0.38",
    "0.37-0.38", "near",
)  # fmt: skip
"""Words of the claims that the brief's own numbers do not carry."""


def test_the_briefs_own_curve_without_its_claims() -> None:
    found = conclude(course(BRIEF, planned=100, headline="val/average_mAP"))
    said = " ".join(f"{remark.said} {remark.step}" for remark in found)

    assert [word for word in UNSUPPORTED if word in said.lower()] == []
    assert "train/loss goes from 0.5085 (epoch 48) to 0.3768 (epoch 59); its lowest is" in said
    assert "Epochs 57 and 59 cannot be told apart by these numbers" in said
    assert "val/mAP_0.6 falls by 0.0005" in said
    assert "over epochs 49 to 59 (6 measured)" in said
    assert "even an unbroken trend would change val/average_mAP by only 0.0062" in said
    assert "0.6848" not in said, "no gain is claimed over the whole record"


def test_an_ending_before_the_plan() -> None:
    assert outlook.about_ending(course(BRIEF, 100, "val/average_mAP"))[0].said == (
        "100 epochs were planned; the last with values is epoch 59."
    )
    assert outlook.about_ending(course(curve(RISING), 12)) == []


def test_what_a_final_evaluation_cannot_say() -> None:
    def found(**facts: object) -> set[str]:
        return {remark.rule for remark in outlook.about_evaluation(report(**facts), run())}

    assert found(split="val", units=80) == {"used-split"}
    assert found(split="holdout", units=12) == {"few-units"}
    assert found(split="holdout", units=80) == set()
    assert [r.rule for r in outlook.about_evaluation(None, run())] == ["no-evaluation"]


def test_who_is_better_is_said_by_a_comparison_alone() -> None:
    mine, other = run("mine", "mine"), run("other", "other")
    sides = {
        name: contender(name).model_copy(
            update={"checkpoint": contender(name).checkpoint.model_copy(update={"run": name})}
        )
        for name in ("mine", "other")
    }
    made = comparison(data(delta()), baseline=sides["other"], candidate=sides["mine"])

    with_it = outlook.about_comparisons(mine, [made], other)
    without = outlook.about_comparisons(mine, [], other)

    assert [remark.rule for remark in with_it] == ["compared"]
    assert with_it[0].said == (
        "'mine' is better than 'other' in mAP50-95: +0.050 (95 % interval +0.030 to +0.070), on "
        "80 images of 'holdout' (comparison `compare-1`)."
    )
    few = made.model_copy(update={"target": made.target.model_copy(update={"units": 8})})
    assert "8 images of 'holdout', which are too few to rely on it (" in outlook.verdict(few)
    assert [remark.rule for remark in without] == ["not-compared"]
    assert "better is not known" in without[0].said
    assert outlook.about_comparisons(mine, [], None) == []


def test_findings_become_conclusions_and_steps() -> None:
    bad = Finding(rule="not-finite", severity="error", message="train/loss is nan", action="clip")
    told = Finding(rule="ended-early", severity="info", message="the run was stopped")

    assert outlook.about_findings([bad, told]) == [
        Remark("not-finite", "Error: train/loss is nan.", "Clip.")
    ]


def test_an_epoch_that_was_trained_twice_counts_once() -> None:
    def logged(step: int, epoch: int, loss: float) -> MetricsLogged:
        return MetricsLogged(step=step, epoch=epoch, metrics={"train/loss": loss})

    found = course_of(
        envelopes(
            [
                started("val/mAP", 3), logged(1, 1, 1.0), logged(2, 1, 3.0), logged(3, 2, 9.0),
                started("val/mAP", 3, resumed_from=1), logged(3, 2, 1.0), logged(4, 2, 0.5),
            ]
        )
    )  # fmt: skip

    assert found.curves == {"train/loss": {1: 2.0, 2: 0.75}}
    assert found.seconds == {1: 120.0, 2: 120.0}


def test_a_running_mean_counts_as_it_stands_at_the_end_of_its_epoch() -> None:
    points = [
        MetricsLogged(step=1, epoch=1, metrics={"train/loss": 4.0}),
        MetricsLogged(step=8, epoch=1, metrics={"train/loss": 1.5}, ends=True),
        MetricsLogged(step=9, epoch=2, metrics={"train/loss": 3.0}),
        MetricsLogged(step=10, epoch=2, metrics={"train/loss": 1.0}),
    ]
    found = course_of(envelopes([started("val/mAP", 3), *points]))

    assert found.curves == {"train/loss": {1: 1.5, 2: 2.0}}
