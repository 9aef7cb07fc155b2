"""Tracking whole splits: ids, frame numbers, stored scores, and what is counted of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.core.errors import DataError
from backend.datasets.tracking.records import TrackSequence
from backend.trainers.motrv2.collecting import QueryScores, Rows, truth_rows
from backend.trainers.motrv2.data import SequenceFrames
from backend.trainers.motrv2.data_reading import read_data
from backend.trainers.motrv2.evidence import class_accuracy, confusion, histograms, tracks_seen
from backend.trainers.motrv2.inference import (
    TOGETHER,
    Followed,
    encoded,
    follow,
    follow_split,
    track_settings,
)
from backend.trainers.motrv2.judging import judge, matched, sweep
from backend.trainers.motrv2.model.learner import ClipLearner
from backend.trainers.motrv2.model.tracker import track
from backend.trainers.motrv2.spec import Motrv2Config
from tests.support.motrv2_frames import loud
from tests.support.motrv2_tracking import config_of, data_of, handset
from tests.support.tracking_folders import SIZE, sequence, write_rows

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequence ``c`` in val, and ``d`` whose frames are called 21, 23 ... 43, without boxes."""
    root = data_of(tmp_path_factory.mktemp("tracking") / "data")
    folder = root / "val" / "d"
    sequence(folder, 9)
    write_rows(folder, [])
    images = sorted((folder / "img1").iterdir())
    for number, path in reversed(list(enumerate(images))):
        path.rename(path.with_name(f"{21 + 2 * number:04d}.png"))
    return root


def split_of(root: Path) -> tuple[Motrv2Config, list[TrackSequence]]:
    config = config_of(root)
    (split,) = read_data(config, ("val",)).splits
    return config, list(split.sequences)


def test_frames_are_called_as_their_files_and_ids_begin_anew(root: Path) -> None:
    config, (first, second) = split_of(root)
    network = handset()
    with torch.no_grad():
        network.position.weight.fill_(0.5)  # now the learned queries show too
    one, other = (follow(network, s, SequenceFrames(s, config), config.tracker)
                  for s in (first, second))  # fmt: skip
    assert one.shown.ids.min() == other.shown.ids.min() == 1
    assert set(one.shown.frames) == set(range(1, 13))
    assert set(other.shown.frames) == set(range(21, 45, 2))
    assert (one.shown.labels == 5).all()
    assert one.births == tuple(range(1, len(one.births) + 1))


def test_every_run_is_what_the_tracker_says_alone(root: Path) -> None:
    config, (first, _) = split_of(root)
    config = config.replace({"tracker.sweep": (0.2, 0.3, 0.45, 0.6)})
    network = ClipLearner(handset().geometry, handset().clip_training).eval()
    loud(network, 0.0)
    frames = SequenceFrames(first, config)
    found = follow(network, first, frames, config.tracker)
    assert list(found.stored) == [0.5, 0.2, 0.45]
    for threshold, rows in found.stored.items():
        settings = replace(
            track_settings(config.tracker),
            score_threshold=threshold,
            filter_threshold=threshold,
            update_threshold=threshold,
        )
        alone = [t.shown(frames.size, settings) for t in track(network, frames, settings)]
        assert rows.ids.tolist() == [one for t in alone for one in t.ids.tolist()]
        scores = torch.cat([t.scores for t in alone]).double().numpy()
        np.testing.assert_allclose(rows.scores, scores, atol=1e-5)
    assert found.shown is found.stored[0.5]
    for threshold, run in ((0.3, 0.2), (0.45, 0.45), (0.6, 0.5)):
        expected = found.stored[run]
        kept = int((expected.scores > threshold).sum())
        assert len(found.above(threshold).ids) == kept


def test_small_frames_are_encoded_together_large_ones_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, (first, _) = split_of(root)
    network, frames = handset(), SequenceFrames(first, config)
    together = [memory.values for _, memory in encoded(network, frames, CPU)]
    monkeypatch.setattr("backend.trainers.motrv2.inference._SMALL", 0)
    alone = [memory.values for _, memory in encoded(network, frames, CPU)]
    assert len(together) == len(alone) == 12
    assert len(frames) % TOGETHER == 0
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_higher_threshold_never_shows_more(root: Path) -> None:
    config, (first, second) = split_of(root)
    (split,) = read_data(config, ("val",)).splits
    network = ClipLearner(handset().geometry, handset().clip_training).eval()
    loud(network, -0.5)
    swept = sweep(split, follow_split(network, split, config), config.tracker.sweep)
    assert [one.threshold for one in swept] == list(config.tracker.sweep)
    boxes = [one.boxes for one in swept]
    assert boxes == sorted(boxes, reverse=True)
    assert len(set(boxes)) > 2, "the thresholds part the scores"
    truth = truth_rows(first)
    odd = replace(bare(first, truth), stored={0.5: truth, 0.2: truth.above(1)})
    low, high = sweep(split, [odd, bare(second, truth.above(1))], (0.3, 0.6))
    assert (low.boxes, low.hota) == (high.boxes, high.hota)


