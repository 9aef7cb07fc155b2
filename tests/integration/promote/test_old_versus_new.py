"""Old versus new and the gate, from references to aliases, on the toy trainer."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend import launch
from backend.analysis.comparison import ComparisonSettings
from backend.analysis.promotion import Policy
from backend.compare import Comparing, Side, compare, evaluate_one, find_side, shared_config
from backend.core.errors import (
    CheckpointError,
    ComparisonError,
    ConfigError,
    DataError,
    StoreError,
)
from backend.core.records import Comparison
from backend.promote import Gate, promote
from backend.tracking.home import Home
from backend.tracking.registry import Registry
from backend.tracking.store import MlflowStore
from tests.support.mlflow_home import copy_home
from tests.support.toy import CATALOG, SPEC, ToyConfig, write_toy_data

ROOT = Path(__file__).parents[3]
OLD, NEW = "old", "new"


@pytest.fixture(scope="module")
def workers() -> launch.Workers:
    return launch.Workers(("tests.support.toy",))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ToyConfig:
    folder = tmp_path_factory.mktemp("squares")
    return ToyConfig(data=write_toy_data(folder, images=40), epochs=2)


@pytest.fixture(scope="module")
def home(
    template_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
    config: ToyConfig,
    workers: launch.Workers,
) -> Home:
    """A home with a poor run and a good one, which the tests share."""
    home = copy_home(template_home, tmp_path_factory.mktemp("trained") / "mlruns")
    train(home, config, workers, OLD, 0.02)
    train(home, config, workers, NEW, 0.3)
    return home


def train(home: Home, config: ToyConfig, workers: launch.Workers, name: str, rate: float) -> None:
    named = config.replace({"name": name, "optimizer.lr0": rate})
    launch.run(home, launch.prepare(home, named, SPEC), workers)


def side(home: Home, reference: str) -> Side:
    return find_side(home, MlflowStore(home), reference, CATALOG)


def comparing(home: Home, workers: launch.Workers, split: str = "holdout") -> Comparison:
    old, new = side(home, OLD), side(home, NEW)
    how = Comparing(
        config=shared_config(old, new, {}, None, CATALOG), split=split,
        settings=ComparisonSettings(replicates=200), catalog=CATALOG,
    )  # fmt: skip
    return compare(home, old, new, how, workers)


def gate(model: str, force: bool = False, dry_run: bool = False) -> Gate:
    policy = Policy(replicates=200)
    return Gate(model=model, policy=policy, force=force, dry_run=dry_run, catalog=CATALOG)


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


def test_the_gate_promotes_refuses_forces_and_goes_back(
    home: Home, workers: launch.Workers
) -> None:
    store, asked = MlflowStore(home), gate("gated")
    first, evidence = promote(home, store, OLD, asked, workers)
    assert (first.promote, first.version, evidence) == (True, "1", None)
    better, evidence = promote(home, store, NEW, asked, workers)
    assert evidence is not None
    assert (better.promote, better.version, better.previous) == (True, "2", "1")
    assert better.evidence == evidence.key
    worse, _ = promote(home, store, OLD, asked, workers)
    assert (worse.promote, worse.version, worse.forced) == (False, "", False)
    assert any(reason.startswith("fail: mAP50-95 goes from") for reason in worse.reasons)
    assert store.champions()["gated"].sha256 == better.checkpoint.sha256
    pushed, _ = promote(home, store, OLD, gate("gated", force=True), workers)
    assert (pushed.promote, pushed.forced, pushed.version) == (False, True, "3")
    assert Registry(home).rollback("gated") == "2"
    assert store.champions()["gated"].sha256 == better.checkpoint.sha256
    kept = store.promotions("gated")
    assert [d.key for d in kept[1:]] == [d.key for d in (pushed, worse, better, first)]
    assert kept[0].reasons == ("rolled back from version 3 to version 2",)


def test_a_champion_of_unknown_origin_is_not_overlooked(
    home: Home, workers: launch.Workers
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(home.tracking_uri, registry_uri=home.tracking_uri)
    client.create_registered_model("foreign")
    client.create_model_version("foreign", source="file:///nowhere")
    client.set_registered_model_alias("foreign", "champion", "1")
    with pytest.raises(StoreError, match="was registered by something else"):
        promote(home, MlflowStore(home), NEW, gate("foreign"), workers)


def test_an_impossible_model_name_is_refused_before_anything_is_scored(
    home: Home, workers: launch.Workers
) -> None:
    before = sorted(home.work.iterdir())
    with pytest.raises(ConfigError, match="model name 'a/b'"):
        promote(home, MlflowStore(home), NEW, gate("a/b"), workers)
    assert sorted(home.work.iterdir()) == before


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


def test_a_dry_run_changes_nothing(home: Home, workers: launch.Workers) -> None:
    store = MlflowStore(home)
    decision, _ = promote(home, store, NEW, gate("dry", dry_run=True), workers)
    assert decision.promote
    assert "dry" not in store.champions()
    assert store.promotions("dry") == []


def test_the_champion_serves_after_its_run_is_gone(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    store = MlflowStore(home)
    train(home, config, workers, "gone", 0.3)
    promote(home, store, "gone", gate("lasting"), workers)
    shutil.rmtree(home.work_dir(store.run("gone").key))
    champion = side(home, "lasting@champion")
    assert champion.config is not None
    assert champion.contender.checkpoint.epoch == 2
    worse, evidence = promote(home, store, OLD, gate("lasting"), workers)
    assert evidence is not None
    assert not worse.promote
    code = (
        "import json, mlflow.pyfunc, numpy as np\n"
        "model = mlflow.pyfunc.load_model('models:/lasting@champion')\n"
        "image = np.full((32, 32, 3), 40, np.uint8); image[2:10, 12:20] = 220\n"
        "print(json.dumps(model.predict([image]).to_dict('records')))\n"
    )
    environment = {
        "MLFLOW_TRACKING_URI": home.tracking_uri, "PATH": "/usr/bin:/bin", "HOME": str(home.root),
        "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment,
                          capture_output=True, text=True, check=True)  # fmt: skip
    (box,) = json.loads(done.stdout)
    assert (box["x1"], box["y1"], box["label"]) == (12.0, 2.0, "square")
