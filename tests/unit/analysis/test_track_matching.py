"""What is wrong in each frame adds up to what trackeval counts."""

from pathlib import Path

import numpy as np
import pytest

from backend.analysis.track_matching import Mistake, differing, judge, match_frames
from backend.analysis.tracks import Boxes, Recording
from backend.scoring.tracking.motchallenge import tracks
from backend.scoring.tracking.task import TrackingOptions
from tests.support.tracked import write_folders
from tests.support.tracks import Judge, made_sequence


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.75])
def test_frames_add_up_to_clear(seed: int, threshold: float) -> None:
    truth, found = made_sequence(seed, frames=30, objects=6, classes=(1, 2))
    matches = match_frames(
        Boxes(tracks(truth, truth=True), {}).rows, Boxes(tracks(found), {}).rows, threshold
    ).values()
    wanted = Judge(threshold).result(truth, found, 30)["CLEAR"]
    pairs = [pair for match in matches for pair in match.pairs]
    assert len(pairs) == wanted["CLR_TP"]
    assert sum(pair.before is not None for pair in pairs) == wanted["IDSW"]
    assert sum(len(match.missed) for match in matches) == wanted["CLR_FN"]
    assert sum(len(match.false) for match in matches) == wanted["CLR_FP"]
    assert wanted["IDSW"] > 0


def test_an_old_pair_is_kept_though_another_overlaps_more() -> None:
    box, beside = [10, 10, 40, 40], [14, 10, 40, 40]
    truth = np.array([[1, 1, *box, 1, 1], [2, 1, *box, 1, 1]], dtype=float)
    found = np.array([[1, 5, *box, 1, 1], [2, 5, *beside, 1, 1], [2, 6, *box, 1, 1]], dtype=float)
    second = match_frames(tracks(truth), tracks(found))[2]
    assert [(pair.found, pair.before) for pair in second.pairs] == [(1, None)]
    assert second.false == (2,)


def test_mistakes_are_said_in_words_and_differences_found(tmp_path: Path) -> None:
    folders = write_folders(tmp_path)
    recording = Recording.read(folders.truth, (folders.old, folders.new), TrackingOptions())
    found = judge(recording.sequence("rally-a"))
    said = {number: [one.text for one in wrong] for number, wrong in found.old.items() if wrong}
    assert said == {
        2: ["missed Block"],
        3: ["missed Block"],
        5: ["id switch 1 → 9 of Attack"],
        7: ["false 30 Attack"],
        8: ["2 Attack is Block"],
    }
    assert not any(found.new.values())
    assert found.differences == {"missed": [1, 2], "switch": [4], "false": [6], "class": [7]}
    other = judge(recording.sequence("rally-b"))
    assert other.differences == {"missed": [0], "switch": [], "false": [], "class": []}


def test_the_same_mistake_under_another_identity_is_no_difference() -> None:
    old = [Mistake("switch", (1,), "id switch 1 → 9"), Mistake("false", (0,), "false 30")]
    new = [Mistake("switch", (1,), "id switch 4 → 5"), Mistake("false", (0,), "false 7")]
    assert differing(old, new) == set()
    assert differing(old, new[:1]) == {"false"}
    assert differing(old, [Mistake("switch", (2,), ""), new[1]]) == {"switch"}
