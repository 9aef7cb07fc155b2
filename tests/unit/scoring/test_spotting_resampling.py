from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.scoring.evidence import Counts
from backend.scoring.spotting.task import TASK, SpottingEvidence, SpottingOptions, match
from backend.scoring.tasks import load_evidence, save_evidence
from tests.support.event_clips import copied, made_clips

ELEMENTS = ("near", "far", "serve", "smash")


def draws(units: int, rows: int, seed: int) -> Counts:
    """Bootstrap draws, some clips alone, and everything left out but one."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=rows)
    return np.concatenate([drawn, np.eye(units, dtype=np.int64)[:3]]).astype(np.uint16)


def row_of(evidence: SpottingEvidence) -> list[float]:
    """What ``scores`` says in the order of the columns; NaN for None."""
    scores = evidence.scores()
    values = [
        scores.per_class[column.label]["f1"] if column.label else scores.metrics[column.metric]
        for column in evidence.columns
    ]
    return [np.nan if value is None else value for value in values]


@pytest.mark.parametrize("compat", ["", "f3ed"])
@pytest.mark.parametrize("seed", range(5))
def test_a_draw_scores_as_the_clips_really_copied(seed: int, compat: str) -> None:
    clips = made_clips(seed, clips=10)
    options = SpottingOptions(tolerance=seed % 3, compat=compat)
    evidence = match(ELEMENTS, clips, options)
    drawn = draws(len(clips), 15, seed)

    table = evidence.table(drawn)

    assert table.shape == (len(drawn), len(evidence.columns))
    for counts, row in zip(drawn.tolist(), table, strict=True):
        again = match(ELEMENTS, copied(clips, counts), options)
        np.testing.assert_allclose(row, row_of(again), rtol=0, atol=1e-12)


def test_each_clip_once_gives_the_numbers_of_scores() -> None:
    evidence = match(ELEMENTS, made_clips(3))
    ones = np.ones((1, 12), dtype=np.uint16)

    np.testing.assert_array_equal(evidence.table(ones)[0], row_of(evidence))


def test_replicates_do_not_depend_on_their_blocks() -> None:
    """More replicates than one block holds, in pieces and at once."""
    evidence = match(ELEMENTS, made_clips(4, clips=40))
    drawn = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=30_000)
    drawn = drawn.astype(np.uint16)

    whole = evidence.table(drawn)

    np.testing.assert_array_equal(whole[29_990:], evidence.table(drawn[29_990:]))
    np.testing.assert_array_equal(whole[:5], evidence.table(drawn[:5]))


def test_nothing_drawn_is_undefined() -> None:
    evidence = match(ELEMENTS, made_clips(0))
    row = evidence.table(np.zeros((1, 12), dtype=np.uint16))[0]
    named = dict(zip(evidence.columns, row, strict=True))

    undefined = {c.metric for c, value in named.items() if np.isnan(value)}
    assert undefined == {"f1", "f1_event", "f1_event_strict", "f1_element_present", "edit",
                         "ap_frame", "auroc_frame", "duplicate_rate"}  # fmt: skip


def test_units_of_both_models_can_be_drawn_from_joined_evidence() -> None:
    one, other = made_clips(5), made_clips(6)
    both = match(ELEMENTS, one).joined(match(ELEMENTS, other))
    named = copied(one, [1] * 12) + [
        type(clip)(f"other {clip.name}", clip.frames, clip.truth, clip.found, clip.scores)
        for clip in other
    ]
    drawn = draws(24, 8, 1)

    table = both.table(drawn)

    assert both.settings == match(ELEMENTS, one).settings
    assert both.units == match(ELEMENTS, one).units + match(ELEMENTS, other).units
    np.testing.assert_allclose(table, match(ELEMENTS, named).table(drawn), rtol=0, atol=1e-12)


def test_evidence_of_other_settings_or_elements_does_not_join() -> None:
    clips = made_clips(1)
    evidence = match(ELEMENTS, clips)
    for other in (
        match(ELEMENTS, clips, SpottingOptions(tolerance=2)),
        match(ELEMENTS, clips, SpottingOptions(compat="f3ed")),
        match(ELEMENTS[::-1], clips),
    ):
        with pytest.raises(DataError, match="different elements or settings"):
            evidence.joined(other)


def test_joining_with_a_model_without_scores_loses_the_frame_metrics() -> None:
    both = match(ELEMENTS, made_clips(1)).joined(match(ELEMENTS, made_clips(1, scores=False)))

    assert both.scores().metrics["ap_frame"] is None
    assert both.scores().metrics["f1_lcl"] is not None


@pytest.mark.parametrize("scores", [True, False])
def test_evidence_survives_the_disk(tmp_path: Path, scores: bool) -> None:
    evidence = match(ELEMENTS, made_clips(2, scores=scores), warnings=["odd: ä", "odder"])
    path = tmp_path / "evidence.npz"

    save_evidence(path, TASK.name, evidence)
    again = load_evidence(path, TASK.name)

    assert again.scores() == evidence.scores()
    assert again.columns == evidence.columns
    assert again.truth_digest == evidence.truth_digest
    drawn = draws(12, 5, 0)
    np.testing.assert_array_equal(again.table(drawn), evidence.table(drawn))
    np.testing.assert_array_equal(again.carrying(), evidence.carrying())
    assert all(array.dtype != object for array in evidence.arrays().values())


def test_carrying_counts_clips_with_truth() -> None:
    clips = made_clips(7, scores=False)
    evidence = match(ELEMENTS, clips)
    with_events = sum(len(clip.truth.frames) > 0 for clip in clips)
    with_element = Counter(
        element for clip in clips for element in np.flatnonzero(clip.truth.elements.any(axis=0))
    )

    carrying = dict(zip(evidence.columns, evidence.carrying().tolist(), strict=True))

    overall = {column.metric: n for column, n in carrying.items() if not column.label}
    assert overall.pop("ap_frame") == overall.pop("auroc_frame") == 0
    assert set(overall.values()) == {with_events}
    assert [n for column, n in carrying.items() if column.label] == [
        with_element[place] for place in range(len(ELEMENTS))
    ]


def test_metrics_and_columns_are_declared() -> None:
    evidence = match(ELEMENTS, made_clips(0))
    declared = [spec.name for spec in TASK.metrics]

    assert list(evidence.scores().metrics) == declared
    assert {c.metric for c in evidence.columns if not c.label} <= set(declared)
    assert all(TASK.unit_metric in values for values in evidence.scores().per_unit.values())
    assert TASK.primary == evidence.columns[0].metric
    assert TASK.direction("duplicate_rate") == "minimize"
