"""Actions of two detectors: the scorer's matches, what changed, one video on a timeline."""

import json
from pathlib import Path

import numpy as np
import pytest

from backend.analysis.action_videos import read_films, still
from backend.analysis.actions import NONE, ActionRecording, Found
from backend.core.comparisons import Comparison
from backend.core.errors import DataError
from backend.scoring.temporal.matching import temporal_iou
from backend.scoring.temporal.task import TemporalOptions, match
from tests.support.acted import action_comparison
from tests.support.segments import dataset
from tests.support.videos_made import number_of


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    return action_comparison(tmp_path)


@pytest.fixture
def recording(comparison: Comparison) -> ActionRecording:
    return ActionRecording.of(comparison.target)


def by_the_book(recording: ActionRecording, side: Found, threshold: float) -> dict[int, int]:
    """Prediction to segment, one after the other as the specification has it."""
    truth, found = recording.truth.segments, side.predictions
    taken: dict[int, int] = {}
    order = sorted(
        range(len(found.scores)), key=lambda one: (-found.scores[one], found.positions[one])
    )
    for one in order:
        overlaps = temporal_iou(found.segments.bounds[one : one + 1], truth.bounds)[0]
        there = (truth.videos == found.segments.videos[one]) & (
            truth.labels == found.segments.labels[one]
        )
        for segment in sorted(np.flatnonzero(there).tolist(), key=lambda at: -overlaps[at]):
            if overlaps[segment] < threshold:
                break
            if segment not in taken.values():
                taken[one] = segment
                break
    return taken


def test_each_prediction_takes_the_segment_that_the_scorer_gives_it(tmp_path: Path) -> None:
    truth, old = dataset(videos=12, classes=2, seed=3, decimals=2)
    _, new = dataset(videos=12, classes=2, seed=4, decimals=2)
    files = [tmp_path / name for name in ("truth.json", "old.json", "new.json")]
    for path, content in zip(files, (truth, old, new), strict=True):
        path.write_text(json.dumps(content))
    recording = ActionRecording.read(files[0], files[1:], TemporalOptions())
    for side, data in ((recording.old, old), (recording.new, new)):
        hits = match(truth, data, TemporalOptions()).found.hits.sum(axis=1).tolist()
        assert (side.taken != NONE).sum(axis=1).tolist() == hits
        for row, threshold in zip(side.taken, recording.thresholds, strict=True):
            wanted = by_the_book(recording, side, threshold)
            assert {at: int(row[at]) for at in np.flatnonzero(row != NONE)} == wanted
    assert (recording.old.taken != NONE).any()


def test_videos_by_what_changed_most(recording: ActionRecording) -> None:
    assert recording.thresholds == (0.3, 0.4, 0.5, 0.6, 0.7)
    rows = recording.changes(0.5, (0.0, 0.0))
    assert [tuple(vars(row).values()) for row in rows] == [
        ("dive", 4, 1, 1), ("track", 1, 1, 0), ("empty", 0, 0, 0),
    ]  # fmt: skip
    strict = recording.changes(0.7, (0.0, 0.0))
    assert (strict[0].video, strict[0].gained, strict[0].lost) == ("dive", 2, 1)


def test_a_class_leaves_only_its_videos_and_a_score_its_detections(
    recording: ActionRecording,
) -> None:
    jumps = recording.changes(0.7, (0.0, 0.0), "jump")
    assert [tuple(vars(row).values()) for row in jumps] == [("dive", 2, 1, 0)]
    assert recording.changes(0.5, (0.0, 0.0), "swim") == []
    sure = {row.video: row for row in recording.changes(0.5, (0.75, 0.75))}
    assert (sure["dive"].gained, sure["dive"].lost) == (1, 0), "old's run has a score of 0.7"
    assert sure["track"].gained == 0, "new's run has a score of 0.2"


def test_the_best_score_is_that_of_the_best_f1(recording: ActionRecording) -> None:
    old, new = recording.best_scores(0.5)
    assert old == 0.7, "three right of three; the next two are false"
    assert new == 0.2, "all four are right"


def test_a_timeline_says_who_found_which_action(recording: ActionRecording) -> None:
    found = recording.timeline("dive", 0.5, (0.0, 0.0))
    assert [action.outcome for action in found.actions] == ["both", "both", "lost", "gained"]
    second, third = found.actions[1], found.actions[2]
    assert second.old is not None
    assert second.old.iou == pytest.approx(0.6)
    assert (third.start, third.end, third.new) == (10.0, 14.0, None)
    assert third.nearest[1] == pytest.approx(1.4 / 4)
    assert [one.action for one in found.old] == [0, 1, 2, None]
    assert found.old[3].iou == 0
    assert found.duration == 20.0
    only = recording.timeline("dive", 0.5, (0.75, 0.75), "run")
    assert [action.outcome for action in only.actions] == ["neither", "gained"]
    assert only.old == ()
    assert [one.label for one in only.new] == ["run"]


@pytest.mark.parametrize(
    ("video", "threshold", "sentence"),
    [("other", 0.5, "no video 'other'"), ("dive", 0.55, "0.55 was not evaluated; there is: 0.3")],
)
def test_what_there_is_not_is_one_sentence(
    recording: ActionRecording, video: str, threshold: float, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        recording.timeline(video, threshold, (0.0, 0.0))


def test_predictions_that_were_not_kept_or_are_gone(
    comparison: Comparison, tmp_path: Path
) -> None:
    none = comparison.target.candidate_report.model_copy(update={"predictions": ""})
    with pytest.raises(DataError, match="kept no predictions"):
        ActionRecording.of(comparison.target.model_copy(update={"candidate_report": none}))
    (tmp_path / "new/predictions.json").unlink()
    with pytest.raises(DataError, match=r"predictions\.json"):
        ActionRecording.of(comparison.target)


def test_the_file_of_a_video(recording: ActionRecording, tmp_path: Path) -> None:
    assert recording.film("dive") == tmp_path / "films/dive.mp4"
    with pytest.raises(DataError, match=r"track\.mp4: the video is gone"):
        recording.film("track")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("../secret.mp4", "outside the folder"),
        ("/etc/passwd", "outside the folder"),
        ("notes.txt", "not the name of a video"),
        (None, "had no file of this video"),
    ],
)
def test_only_videos_below_the_recorded_folder_are_shown(
    tmp_path: Path, path: str | None, sentence: str
) -> None:
    listed = {"root": str(tmp_path), "videos": {"a": {"path": path}}}
    (tmp_path / "videos.json").write_text(json.dumps(listed))
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(DataError, match=sentence):
        read_films(tmp_path).film("a")


def test_without_a_list_of_videos_there_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"came without a videos\.json"):
        read_films(tmp_path).film("a")
    (tmp_path / "videos.json").write_text("[1]")
    with pytest.raises(DataError, match="not a list of videos; evaluate again"):
        read_films(tmp_path).film("a")


def test_a_still_is_the_frame_of_its_moment(recording: ActionRecording, tmp_path: Path) -> None:
    film = recording.film("dive")
    for seconds, number in ((0.0, 0), (1.01, 30), (0.5, 15), (99.0, 59)):
        assert number_of(np.asarray(still(film, seconds))) == number
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    with pytest.raises(DataError, match=r"no frame at 1\.00 s"):
        still(broken, 1.0)
