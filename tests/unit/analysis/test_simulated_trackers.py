"""No rule accuses a sound tracker, and each fault is named."""

import pytest

from backend.analysis.diagnostics.engine import diagnose
from tests.support.simulated_trackers import TRACK_FAULTS, sound_tracker


@pytest.mark.parametrize("seed", range(30))
def test_a_sound_tracker_hears_nothing_at_any_point(seed: int) -> None:
    evidence = sound_tracker(seed).evidence()
    for seen in (*map(evidence.until, evidence.evaluations), evidence):
        said = diagnose(seen)
        told = [f for f in (*said.findings, *said.also_seen) if f.severity != "info"]
        assert told == [], seen.step


@pytest.mark.parametrize("rule", TRACK_FAULTS)
@pytest.mark.parametrize("number", range(3))
def test_a_fault_is_the_headline(rule: str, number: int) -> None:
    said = diagnose(TRACK_FAULTS[rule](number).evidence())
    assert said.findings[0].rule == rule
