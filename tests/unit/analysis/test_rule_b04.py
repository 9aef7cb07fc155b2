"""B04: permuted inputs leave the loss as it is."""

from collections.abc import Sequence

import numpy as np

from backend.analysis.diagnostics.rules.b04_input_unused import RULE
from backend.core.events import Event, InputProbed
from tests.support.evidence_made import Made, healthy, probe, sampled, zeros
from tests.support.rule_checks import clear, fired, first_step, unknown


def probed(events: Sequence[Event], made: Made | None = None) -> Made:
    return (made or healthy()).replace(extra=tuple(events))


def test_the_same_loss_with_other_inputs() -> None:
    found = fired(RULE, probed([probe(600, 1.0)]))
    assert (found.severity, found.sure, found.step) == ("error", "proven", 600)
    assert "200 samples" in found.headline
    assert found.evidence[0].value == 1.0


def test_one_per_cent_is_the_limit() -> None:
    assert fired(RULE, probed([probe(600, 1.009)]))
    clear(RULE, probed([probe(600, 1.011)]))
    clear(RULE, probed([probe(600, 0.5), probe(600, 2.0)]))
    assert fired(RULE, probed([probe(600, 0.9)]))


def test_a_loss_that_falls_speaks_against_the_truth() -> None:
    """Whatever is learnt does not hold in validation, which no blind network shows."""
    for ratio, said in ((0.96, "does not use its input"), (0.94, "against their own truth")):
        assert said in fired(RULE, probed([probe(600, ratio)])).headline
    found = fired(RULE, probed([probe(600, 0.9)]))
    assert "(ratio 0.900)" in found.headline
    assert "does not belong to its inputs" in found.cause
    assert "study over settings does not help" in found.advice.text


def test_amid_training_the_loss_must_be_trivial_too() -> None:
    """Each network is blind before it sees: at a quarter the loss has to say the same."""
    early = probed([probe(150, 1.0)]).first(12)
    unknown(RULE, early, "the probe at the end decides")
    dead = probed([probe(150, 1.0)], zeros()).first(12)
    assert fired(RULE, dead).step == 150
    assert first_step(RULE, probed([probe(150, 1.0)], zeros())) == 150
    assert first_step(RULE, healthy()) is None


def test_a_run_of_one_or_two_evaluations_has_not_had_the_time_to_see() -> None:
    short = probed([probe(50, 1.0)]).replace(end="finished")
    unknown(RULE, short.first(2), "fewer than 3 evaluations")
    assert fired(RULE, short.first(3)).step == 50


def test_a_finished_run_has_no_later_probe() -> None:
    stopped = probed([probe(150, 1.0)]).first(12).replace(end="stopped")
    assert fired(RULE, stopped)


def test_a_loss_above_all_trivial_ones_has_learnt_nothing_to_use_the_input_with() -> None:
    blind = probed([probe(600, 1.0)], zeros())
    high = np.full(24, 0.65)
    slow = blind.with_curves(
        train_lcl_loss=high, val_lcl_loss=high, train_mlc_loss=high, val_mlc_loss=high
    )
    unknown(RULE, slow, "has not even come down")
    against = probed([probe(600, 0.9)], slow)
    assert "speaks against" in fired(RULE, against).headline
    assert fired(RULE, slow.with_curves(train_mlc_loss=high * 0.64, val_mlc_loss=high * 0.64))


def test_the_level_of_the_loss_tells_data_from_collapse() -> None:
    """At the position level the input is missing, at the constant level the network is dead."""
    blind = probed([probe(600, 1.0)], zeros())
    found = fired(RULE, blind)
    assert found.cause == "the input is not used: its permutation leaves the loss as it is"
    assert not found.advice.study
    lcl, mlc = np.full(24, 0.416), np.full(24, 0.414)
    dead = blind.with_curves(
        train_lcl_loss=lcl, val_lcl_loss=lcl, train_mlc_loss=mlc, val_mlc_loss=mlc
    )
    found = fired(RULE, dead)
    assert "collapsed" in found.cause
    assert found.advice.change[0].role == "lr"


def test_parts_are_added_where_there_is_no_total() -> None:
    parts = InputProbed(step=600, split="val", samples=50,
                        losses={"a": 1.0, "b": 2.0}, permuted={"a": 1.0, "b": 2.04})  # fmt: skip
    clear(RULE, probed([parts]))
    assert fired(RULE, probed([parts.model_copy(update={"permuted": {"a": 1.0, "b": 2.02}})]))


def test_no_probe_or_a_small_one_is_unknown() -> None:
    unknown(RULE, probed([]), "not at all")
    unknown(RULE, probed([probe(600, 1.0, samples=49)]), "fewer than 50")
    nothing = InputProbed(step=600, split="val", samples=60, losses={"loss": 0.0}, permuted={})
    unknown(RULE, probed([nothing]), "no loss above zero")


def test_losses_in_another_unit_change_nothing() -> None:
    made = probed([probe(150, 1.0)], zeros()).first(12)
    assert fired(RULE, made.scaled(25.0)).cause == fired(RULE, made).cause


def test_rare_events_without_weight_are_named_before_a_collapse() -> None:
    lcl, mlc = np.full(24, 0.416), np.full(24, 0.414)
    dead = probed([probe(600, 1.005)], zeros()).with_curves(
        train_lcl_loss=lcl, val_lcl_loss=lcl, train_mlc_loss=mlc, val_mlc_loss=mlc
    )
    light = dead.surveyed(sampled=(sampled("train", 1.0),))
    assert fired(RULE, light).advice.change[0].role == "positive_weight"
    assert fired(RULE, dead).advice.change[0].role == "lr"
