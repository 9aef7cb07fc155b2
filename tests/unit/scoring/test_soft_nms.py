"""Soft-NMS: the golden case, the definition written out, and what must hold of it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from backend.scoring.temporal.soft_nms import Detections, SoftNms, joined, merged, soft_nms

GOLDEN = Path(__file__).parents[4] / "shared" / "golden" / "tad" / "expected.json"


def detections(*rows: tuple[float, float, float, int]) -> Detections:
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Detections(table[:, :2], table[:, 2], table[:, 3].astype(np.int64))


def rows(found: Detections) -> list[tuple[float, float, float, int]]:
    return [
        (*bounds, score, label)
        for bounds, score, label in zip(
            found.segments.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
    ]


def at_random(seed: int, size: int, classes: int) -> Detections:
    chance = np.random.default_rng(seed)
    starts = chance.uniform(0, 50, size)
    segments = np.column_stack([starts, starts + chance.uniform(0.1, 12, size)])
    return Detections(segments, chance.uniform(0, 1, size), chance.integers(0, classes, size))


def by_the_book(found: Detections, rule: SoftNms) -> list[tuple[float, float, float, int]]:
    """One after the other: take the best, lower what is left by its overlap."""
    left = [row for row in rows(found) if row[2] >= rule.min_score]
    taken: list[tuple[float, float, float, int]] = []
    while left:
        best = max(left, key=lambda row: row[2])
        left.remove(best)
        taken.append(best)
        lowered = []
        for start, end, score, label in left:
            if not rule.per_class or label == best[3]:
                overlap = max(0.0, min(end, best[1]) - max(start, best[0]))
                iou = overlap / (end - start + best[1] - best[0] - overlap)
                score *= math.exp(-(iou**2) / rule.sigma)
            if score >= rule.min_score:
                lowered.append((start, end, score, label))
        left = lowered
    return taken[: rule.limit]


@pytest.mark.skipif(not GOLDEN.is_file(), reason="the golden cases are not on this machine")
def test_golden_cases_of_the_reference() -> None:
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    tolerance = content["tolerance"]
    for case in content["soft_nms"].values():
        given = case["input"]
        rule = SoftNms(
            given["sigma"], given["min_score"], given["max_seg_num"], given["multiclass"]
        )
        kept = soft_nms(
            Detections(
                np.array(given["segments"]),
                np.array(given["scores"]),
                np.array(given["labels"], dtype=np.int64),
            ),
            rule,
        )
        wanted = case["kept"]
        assert kept.labels.tolist() == [one["label"] for one in wanted]
        np.testing.assert_allclose(
            kept.scores, [one["score"] for one in wanted], atol=tolerance["soft_nms_score"]
        )
        np.testing.assert_allclose(
            kept.segments, [one["segment"] for one in wanted], atol=tolerance["soft_nms_segment"]
        )


@pytest.mark.skipif(not GOLDEN.is_file(), reason="the golden cases are not on this machine")
def test_golden_cases_do_not_depend_on_the_windows_they_came_from() -> None:
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for case in content["soft_nms"].values():
        given = case["input"]
        rule = SoftNms(
            given["sigma"], given["min_score"], given["max_seg_num"], given["multiclass"]
        )
        every = Detections(
            np.array(given["segments"]),
            np.array(given["scores"]),
            np.array(given["labels"], dtype=np.int64),
        )
        assert len(every) > 3
        windows = [every.taken(np.arange(first, len(every), 3)) for first in (2, 0, 1)]
        kept = merged([*windows, detections()], rule)
        tolerance = content["tolerance"]["soft_nms_score"]
        wanted = [one["score"] for one in case["kept"]]
        np.testing.assert_allclose(kept.scores, wanted, atol=tolerance)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "rule",
    [
        SoftNms(),
        SoftNms(sigma=0.3, min_score=0.2),
        SoftNms(limit=7, per_class=False),
        SoftNms(sigma=0.05, min_score=0.0, limit=25),
    ],
)
def test_the_definition_written_out(seed: int, rule: SoftNms) -> None:
    found = at_random(seed, size=60, classes=3)
    kept, wanted = rows(soft_nms(found, rule)), by_the_book(found, rule)
    assert len(kept) == len(wanted)
    np.testing.assert_allclose(kept, wanted, rtol=1e-12)


def test_classes_do_not_matter_to_each_other() -> None:
    found = detections((0, 10, 0.9, 0), (0, 10, 0.8, 1))
    assert rows(soft_nms(found)) == [(0, 10, 0.9, 0), (0, 10, 0.8, 1)]
    agnostic = soft_nms(found, SoftNms(per_class=False))
    assert agnostic.scores.tolist() == [0.9, pytest.approx(0.8 * math.exp(-1 / 0.7))]


def test_nothing_in_nothing_out() -> None:
    kept = soft_nms(detections())
    assert kept.segments.shape == (0, 2)
    assert len(kept) == 0
    assert len(merged([])) == 0


def test_equal_scores_keep_their_order() -> None:
    found = detections((0, 1, 0.5, 0), (5, 6, 0.5, 0), (3, 4, 0.5, 0))
    assert rows(soft_nms(found)) == rows(found)


def test_duplicates_are_lowered_once_for_each_better_one() -> None:
    kept = soft_nms(detections(*[(2, 5, 0.8, 1)] * 3))
    factor = math.exp(-1 / 0.7)
    assert kept.scores.tolist() == pytest.approx([0.8, 0.8 * factor, 0.8 * factor**2])


def test_what_falls_below_the_minimum_is_dropped() -> None:
    found = detections((0, 10, 0.9, 0), (0, 10, 0.3, 0), (20, 30, 0.1, 0), (40, 50, 0.05, 0))
    kept = soft_nms(found, SoftNms(min_score=0.1))
    assert rows(kept) == [(0, 10, 0.9, 0), (20, 30, 0.1, 0)]


def test_empty_segments_overlap_nothing() -> None:
    found = detections((3, 3, 0.9, 0), (3, 3, 0.8, 0), (2, 4, 0.7, 0))
    assert rows(soft_nms(found)) == rows(found)


def test_windows_are_merged_as_one_list_and_nothing_is_changed_in_place() -> None:
    windows = [at_random(1, 30, 2), at_random(2, 30, 2), detections()]
    before = [rows(one) for one in windows]
    assert rows(merged(windows)) == rows(soft_nms(joined(windows)))
    assert [rows(one) for one in windows] == before
    scores = merged(windows).scores
    assert (np.diff(scores) <= 0).all()
