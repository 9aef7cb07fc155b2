import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.scoring.spotting.task import TASK, SpottingEvidence, SpottingOptions

ELEMENTS = ["near", "far", "serve", "fh", "bh", "approach"]
GROUPS = [{"one_of": ["near", "far"]}, {"one_of": ["fh", "bh"], "unless": "serve"}]
FRAMES = 12


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def run(entry: Any, events: Any = (), about: Any = None, **options: Any) -> SpottingEvidence:
        clip = {"video": "a", "num_frames": FRAMES, "events": list(events)}
        gt = {"elements": ELEMENTS, "stride": 1, "clips": [clip], **(about or {})}
        (tmp_path / "gt.json").write_text(json.dumps(gt))
        (tmp_path / "pred.json").write_text(json.dumps({"a": entry}))
        chosen = SpottingOptions(tolerance=0, **options)
        return TASK.read(tmp_path / "gt.json", tmp_path / "pred.json", chosen)

    return run


def window(start: int, p_event: Any, p_elements: Any = None) -> dict[str, Any]:
    rows = [[0.9, 0.1, 0.9, 0.2, 0.1, 0.1]] * len(p_event) if p_elements is None else p_elements
    return {"start": start, "p_event": list(p_event), "p_elements": rows}


def truth(*frames: int, label: str = "near_serve") -> list[dict[str, Any]]:
    return [{"frame": frame, "label": label} for frame in frames]


def finds(evidence: SpottingEvidence) -> bool:
    return evidence.scores().metrics["f1_event_strict"] == pytest.approx(1.0)


def quiet(**peaks: float) -> list[float]:
    """p_event of the clip: 0.1 but for the frames ``f3=0.8``."""
    return [peaks.get(f"f{frame}", 0.1) for frame in range(FRAMES)]


def test_peaks_above_a_half_are_events(read: Any) -> None:
    scores = quiet(f2=0.7, f8=0.9, f5=0.45)

    assert finds(read({"windows": [window(0, scores)]}, truth(2, 8)))


def test_of_near_peaks_the_highest_survives(read: Any) -> None:
    scores = quiet(f4=0.8, f6=0.9, f9=0.7)

    assert finds(read({"windows": [window(0, scores)]}, truth(6, 9)))
    assert finds(read({"windows": [window(0, scores)]}, truth(4, 6, 9), suppress=1))
    assert finds(read({"windows": [window(0, scores)]}, truth(6), suppress=7))


def test_ties_all_survive_and_ends_are_clipped(read: Any) -> None:
    scores = quiet(f0=0.8, f1=0.8, f11=0.6)

    assert finds(read({"windows": [window(0, scores)]}, truth(0, 1, 11)))


def test_an_even_chance_is_no_event_and_a_threshold_shifts_it(read: Any) -> None:
    scores = quiet(f3=0.5, f8=0.75)

    assert finds(read({"windows": [window(0, scores)]}, truth(8)))
    assert finds(read({"windows": [window(0, scores)]}, truth(3, 8), threshold=0.4))
    assert finds(read({"windows": [window(0, scores)]}, truth(8), threshold=0.7))


def test_all_background_predicts_nothing_but_ranks_frames(read: Any) -> None:
    evidence = read({"windows": [window(0, quiet(f3=0.3))]}, truth(3))
    metrics = evidence.scores().metrics

    assert metrics["f1_event"] == metrics["edit"] == 0
    assert metrics["ap_frame"] == metrics["auroc_frame"] == 1


