"""Tracking metrics against trackeval, the golden cases, and what must hold of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.scoring.evidence import Counts
from backend.scoring.tracking.motchallenge import Sequence, tracks
from backend.scoring.tracking.task import (
    TASK,
    TrackingEvidence,
    TrackingOptions,
    match,
    read,
    restore,
)
from tests.support.tracks import Judge, Rows, made_sequence

SHARED = Path(__file__).parents[4] / "shared"
CLASSES = (1, 2, 5)


def evidence_of(*pairs: tuple[Rows, Rows], **options: Any) -> TrackingEvidence:
    return match(
        [
            Sequence(f"s{number}", 12, tracks(truth, "truth", truth=True), tracks(found))
            for number, (truth, found) in enumerate(pairs)
        ],
        **options,
    )


def made(number: int, classes: tuple[int, ...] = CLASSES) -> list[tuple[Rows, Rows]]:
    return [made_sequence(seed, classes=classes) for seed in range(number)]


def of_class(rows: Rows, label: int) -> Rows:
    return rows[rows[:, 7] == label]


def near(expected: dict[str, float], tolerance: float = 1e-12) -> Any:
    return pytest.approx(expected, rel=0, abs=tolerance)


def golden(folder: Path, names: list[str]) -> TrackingEvidence:
    options = TrackingOptions(classes=tuple(names))
    return read(folder / "gt", folder / "pred", options)


@pytest.fixture
def mot() -> Path:
    folder = SHARED / "golden" / "mot"
    if not folder.is_dir():
        pytest.skip("../shared/golden/mot is not here")
    return folder


def test_every_view_of_the_golden_cases(mot: Path) -> None:
    expected = json.loads((mot / "expected.json").read_text())
    names = [str(number + 1) for number in range(expected["meta"]["num_classes"])]
    options = TrackingOptions(classes=tuple(names))

    for sequence, views in expected["sequences"].items():
        alone = read(mot / "gt" / sequence, mot / "pred", options).scores()
        assert {name: alone.metrics[name] for name in views["class_agnostic"]} == near(
            views["class_agnostic"], 1e-6
        )
        for name, metrics in views["classes"].items():
            assert alone.per_class[name] == near(metrics, 1e-6)
        together = golden(mot, names).scores().per_unit[sequence]
        assert together == near(views["class_agnostic"], 1e-6)


@pytest.mark.parametrize("names", [("TUD-Campus", "TUD-Stadtmitte"), ("TUD-Campus",)])
def test_real_sequences_score_as_trackeval_scores_them(names: tuple[str, ...]) -> None:
    data = SHARED / "data" / "mot15"
    if not data.is_dir():
        pytest.skip("../shared/data/mot15 is not here")
    root = data if len(names) > 1 else data / names[0]

    scores = read(root, data / "results", TrackingOptions()).scores()

    judge = Judge()
    results = {}
    for name, length in zip(names, (71, 179), strict=False):
        truth = np.loadtxt(data / name / "gt" / "gt.txt", delimiter=",")
        found = np.loadtxt(data / "results" / f"{name}.txt", delimiter=",")
        results[name] = judge.result(truth, found, length)
    expected = judge.combined(results.values())
    assert {name: scores.metrics[name] for name in expected} == near(expected)
    assert {name: scores.metrics[f"cls_{name}"] for name in expected} == near(expected)
    assert scores.per_class == {"1": near(expected)}
    assert scores.per_unit == {name: near(judge.named(results[name])) for name in names}
    unscored = 1 if len(names) == 1 else 0
    assert len(scores.warnings) == unscored, scores.warnings


def test_real_sequences_have_the_numbers_that_others_publish() -> None:
    """py-motmetrics' README scores these very files, in per cent with one digit."""
    data = SHARED / "data" / "mot15"
    if not data.is_dir():
        pytest.skip("../shared/data/mot15 is not here")
    scores = read(data, data / "results", TrackingOptions()).scores()
    campus, stadtmitte = scores.per_unit.values()

    def shown(metrics: dict[str, float | None], names: tuple[str, ...]) -> list[Any]:
        return [None if (v := metrics[name]) is None else round(v, 3) for name in names]

    shares, counts = ("IDF1", "IDP", "IDR", "MOTA"), ("MT", "PT", "ML", "FP", "FN", "IDSW")
    assert shown(campus, shares) == [0.558, 0.730, 0.451, 0.526]
    assert shown(stadtmitte, shares) == [0.645, 0.820, 0.531, 0.564]
    assert shown(campus, counts) == [1, 6, 1, 13, 150, 7]
    assert shown(stadtmitte, counts) == [5, 4, 1, 45, 452, 7]
    assert shown(scores.metrics, ("IDF1", "MOTA")) == [0.624, 0.555]


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_views_are_combined_as_trackeval_combines_them(threshold: float) -> None:
    pairs = made(5)
    judge = Judge(threshold)

    scores = evidence_of(*pairs, threshold=threshold).scores()

    whole = judge.combined(judge.result(*pair) for pair in pairs)
    assert {name: scores.metrics[name] for name in whole} == near(whole)
    for label in CLASSES:
        alone = [[of_class(rows, label) for rows in pair] for pair in pairs]
        assert scores.per_class[str(label)] == near(
            judge.combined(judge.result(*pair) for pair in alone)
        )


