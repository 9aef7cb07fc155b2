"""What of a run's events is kept as evidence, and read back."""

from typing import get_args

import pytest

from backend.core.events import (
    CheckpointRemoved,
    CheckpointSaved,
    Diagnosed,
    Event,
    ExpertsObserved,
    FileSaved,
    HardwareSampled,
    MetricsLogged,
    Noted,
    Prepared,
    TracksObserved,
)
from backend.tracking.evidence import EVIDENCE, EvidenceLog, read_part
from tests.support.tracks_made import seeing

ELSEWHERE = {
    CheckpointRemoved, CheckpointSaved, Diagnosed, ExpertsObserved, FileSaved, HardwareSampled,
    MetricsLogged, Noted, Prepared,
}  # fmt: skip
"""Kept as metrics, artifacts, tags, or the text of a run's log; ``Prepared`` is progress only."""


@pytest.mark.parametrize("final", [False, True])
def test_what_a_tracker_did_is_kept(final: bool) -> None:
    told = TracksObserved(step=5, split="val", seen=seeing(), final=final)
    log = EvidenceLog()
    log.add(told)
    ((_, content),) = log.flush()
    assert read_part(content.encode()) == (told,)


def test_every_event_is_evidence_or_kept_elsewhere() -> None:
    """TracksObserved was neither: what a tracker did was lost with the run's folder."""
    union, _ = get_args(Event)
    assert set(get_args(union)) - ELSEWHERE == set(get_args(EVIDENCE))
