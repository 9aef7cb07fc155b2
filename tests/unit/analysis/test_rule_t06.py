"""T06: the scores are at most the threshold at which a track begins."""

from typing import Any

import numpy as np

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.rules.t06_threshold_too_high import RULE
from tests.support.evidence_made import healthy
from tests.support.rule_checks import clear, fired, first_step, unknown
from tests.support.tracks_made import always, fresh, seeing, swept, told, tracker


def test_scores_between_a_tenth_and_the_threshold() -> None:
    """The specification's own run: 91 % right, and nothing over 0.5."""
    found = fired(RULE, always(top=0.46))
    assert found.severity == "error"
    assert found.headline == (
        "0 tracks in 160 frames: 99.9 % of the scores are at most 0.46, and a track begins at "
        "0.5; at 0.4 there would be 62 tracks with HOTA 0.200."
    )
    assert "the threshold is too high for scores that are still low" in found.cause
    assert found.cause.endswith("though 91 % of the objects have their class on top")
    assert [f.value for f in found.evidence[:3]] == [0.46, 0.9 * 0.46, 1.02 * 0.46]
    tracks = {f.name: f.value for f in found.evidence if f.name.startswith("tracks at")}
    assert [*tracks.values()] == [250.0, 125.0, 83.0, 62.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    (turn,) = found.advice.change
    assert (turn.role, turn.values) == ("threshold", (0.4,))
    assert [turn.role for turn in found.advice.study] == ["epochs", "lr"]


def test_few_right_classes_are_no_consolation() -> None:
    """It said 'though 8 % of the objects have their class on top'."""
    made = always(top=0.46).with_curves(val_class_accuracy=np.full(10, 0.08))
    assert fired(RULE, made).cause.endswith("and only 8 % of the objects already have their class "
                                            "on top")  # fmt: skip


def test_the_sweep_s_best_by_classes_is_proposed() -> None:
    levels = tuple(
        s.model_copy(update={"cls_hota": 0.3 if s.threshold == 0.2 else 0.1}) for s in swept(0.46)
    )
    assert "at 0.2 there would" in fired(RULE, always(top=0.46, swept=levels)).headline
    undefined = tuple(s.model_copy(update={"cls_hota": None, "hota": None}) for s in swept(0.46))
    found = fired(RULE, always(top=0.46, swept=undefined))
    assert found.headline.endswith("at 0.4 there would be 62 tracks.")


def test_under_a_tenth_no_threshold_helps() -> None:
    found = fired(RULE, always(top=0.09))
    assert "next to nothing" in found.cause
    assert [turn.role for turn in found.advice.change] == ["epochs"]
    assert "would be" not in found.headline
    assert "Begin tracks" not in found.advice.text
    assert fired(RULE, always(top=0.1, swept=swept(0.3))).advice.change[0].role == "threshold"


def test_a_run_without_class_accuracy_or_sweep_is_judged_too() -> None:
    found = fired(RULE, always(top=0.46, swept=()).without("val/class_accuracy"))
    assert found.headline.endswith("a track begins at 0.5.")
    assert "class on top" not in found.cause


def test_scores_at_the_threshold_or_of_a_fresh_head_are_clear() -> None:
    clear(RULE, always(top=0.5))
    clear(RULE, fresh())
    clear(RULE, tracker())


def test_a_training_whose_scores_rise_is_waited_for() -> None:
    assert first_step(RULE, tracker(end="")) is None
    level = np.full(10, 3.0)
    slow = tracker(lambda share: seeing(top=0.1 + 0.3 * share), end="").with_curves(
        val_loss=level, train_loss=level
    )
    clear(RULE, slow.first(5))
    fired(RULE, slow.replace(end="finished"))
    clear(RULE, slow.first(5).replace(end="stopped"))
    still = always(top=0.4).replace(end="")
    unknown(RULE, still.first(1), "a fifth")
    assert first_step(RULE, still) == 80
    one = tracker(lambda share: seeing(top=0.4), 4, end="").first(1)
    unknown(RULE, one, "another validation")


def test_scores_that_flicker_around_the_threshold_track_nothing() -> None:
    """As a real training did at its end: two tracks of one frame."""
    scores = {"0.5": 0.33, "0.99": 0.489, "0.999": 0.504, "1": 0.507}
    few: dict[str, Any] = {
        "scores": scores,
        "births": 2,
        "short": 2,
        "lengths": {"0.5": 1.0, "1": 1.0},
    }
    assert fired(RULE, always(**few)).headline.startswith("2 tracks in 160 frames: 99.9 % of")
    clear(RULE, always(**few | {"short": 1}))
    clear(RULE, always(**few | {"scores": scores | {"0.99": 0.5}}))


def test_a_loss_that_falls_is_waited_for_until_the_end() -> None:
    falling = always(top=0.46).with_curves(val_loss=np.linspace(5, 1, 10))
    clear(RULE, falling.first(6).replace(end=""))
    fired(RULE, falling)


def test_of_one_class_no_accuracy_is_told() -> None:
    assert "on top" not in fired(RULE, always(top=0.46, targets={"Person": 90})).cause


def test_the_best_checkpoint_of_a_dead_run_says_nothing_of_its_end() -> None:
    """It is the first, whose head was fresh."""
    made = always(top=0.46).replace(extra=(told(400, seeing(top=0.02), final=True),))
    assert "0.46" in fired(RULE, made).headline


def test_without_observation_it_is_unknown() -> None:
    unknown(RULE, healthy(), "not observed")
    unknown(RULE, always(top=0.46, scores={}), "not observed")


def test_it_explains_the_zeros() -> None:
    said = diagnose(always(top=0.46).surveyed(labels=()).evidence())
    assert said.findings[0].rule == "T06"
    assert said.verdict.startswith("nothing is tracked: the threshold is too high")
