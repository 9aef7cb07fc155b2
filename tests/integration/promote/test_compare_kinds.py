"""Several candidates, several seeds, evaluations used again, and sides without weights."""

from pathlib import Path

import pytest

from backend import launch
from backend.analysis.comparison import ComparisonSettings
from backend.compare import Comparing, compare, compare_seeds, compare_several
from backend.core.comparisons import Comparison, RecipeComparison
from backend.core.errors import ComparisonError
from backend.sides import Side, find_side, shared_config
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from tests.support.mlflow_home import copy_home
from tests.support.toy import CATALOG, SPEC, ToyConfig, write_toy_data

RATES = {"slow-0": 0.02, "slow-1": 0.025, "slow-2": 0.03, "fast-0": 0.2, "fast-1": 0.25,
         "fast-2": 0.3}  # fmt: skip


@pytest.fixture(scope="module")
def home(
    template_home: Path, tmp_path_factory: pytest.TempPathFactory, workers: launch.Workers
) -> Home:
    """Three seeds of a slow recipe and three of a fast one, which the tests share."""
    folder = tmp_path_factory.mktemp("recipes")
    config = ToyConfig(data=write_toy_data(folder, images=40), epochs=2)
    home = copy_home(template_home, folder / "mlruns")
    for seed, (name, rate) in enumerate(RATES.items()):
        named = config.replace({"name": name, "optimizer.lr0": rate, "seed": seed})
        launch.run(home, launch.prepare(home, named, SPEC), workers)
    return home


def sides(home: Home, *names: str) -> list[Side]:
    return [find_side(home, MlflowStore(home), name, CATALOG) for name in names]


def how(home: Home) -> Comparing:
    old, new = sides(home, "slow-0", "fast-0")
    return Comparing(
        config=shared_config(old, new, {}, None, CATALOG), split="holdout",
        settings=ComparisonSettings(replicates=200), catalog=CATALOG,
    )  # fmt: skip


def test_what_was_evaluated_is_not_evaluated_again(home: Home, workers: launch.Workers) -> None:
    old, new = sides(home, "slow-0", "fast-0")
    first = compare(home, old, new, how(home), workers)
    again = compare(home, old, new, how(home), workers)
    assert again.key != first.key
    for side in ("baseline_report", "candidate_report"):
        assert getattr(again.target, side) == getattr(first.target, side)
    assert not list(home.work_dir(again.key).glob("*/predictions.json"))
    assert again.target.metrics == first.target.metrics


def test_changed_data_are_evaluated_anew(
    home: Home, workers: launch.Workers, tmp_path: Path
) -> None:
    other = how(home)
    assert other.config is not None
    changed = other.config.replace({"data": str(write_toy_data(tmp_path, images=30))})
    old, new = sides(home, "slow-0", "fast-0")
    asked = Comparing(changed, "holdout", other.settings, CATALOG)
    result = compare(home, old, new, asked, workers)
    assert result.target.units == 30
    assert list(home.work_dir(result.key).glob("*/predictions.json"))


def test_several_candidates_are_judged_together(home: Home, workers: launch.Workers) -> None:
    old, *new = sides(home, "slow-0", "slow-1", "fast-0")
    results = compare_several(home, old, new, how(home), workers)
    assert [result.candidate.label for result in results] == ["slow-1", "fast-0"]
    family = results[0].family
    assert family is not None
    assert family == results[1].family
    assert [member.label for member in family.members] == ["slow-1", "fast-0"]
    for member, result in zip(family.members, results, strict=True):
        assert member.delta == pytest.approx(result.headline.delta)
        assert member.low is not None
        assert member.high is not None
        assert member.low <= (member.delta or 0) <= member.high
    stored = {c.key for c in MlflowStore(home).comparisons()}
    assert {result.key for result in results} <= stored


def test_recipes_are_compared_over_their_seeds(home: Home, workers: launch.Workers) -> None:
    slow = sides(home, "slow-0", "slow-1", "slow-2")
    fast = sides(home, "fast-0", "fast-1", "fast-2")
    found = compare_seeds(home, (slow, fast), how(home), workers)
    assert len(found.baseline.values) == len(found.candidate.values) == 3
    assert found.delta > 0
    assert found.improvement == 1
    (kept,) = home.work.glob("*recipes*/recipes.json")
    assert RecipeComparison.model_validate_json(kept.read_text()) == found


def test_a_side_knows_how_it_was_trained(home: Home) -> None:
    (side,) = sides(home, "fast-1")
    contender = side.contender
    assert contender.params["optimizer.lr0"] == "0.25"
    assert set(contender.data) == {"train", "val"}
    assert "numpy" in contender.environment
    assert contender.selection is None


def test_what_differs_is_told(home: Home, workers: launch.Workers) -> None:
    old, new = sides(home, "slow-0", "fast-0")
    result = compare(home, old, new, how(home), workers)
    changed = {change.name: (change.baseline, change.candidate) for change in result.changes}
    assert changed["optimizer.lr0"] == ("0.02", "0.2")
    assert changed["seed"] == ("0", "3")


def test_weights_and_predictions_cannot_be_mixed(home: Home, workers: launch.Workers) -> None:
    old, new = sides(home, "slow-0", "fast-0")
    result: Comparison = compare(home, old, new, how(home), workers)
    brought = Side(new.contender, None, result.target.candidate_report)
    with pytest.raises(ComparisonError, match="compare two of a kind"):
        compare(home, old, brought, how(home), workers)