def by_hand(windows: Any, order: str) -> set[int]:
    """The events of overlapping windows, frame by frame in plain Python."""

    def suppressed(pairs: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [
            pair if pair[0] == min(b for b, _ in pairs[max(0, i - 2) : i + 3]) else (0.0, 0.0)
            for i, pair in enumerate(pairs)
        ]

    sums = [[0.0, 0.0, 0] for _ in range(FRAMES)]
    for start, scores in windows:
        pairs = [(1 - p, p) for p in scores]
        if order == "clip_then_average":
            pairs = suppressed(pairs)
        for i, (background, event) in enumerate(pairs, start=start):
            if 0 <= i < FRAMES:
                sums[i][0] += background
                sums[i][1] += event
                sums[i][2] += 1
    means = [(b / n, e / n) for b, e, n in sums]
    if order == "average_then_suppress":
        means = suppressed(means)
    return {i for i, (background, event) in enumerate(means) if event > background}


@pytest.mark.parametrize("order", ["clip_then_average", "average_then_suppress"])
@pytest.mark.parametrize("seed", range(15))
def test_overlapping_windows_are_averaged_as_by_hand(read: Any, order: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    windows = [(start, rng.random(8).tolist()) for start in (-3, 1, 5, 9)]
    expected = by_hand(windows, order)

    evidence = read(
        {"windows": [window(*w) for w in windows]}, truth(*sorted(expected)), order=order
    )

    assert expected
    assert finds(evidence)
    assert evidence.frames is not None
    covered = [[s[i - a] for a, s in windows if 0 <= i - a < len(s)] for i in range(FRAMES)]
    np.testing.assert_allclose(evidence.frames.value, [np.mean(c) for c in covered])


def test_the_rule_brings_its_own_order(read: Any) -> None:
    """Two windows see the event two frames apart: averaged first, one of both remains."""
    entry = {"windows": [window(0, quiet(f4=0.95)), window(0, quiet(f6=0.99, f4=0.3))]}

    first = read(entry, truth(4, 6), order="clip_then_average")
    last = read(entry, truth(4), order="average_then_suppress")

    assert first.scores().per_unit == read(entry, truth(4, 6)).scores().per_unit
    assert last.scores().per_unit == read(entry, truth(4), compat="f3ed").scores().per_unit
    assert first.scores().per_unit["a"]["predicted"] != last.scores().per_unit["a"]["predicted"]


def test_background_may_be_given_beside_the_event(read: Any) -> None:
    pairs = [[1 - p, p] for p in quiet(f3=0.8)]

    assert finds(read({"windows": [window(0, pairs)]}, truth(3)))


def test_elements_are_on_above_a_half_or_by_group(read: Any) -> None:
    def decoded(row: list[float], label: str, **more: Any) -> bool:
        entry = {"windows": [window(0, quiet(f3=0.9), [row] * FRAMES)]}
        return finds(read(entry, truth(3, label=label), **more))

    weak = [0.3, 0.4, 0.2, 0.45, 0.2, 0.7]
    serve = [0.3, 0.4, 0.9, 0.8, 0.2, 0.5]
    grouped = {"about": {"groups": GROUPS}}
    assert decoded(weak, "approach")
    assert decoded(weak, "far_fh_approach", **grouped)
    assert decoded(serve, "serve_fh")
    assert decoded(serve, "far_serve", **grouped)


def test_groups_may_lie_in_a_file_of_their_own(read: Any, tmp_path: Path) -> None:
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps(GROUPS))
    row = [[0.3, 0.4, 0.2, 0.45, 0.2, 0.7]] * FRAMES

    evidence = read(
        {"windows": [window(0, quiet(f3=0.9), row)]}, truth(3, label="far_fh_approach"),
        groups=groups,
    )  # fmt: skip

    assert finds(evidence)


def test_frames_that_no_window_covers_are_background_with_a_warning(read: Any) -> None:
    entry = {"windows": [window(0, [0.1, 0.9, 0.1]), window(6, [0.9, 0.1])]}

    evidence = read(entry, truth(1, 6))

    assert finds(evidence)
    assert finds(read(entry, truth(1, 6), order="average_then_suppress"))
    assert any("1 clips have frames in no window" in text for text in evidence.warnings)


def test_a_window_outside_the_clip_changes_nothing(read: Any) -> None:
    entry = {"windows": [window(0, quiet(f3=0.9)), window(-9, [0.9] * 4), window(40, [0.9] * 4)]}

    assert finds(read(entry, truth(3)))


def test_events_and_scores_beside_windows_go_first(read: Any) -> None:
    entry = {
        "events": [{"frame": 5, "label": "near_serve"}],
        "windows": [window(0, quiet(f3=0.9))],
        "scores": quiet(f5=0.4),
    }
    evidence = read(entry, truth(5))

    assert finds(evidence)
    assert evidence.scores().metrics["ap_frame"] == 1
    del entry["scores"]
    assert read(entry, truth(5)).scores().metrics["ap_frame"] < 1


def test_some_clips_without_scores_leave_ap_undefined(tmp_path: Path) -> None:
    clips = [{"video": name, "num_frames": 3, "events": truth(1)} for name in "ab"]
    (tmp_path / "gt.json").write_text(
        json.dumps({"elements": ELEMENTS, "stride": 1, "clips": clips})
    )
    (tmp_path / "pred.json").write_text(
        json.dumps({"a": {"events": truth(1), "scores": [0.1, 0.9, 0.1]}, "b": truth(1)})
    )

    scores = TASK.read(tmp_path / "gt.json", tmp_path / "pred.json", SpottingOptions()).scores()

    assert scores.metrics["ap_frame"] is None
    assert any("only 1 of 2 clips have a score per frame" in text for text in scores.warnings)


NAN = float("nan")
REFUSED = {
    "NaN score": ({"events": [], "scores": quiet(f3=NAN)}, "'scores' .* strided frame 3"),
    "scores of another length": ({"events": [], "scores": [0.1]}, "has 1 scores, but 12"),
    "scores in rows": ({"events": [], "scores": [[0.1]]}, "'scores' must be a list of numbers"),
    "scores as text": ({"events": [], "scores": ["a"] * 12}, "must be a list of numbers"),
    "no windows": ({"windows": []}, "at least one window"),
    "window is no object": ({"windows": [3]}, "window 1: expected an object"),
    "no start": ({"windows": [window(0, [0.1]) | {"start": 0.5}]}, "'start' must be"),
    "NaN in a window": ({"windows": [window(0, [0.1, NAN])]}, "'p_event' .* strided frame 1"),
    "logits": ({"windows": [window(0, [0.1, 3.0])]}, "'p_event' must hold probabilities"),
    "no p_elements": ({"windows": [window(0, [0.1]) | {"p_elements": None}]}, "'p_elements' must"),
    "too few elements": ({"windows": [window(0, [0.1], [[0.1]])]}, "1 frames x 6 elements"),
    "ragged": ({"windows": [window(0, [0.1] * 2, [[0.1], [0.1, 0.2]])]}, "equally long lists"),
    "three classes": ({"windows": [window(0, [[0.1] * 3])]}, r"p or \[p_background, p\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_raw_scores_that_cannot_be_read_are_refused(read: Any, name: str) -> None:
    entry, message = REFUSED[name]

    with pytest.raises(DataError, match=rf"clip a.*{message}"):
        read(entry)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"one_of": ["near"]}, "groups must be a list"),
        ([{"unless": "serve"}], "group 1: expected an object with 'one_of'"),
        ([{"one_of": ["near", "lob"]}], "'lob' is no known element"),
        ([{"one_of": ["near"], "unless": "lob"}], "'lob' is no known element"),
    ],
)
def test_groups_that_make_no_sense_are_refused(read: Any, groups: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read([], about={"groups": groups})