def test_swept_metrics_are_those_of_what_is_left(root: Path) -> None:
    config, (first, second) = split_of(root)
    (split,) = read_data(config, ("val",)).splits
    truth = truth_rows(first)
    scores = np.where(np.arange(len(truth.ids)) % 2, 0.3, 0.7)
    stored = replace(truth, scores=scores)
    nothing = stored.above(1)
    followed = [bare(first, stored), bare(second, nothing)]
    low, high, none = sweep(split, followed, (0.2, 0.5, 0.8))
    assert (low.hota, low.cls_hota) == (pytest.approx(1), pytest.approx(1))
    assert high.boxes == int((scores > 0.5).sum())
    half = matched(split, [(followed[0], stored.above(0.5)), (followed[1], nothing)])
    assert high.hota == half.scores().metrics["HOTA"]
    assert (none.boxes, none.tracks, none.hota, none.cls_hota) == (0, 0, 0, 0)


def bare(sequence: TrackSequence, rows: Rows) -> Followed:
    """A sequence of which only the boxes are known."""
    none = np.empty(0, np.int64)
    said = QueryScores(none, np.empty(0), none, 0.0)
    named = np.empty((0, 2), np.int64)
    births = tuple(np.unique(rows.ids).tolist())
    return Followed(sequence, SIZE, {0.1: rows}, births, said, named, 0, 0)


def test_a_run_without_tracks_is_worth_nothing_and_says_so_in_numbers(root: Path) -> None:
    config, _ = split_of(root)
    (split,) = read_data(config, ("val",)).splits
    judged = judge(handset(score=-4.6), split, config, untrained=("class_embed.0.weight",))
    metrics = judged.scores.metrics
    zeros = ("HOTA", "cls_HOTA", "swept_HOTA", "MOTA", "IDF1")
    assert {name: metrics[name] for name in zeros} == dict.fromkeys(zeros, 0.0)
    assert "best_thresh" not in metrics
    assert metrics["class_accuracy"] == 1.0, "the right class is on top of a low score"
    assert judged.seen.births == 0
    assert judged.seen.lengths == {}
    assert judged.seen.highest["1"] == pytest.approx(0.01, abs=1e-3)
    assert judged.seen.untrained == ("class_embed.0.weight",)


def test_what_the_tracker_did_is_told(root: Path) -> None:
    config, (first, second) = split_of(root)
    (split,) = read_data(config, ("val",)).splits
    followed = follow_split(handset(score=1.0), split, config)
    seen = tracks_seen(split, followed, 0.5)
    assert seen.frames == 24
    assert seen.targets["u"] == sum(seen.targets.values()) == 48
    assert seen.proposals == len(first.proposals.frames) + len(second.proposals.frames)
    assert sum(seen.histogram) == sum(len(one.queries.scores) for one in followed)
    score = float(torch.sigmoid(torch.tensor(1.0)))
    assert seen.scores["0.5"] == pytest.approx(score)
    assert seen.first_class == pytest.approx(float(torch.sigmoid(torch.tensor(-9.0))))
    assert seen.births == sum(len(one.births) for one in followed) > 0
    assert seen.lengths["1"] == 12, "what is born in the first frame stays, as nothing is missed"
    assert seen.short < seen.births


def test_tracks_that_are_too_small_to_be_shown_have_no_length(root: Path) -> None:
    config, _ = split_of(root)
    config = config.replace({"tracker.min_area": 1e6})
    (split,) = read_data(config, ("val",)).splits
    seen = judge(handset(), split, config).seen
    assert seen.births == seen.short > 0
    assert seen.lengths == {"0.5": 0.0, "1": 0.0}


def test_classes_are_named_whatever_the_score(root: Path) -> None:
    config, _ = split_of(root)
    (split,) = read_data(config, ("val",)).splits
    right, wrong = (follow_split(handset(column=at, score=-2), split, config) for at in (5, 4))
    assert class_accuracy(right) == {"class_accuracy": 1.0}
    assert class_accuracy(wrong) == {"class_accuracy": 0.0}
    surest, shown = histograms(split, wrong)
    assert surest.predicted["t"] == surest.truth["u"] == 48
    assert shown.predicted["background"] == 48


def test_the_confusion_counts_pairs_that_overlap(root: Path) -> None:
    _, (first, _) = split_of(root)
    truth = truth_rows(first)
    labels = truth.labels.copy()
    labels[0] = 2
    moved = truth.boxes.copy()
    moved[1, 0] += 500
    table = confusion(8, [bare(first, replace(truth, labels=labels, boxes=moved))])
    assert table[5, 2] == 1
    assert table[5, 8] == table[8, 5] == 1
    assert table[5, 5] == len(truth.ids) - 2
    assert table.sum() == len(truth.ids) + 1


def test_a_network_without_numbers_is_refused(root: Path) -> None:
    config, _ = split_of(root)
    (split,) = read_data(config, ("val",)).splits
    with pytest.raises(DataError, match=r"val/c: the network's scores are no numbers"):
        follow_split(handset(score=float("nan")), split, config)
