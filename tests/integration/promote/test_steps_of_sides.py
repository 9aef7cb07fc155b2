"""How long each side was trained is known from its run, whatever its trainer."""

from pathlib import Path

from backend import launch
from backend.analysis.comparison import ComparisonSettings
from backend.compare import Comparing, compare_seeds
from backend.sides import find_side
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from tests.support.mlflow_home import copy_home
from tests.support.toy import CATALOG, STEPS_PER_EPOCH, ToyConfig
from tests.support.trained import train


def test_a_side_knows_its_training_and_a_comparison_of_seeds_says_if_they_differ(
    template_home: Path, tmp_path: Path, config: ToyConfig, workers: launch.Workers
) -> None:
    home: Home = copy_home(template_home, tmp_path / "mlruns")
    train(home, config, workers, "short", 0.02)
    train(home, config.replace({"epochs": 3}), workers, "long", 0.02)
    store = MlflowStore(home)
    short, long = (find_side(home, store, name, CATALOG) for name in ("short", "long"))
    assert short.contender.steps == 2 * STEPS_PER_EPOCH
    assert long.contender.steps == 3 * STEPS_PER_EPOCH
    path = Path(long.contender.checkpoint.path)
    assert find_side(home, store, str(path), CATALOG).contender.steps == 3 * STEPS_PER_EPOCH
    how = Comparing(
        short.config, "holdout", ComparisonSettings(replicates=200), CATALOG, keep=False
    )
    assert "trained for 8 optimizer steps and the candidate for 12" in " ".join(
        compare_seeds(home, ([short], [long]), how, workers).warnings
    )
    assert "optimizer steps" not in " ".join(
        compare_seeds(home, ([short], [short]), how, workers).warnings
    )
