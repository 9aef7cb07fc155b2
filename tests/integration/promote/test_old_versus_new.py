"""Old versus new, from references to what is kept, on the toy trainer."""

import shutil
from pathlib import Path

import pytest

from backend import launch
from backend.analysis.comparison import ComparisonSettings
from backend.compare import Comparing, compare, evaluate_one
from backend.core.comparisons import Comparison
from backend.core.errors import (
    CheckpointError,
    ComparisonError,
    DataError,
    StoreError,
)
from backend.sides import Side, find_side, shared_config
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from tests.support.toy import CATALOG, ToyConfig
from tests.support.trained import NEW, OLD, train


def side(home: Home, reference: str) -> Side:
    return find_side(home, MlflowStore(home), reference, CATALOG)


def comparing(home: Home, workers: launch.Workers, split: str = "holdout") -> Comparison:
    old, new = side(home, OLD), side(home, NEW)
    how = Comparing(
        config=shared_config(old, new, {}, None, CATALOG), split=split,
        settings=ComparisonSettings(replicates=200), catalog=CATALOG,
    )  # fmt: skip
    return compare(home, old, new, how, workers)


def test_references_name_the_same_checkpoints(home: Home) -> None:
    best = side(home, NEW).contender.checkpoint
    assert side(home, best.run).contender.checkpoint == best
    assert side(home, best.run[:-1]).contender.checkpoint == best, "a unique prefix will do"
    assert side(home, f"{NEW}@{best.epoch}").contender.checkpoint == best
    assert side(home, f"{NEW}@last").contender.checkpoint.epoch == 2
    by_path = side(home, best.path).contender.checkpoint
    assert (by_path.sha256, by_path.epoch, by_path.run) == (best.sha256, best.epoch, best.run)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("new@9", "keeps no checkpoint '9'; epochs: 1, 2"),
        ("squares@champion", "no registered model 'squares' has a champion; there is: none yet"),
        ("gone.safetensors", "gone.safetensors: no such weight file"),
    ],
)
def test_wrong_references_are_answered(home: Home, reference: str, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        side(home, reference)


def test_an_unknown_run_is_answered(home: Home) -> None:
    with pytest.raises(StoreError, match="moon"):
        side(home, "moon")


def test_a_comparison_is_judged_kept_and_readable(home: Home, workers: launch.Workers) -> None:
    result = comparing(home, workers)
    assert result.headline.verdict == "better"
    assert result.target.units == 40
    assert result.source is None
    folder = home.work_dir(result.key)
    assert Comparison.model_validate_json((folder / "comparison.json").read_text()) == result
    assert "is better than" in (folder / "report.md").read_text()
    assert MlflowStore(home).comparisons()[0] == result
    moved = {change.layer: change.relative for change in result.weights}
    assert all(share and share > 0 for share in moved.values())


def test_a_split_used_by_the_search_is_warned_of(home: Home, workers: launch.Workers) -> None:
    assert any("val" in warning for warning in comparing(home, workers, "val").warnings)
    assert not any("'val'" in warning for warning in comparing(home, workers).warnings)


def test_an_unknown_split_leaves_nothing(home: Home, workers: launch.Workers) -> None:
    before = sorted(home.work.iterdir())
    with pytest.raises(DataError, match="no split 'moon'"):
        comparing(home, workers, "moon")
    assert sorted(home.work.iterdir()) == before


def test_files_from_elsewhere_need_a_config(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "stray.safetensors"
    shutil.copy(side(home, NEW).contender.checkpoint.path, path)
    with pytest.raises(ComparisonError, match="--config"):
        shared_config(None, side(home, str(path)), {}, None, CATALOG)


def test_evaluation_of_one(home: Home, workers: launch.Workers) -> None:
    new = side(home, NEW)
    assert new.config is not None
    report = evaluate_one(home, new, new.config, "val", workers, CATALOG)
    logged = MlflowStore(home).run(NEW).best["val/mAP50-95"]
    assert report.metrics["mAP50-95"] == pytest.approx(logged)


def test_forgetting_is_measured_on_val_of_the_source(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    train(home, config.replace({"source": str(config.data)}), workers, "with-source", 0.3)
    old, new = side(home, OLD), side(home, "with-source")
    assert new.config is not None
    how = Comparing(
        config=new.config, split="holdout", settings=ComparisonSettings(replicates=200),
        catalog=CATALOG,
    )  # fmt: skip
    result = compare(home, old, new, how, workers)
    assert result.source is not None
    assert (result.target.split, result.source.split) == ("holdout", "val")
    assert not any("winner" in warning for warning in result.warnings)


def test_damaged_facts_are_named(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "stray.safetensors"
    shutil.copy(side(home, NEW).contender.checkpoint.path, path)
    path.with_suffix(".json").write_text("{broken")
    with pytest.raises(CheckpointError, match=r"stray.json: damaged"):
        side(home, str(path))