def test_averages_over_classes_are_trackevals() -> None:
    pairs = made(4)
    judge = Judge()
    per_class: dict[str, Any] = {}
    for label in CLASSES:
        results = [judge.result(*(of_class(rows, label) for rows in pair)) for pair in pairs]
        per_class[str(label)] = results

    metrics = evidence_of(*pairs).scores().metrics

    for metric in judge.metrics:
        name = type(metric).__name__
        combined = {
            label: metric.combine_sequences({str(i): r[name] for i, r in enumerate(results)})
            for label, results in per_class.items()
        }
        mean = metric.combine_classes_class_averaged(combined)
        pooled = metric.combine_classes_det_averaged(combined)
        for ours, theirs in {"HOTA": "HOTA", "AssA": "AssA", "LocA": "LocA", "MOTA": "MOTA",
                             "MOTP": "MOTP", "IDF1": "IDF1", "IDSW": "IDSW"}.items():  # fmt: skip
            if theirs in mean:
                assert metrics[f"cls_{ours}"] == pytest.approx(np.mean(mean[theirs]), abs=1e-12)
            if theirs in pooled and f"det_{ours}" in metrics:
                assert metrics[f"det_{ours}"] == pytest.approx(np.mean(pooled[theirs]), abs=1e-12)


def test_the_table_is_combine_sequences_over_any_multiset() -> None:
    pairs = made(4)
    evidence = evidence_of(*pairs)
    counts: Counts = np.random.default_rng(3).integers(0, 4, (12, 4)).astype(np.uint16)
    judge = Judge()

    table = evidence.table(counts)

    views = {"": pairs} | {
        str(label): [(of_class(t, label), of_class(f, label)) for t, f in pairs]
        for label in CLASSES
    }
    results = {label: [judge.result(*pair) for pair in some] for label, some in views.items()}
    for row, drawn in enumerate(counts):
        combined = {
            label: judge.combined(np.repeat(np.array(some, dtype=object), drawn))
            for label, some in results.items()
        }
        means = {
            f"cls_{name}": np.mean([combined[str(label)][name] for label in CLASSES])
            for name in ("HOTA", "MOTA", "IDF1")
        }
        expected = [
            means[name] if name in means else combined[label][name]
            for name, label in evidence.columns
        ]
        assert table[row] == pytest.approx(expected, rel=0, abs=1e-12)


def test_every_sequence_once_gives_the_scores() -> None:
    evidence = evidence_of(*made(3))
    scores = evidence.scores()

    table = evidence.table(np.ones((1, 3), dtype=np.uint16))[0]

    for (name, label), value in zip(evidence.columns, table, strict=True):
        side = scores.per_class[label] if label else scores.metrics
        assert value == pytest.approx(side[name], rel=0, abs=1e-12)


