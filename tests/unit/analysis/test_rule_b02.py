"""B02: the network says the same of everything."""

import numpy as np

from backend.analysis.diagnostics.rules.b02_constant_class import RULE
from backend.core.events import PredictionsObserved
from backend.core.evidence import PredictionHistogram
from tests.support.evidence_made import Made, blind, healthy, sampled, zeros
from tests.support.rule_checks import clear, fired, first_step, unknown


def saying(
    predicted: dict[str, int],
    truth: dict[str, int] | None = None,
    auroc: float | None = None,
    background: str = "background",
) -> Made:
    histogram = PredictionHistogram(
        output="event", truth=truth or {"background": 3845, "event": 155}, predicted=predicted,
        background=background, quantiles={"1": 0.2}, auroc=auroc,
    )  # fmt: skip
    return healthy().replace(
        observers=(
            lambda place, step: PredictionsObserved(
                step=step, split="val", histograms=(histogram,)
            ),
        )
    )


def test_all_background() -> None:
    found = fired(RULE, zeros())
    assert found.severity == "error"
    assert "100.0 % of what 'event' says is 'background', with 155 true others" in found.headline
    assert "highest p 0.22" in found.headline
    assert first_step(RULE, zeros()) == 150


def test_all_event_is_as_bad() -> None:
    found = fired(RULE, saying({"event": 4000}))
    assert "is 'event', with 3,845 true others" in found.headline


def test_a_few_predictions_of_the_other_class_are_enough() -> None:
    assert fired(RULE, saying({"background": 3996, "event": 4}))
    clear(RULE, saying({"background": 3995, "event": 5}))
    clear(RULE, healthy())


def test_rare_events_that_are_found_are_no_alarm() -> None:
    """0.05 % of the frames: a good network is at 99.95 % background."""
    truth = {"background": 99_950, "event": 50}
    clear(RULE, saying({"background": 99_960, "event": 40}, truth))
    assert fired(RULE, saying({"background": 99_980, "event": 20}, truth))


def test_twenty_true_ones_are_needed() -> None:
    unknown(RULE, saying({"background": 4000}, {"background": 3981, "event": 19}), "true examples")
    assert fired(RULE, saying({"background": 4000}, {"background": 3980, "event": 20}))


def test_a_detector_that_says_nothing_at_all() -> None:
    found = fired(RULE, saying({}, {"car": 300, "bus": 40}, background=""))
    assert "is nothing, with 340 true others" in found.headline
    found = fired(RULE, saying({"car": 500}, {"car": 300, "bus": 40}, background=""))
    assert "is 'car', with 40 true others" in found.headline
    clear(RULE, saying({"car": 400, "bus": 30}, {"car": 300, "bus": 40}, background=""))


def test_a_score_that_ranks_asks_for_threshold_and_weight() -> None:
    made = saying({"background": 4000}, auroc=0.93).surveyed(sampled=(sampled("train", 1.0),))
    found = fired(RULE, made)
    assert "ranks well (AUROC 0.93)" in found.cause
    assert "with weight 1 they carry 4 % of the loss (D04)" in found.cause
    assert [turn.role for turn in found.advice.change] == ["positive_weight"]
    assert [turn.role for turn in found.advice.study] == ["positive_weight", "threshold"]


def test_a_score_that_says_nothing_asks_for_the_input() -> None:
    found = fired(RULE, saying({"background": 4000}, auroc=0.55))
    assert "says nothing of the input" in found.cause
    assert "D02" in found.advice.text
    assert [turn.role for turn in found.advice.study] == ["lr"]


def test_too_early_or_unobserved_is_unknown() -> None:
    unknown(RULE, zeros().first(4), "a fifth")
    unknown(RULE, healthy().replace(observers=()), "not observed")


def test_a_score_that_gets_better_is_waited_for() -> None:
    """A healthy network says background everywhere for a while after its loss began to fall."""

    def rising(place: int, step: int) -> PredictionsObserved:
        seen = blind(step)
        ranked = seen.histograms[0].model_copy(update={"auroc": 0.5 + 0.06 * min(place, 7)})
        return seen.model_copy(update={"histograms": (ranked,)})

    made = zeros().replace(observers=(rising,))
    clear(RULE, made.first(7))
    assert fired(RULE, made.first(9))
    falling = np.linspace(0.9, 0.3, 24)
    clear(RULE, zeros().with_curves(val_loss=falling))


def test_losses_in_another_unit_change_nothing() -> None:
    for made in (zeros(), healthy(), zeros().with_curves(val_loss=np.linspace(0.9, 0.3, 24))):
        assert RULE.judge(made.evidence()) == RULE.judge(made.scaled(40.0).evidence())
