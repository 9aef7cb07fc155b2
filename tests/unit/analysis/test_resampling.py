import numpy as np
import pytest

from backend.analysis.resampling import (
    bootstrap_counts,
    jackknife_counts,
    p_values,
    resample,
    swapped_differences,
)
from tests.support.evidence import CountEvidence, counted


def test_bootstrap_draws_as_many_units_as_there_are_and_repeats_by_seed() -> None:
    counts = bootstrap_counts(50, 2000, seed=1)

    assert set(counts.sum(axis=1)) == {50}
    assert np.array_equal(counts, bootstrap_counts(50, 2000, seed=1))
    assert not np.array_equal(counts, bootstrap_counts(50, 2000, seed=2))
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.15)
    assert counts.var() == pytest.approx(1 - 1 / 50, abs=0.03)  # binomial(50, 1/50)


def test_the_jackknife_leaves_out_each_unit_once() -> None:
    assert jackknife_counts(4).tolist() == [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]


def test_many_units_are_left_out_in_groups() -> None:
    counts = jackknife_counts(250)

    assert counts.shape == (100, 250)
    assert set((counts == 0).sum(axis=1)) == {2, 3}
    assert ((counts == 0).sum(axis=0) == 1).all()


def test_all_resamples_come_from_one_table() -> None:
    evidence, drawn = counted(30), bootstrap_counts(30, 7, seed=0)

    found = resample(evidence, drawn)

    assert found.observed[0] == evidence.scores().metrics["f1"]
    np.testing.assert_array_equal(found.replicates, evidence.table(drawn))
    np.testing.assert_array_equal(found.left_out, evidence.table(jackknife_counts(30)))


def test_swapped_models_are_scored_as_whole_sets() -> None:
    """By hand: each unit's result goes to one side, the other model's to the other side."""
    old, new = counted(6, seed=1), counted(6, skill=0.9, seed=2)

    found = swapped_differences(old, new, permutations=20, seed=3)

    swap = np.random.default_rng(3).integers(0, 2, (20, 6), dtype=np.uint16).astype(bool)
    ones = np.ones((1, 6), dtype=np.uint16)
    for row, mask in zip(found, swap, strict=True):
        one = CountEvidence(np.where(mask[:, None, None], old.found, new.found))
        other = CountEvidence(np.where(mask[:, None, None], new.found, old.found))
        np.testing.assert_allclose(row, (one.table(ones) - other.table(ones))[0], atol=1e-12)


def test_p_counts_the_data_as_one_of_the_swaps() -> None:
    swapped = np.array([[0.1, 0.1], [-0.3, 0.1], [0.0, -0.2], [0.2, np.nan]])

    assert p_values(np.array([0.2, 0.5]), swapped).tolist() == [3 / 5, 1 / 4]


def test_p_is_uniform_when_both_sides_are_draws_of_one_model() -> None:
    values = []
    for trial in range(200):
        old, new = (counted(40, seed=2 * trial + side, truth=trial) for side in (0, 1))
        observed = new.scores().metrics["f1"] - old.scores().metrics["f1"]  # type: ignore[operator]
        swapped = swapped_differences(old, new, 99, seed=trial)
        values.append(p_values(np.array([observed]), swapped[:, :1])[0])

    shares = [np.mean(np.array(values) <= level) for level in (0.1, 0.5)]
    assert shares == pytest.approx([0.1, 0.5], abs=0.11)  # three standard errors at 0.5