def test_a_replicate_without_ground_truth_of_a_class_leaves_it_undefined() -> None:
    first, second = made_sequence(0, classes=(1,)), made_sequence(1, classes=(2,))
    evidence = evidence_of(first, second)
    at = {column: number for number, column in enumerate(evidence.columns)}

    only_first = evidence.table(np.array([[2, 0]], dtype=np.uint16))[0]

    assert np.isnan(only_first[at["HOTA", "2"]])
    assert only_first[at["cls_HOTA", ""]] == pytest.approx(only_first[at["HOTA", "1"]])
    assert evidence.carrying()[at["HOTA", "2"]] == 1
    assert evidence.carrying()[at["HOTA", ""]] == 2
    nothing = evidence.table(np.zeros((1, 2), dtype=np.uint16))[0]
    assert np.isnan(nothing[at["HOTA", ""]])
    assert nothing[at["IDSW", ""]] == 0


def test_joined_evidence_holds_the_sequences_of_both() -> None:
    pairs = made(3)
    worse = [(truth, found[: len(found) // 2]) for truth, found in pairs]
    first, second = evidence_of(*pairs), evidence_of(*worse)

    joined = first.joined(second)

    mixed = evidence_of(pairs[0], worse[1], pairs[2]).table(np.ones((1, 3), dtype=np.uint16))
    counts = np.array([[1, 0, 1, 0, 1, 0]], dtype=np.uint16)
    assert joined.table(counts) == pytest.approx(mixed, rel=0, abs=1e-12)
    assert joined.columns == first.columns
    assert joined.units == first.units + second.units
    assert first.truth_digest == second.truth_digest


def test_joining_keeps_classes_that_only_one_tracker_predicts() -> None:
    pairs = made(2)
    strange = [(truth, np.vstack([found, [3, 999, 0, 0, 9, 9, 1, 7]])) for truth, found in pairs]

    joined = evidence_of(*pairs).joined(evidence_of(*strange))

    assert joined.strays == ("7",)
    assert joined.scores().per_class["7"]["FP"] == 2


def test_evidence_of_other_classes_or_thresholds_does_not_join() -> None:
    pairs = made(1)
    with pytest.raises(DataError, match="different classes or thresholds"):
        evidence_of(*pairs).joined(evidence_of(*pairs, threshold=0.75))


@pytest.mark.parametrize("classes", [(1,), CLASSES])
def test_evidence_survives_as_arrays(classes: tuple[int, ...]) -> None:
    evidence = evidence_of(*made(2, classes))
    arrays = evidence.arrays()

    back = restore(arrays)

    assert not any(array.dtype.hasobject for array in arrays.values())
    assert back.scores() == evidence.scores()
    assert (back.columns, back.truth_digest) == (evidence.columns, evidence.truth_digest)


def test_the_digest_is_of_the_truth_alone_whatever_the_order_of_rows() -> None:
    truth, found = made_sequence(0)
    moved = truth.copy()
    moved[0, 2] += 1

    digest = evidence_of((truth, found)).truth_digest

    assert evidence_of((truth[::-1], found[:5])).truth_digest == digest
    assert evidence_of((moved, found)).truth_digest != digest


def test_a_perfect_tracker_has_a_perfect_score() -> None:
    truth, _ = made_sequence(0)

    metrics = evidence_of((truth, truth)).scores().metrics

    for name in ("HOTA", "DetA", "AssA", "LocA", "MOTA", "IDF1", "cls_HOTA", "det_HOTA"):
        assert metrics[name] == pytest.approx(1)
    assert metrics["IDSW"] == metrics["FP"] == metrics["FN"] == 0


def test_directions_say_which_counts_are_bad() -> None:
    for name in ("IDSW", "Frag", "FP", "FN", "ML", "cls_IDSW"):
        assert TASK.direction(name) == "minimize"
    for name in ("HOTA", "MOTA", "MT", "cls_HOTA"):
        assert TASK.direction(name) == "maximize"
    evidence = evidence_of(*made(1))
    columns = {name for name, _ in evidence.columns}
    assert columns <= set(evidence.scores().metrics) == {spec.name for spec in TASK.metrics}
    assert {TASK.primary, TASK.unit_metric} <= columns
