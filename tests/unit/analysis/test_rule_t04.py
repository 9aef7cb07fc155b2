"""T04: the class heads say what they said before they were trained."""

from typing import Any

import pytest

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.rules.t04_untrained_head import RULE
from tests.support.evidence_made import healthy
from tests.support.rule_checks import clear, fired, first_step, unknown
from tests.support.tracks_made import always, fresh, seeing, told, tracker

FROZEN = ("class_embed.0.weight", "class_embed.0.bias")


def test_a_frozen_head_is_named_tensor_by_tensor_and_at_once() -> None:
    found = fired(RULE, fresh(untrained=FROZEN))
    assert (found.severity, found.sure) == ("error", "proven")
    assert (
        "the highest score of a frame is 0.036 at the median and 0.041 at most" in found.headline
    )
    assert found.cause == ("2 tensors came from no checkpoint and cannot learn, being frozen: "
                           "class_embed.0.weight, class_embed.0.bias")  # fmt: skip
    assert [turn.role for turn in found.advice.change] == ["train_new"]
    assert [fact.value for fact in found.evidence][-2:] == [*FROZEN]
    assert first_step(RULE, fresh(untrained=FROZEN).replace(end="")) == 40


def test_a_head_that_trains_and_stays_has_its_time() -> None:
    found = fired(RULE, fresh())
    assert "have not left the scores" in found.cause
    assert found.sure == "likely"
    assert [turn.role for turn in found.advice.change] == ["lr"]
    running = fresh().replace(end="")
    unknown(RULE, running.first(4), "half")
    assert first_step(RULE, running) == 200
    unknown(RULE, running.first(1).replace(end="failed"), "a fifth")


def test_scores_that_rise_are_waited_for() -> None:
    rising = tracker(lambda share: seeing(top=0.01 + 0.03 * share), end="")
    clear(RULE, rising.first(9))
    fired(RULE, rising)
    fired(RULE, rising.first(9).replace(end="finished"))


@pytest.mark.parametrize(
    "changes",
    [{"top": 0.06}, {"births": 1}, {"highest": {"0.5": 0.03, "1": 0.11}}, {"highest": {}}],
)
def test_higher_scores_or_a_track_are_another_case(changes: dict[str, Any]) -> None:
    made: dict[str, Any] = {"top": 0.03, "untrained": FROZEN} | changes
    clear(RULE, always(**made))


def test_a_sound_run_is_clear() -> None:
    clear(RULE, tracker())
    assert first_step(RULE, tracker(end="")) is None


def test_without_observation_it_is_unknown() -> None:
    unknown(RULE, healthy(), "not observed")
    unknown(RULE, always(top=0.03, frames=0), "not observed")


def test_the_evaluation_at_the_end_counts_where_nothing_else_was_seen() -> None:
    seen = seeing(top=0.03, untrained=FROZEN)
    made = tracker().replace(observers=(), extra=(told(400, seen, "test", final=True),))
    fired(RULE, made)
    clear(RULE, tracker().replace(extra=(told(400, seen, "test", final=True),)))
    clear(RULE, tracker().replace(extra=(told(400, seen, final=True),)))


def test_it_explains_what_follows() -> None:
    said = diagnose(fresh(untrained=FROZEN).evidence())
    assert said.findings[0].rule == "T04"
    assert said.verdict == f"nothing is tracked: {said.findings[0].cause} (T04)"
