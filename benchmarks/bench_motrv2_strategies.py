"""What each freezing strategy gains on eight classes and forgets of one (specs/motrv2.md, 5.4).

The demo's small tracker is trained on the synthetic source domain and then fine-tuned to the
target's eight classes, 400 steps for each strategy, with several seeds. Once more without class
ids in the detection database, which a frozen body cannot do without. Medians over the seeds; all
scored on validation sequences that no training saw.

    python benchmarks/bench_motrv2_strategies.py [--seeds 3] [--keep FOLDER]
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from backend.catalog import load_config
from backend.config.schema import TrainConfig
from backend.core.events import Event, MetricsLogged
from backend.synthetic.volleyball import write_volleyball
from backend.trainers.motrv2.spec import Motrv2Config
from backend.trainers.motrv2.trainer import Motrv2Trainer
from benchmarks._measuring import Never

DEMO = Path(__file__).parents[1] / "configs" / "demo"
STRATEGIES = ("minimal", "moderate", "aggressive", "full")
SHOWN = ("val/HOTA", "val/cls_HOTA", "val/class_accuracy", "val/swept_HOTA", "source/HOTA")
STEPS = 400
Found = Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="trainings that lie here are not repeated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench((options.keep or Path(folder)).absolute())
        rows = [bench.seed(seed) for seed in range(options.seeds)]
    print(f"\nmedian of {options.seeds} seeds, {STEPS} steps")
    print(" " * 20, *(f"{name:>18}" for name in SHOWN))
    for name in rows[0]:
        columns = [
            statistics.median(row[name].get(metric, math.nan) for row in rows) for metric in SHOWN
        ]
        print(f"{name:20}", *(f"{value:18.3f}" for value in columns))


class Bench:
    """Trainings in a folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = write_volleyball(folder / "data")

    def seed(self, seed: int) -> dict[str, Found]:
        """The ladder with one seed: the last metrics of each training."""
        source = self._config("volleyball-source", "source", {"seed": seed})
        before = self.train(f"source-{seed}", source)
        pretrained = next((self._folder / f"source-{seed}/checkpoints").glob("*.safetensors"))
        given = {
            "seed": seed,
            "source": str(self._data["source"]),
            "model.pretrained": str(pretrained),
            "clips.per_epoch": STEPS // 4,
        }
        found: dict[str, Found] = {"source": {"source/HOTA": before["val/HOTA"]}}
        for name in STRATEGIES:
            config = self._config(
                "volleyball-target", "target", {**given, "freeze.strategy": name}
            )
            found[name] = self.train(f"{name}-{seed}", config)
        blind = {"freeze.strategy": "moderate", "model.proposal_class": "ignore"}
        config = self._config("volleyball-target", "target", {**given, **blind})
        found["moderate without ids"] = self.train(f"blind-{seed}", config)
        return found

    def train(self, name: str, config: TrainConfig) -> Found:
        """Its last metrics, trained unless they are there."""
        assert isinstance(config, Motrv2Config)
        work, kept = self._folder / name, self._folder / name / "last.json"
        if not kept.is_file():
            work.mkdir(parents=True, exist_ok=True)
            metrics: dict[str, float] = {}

            def note(event: Event) -> None:
                if isinstance(event, MetricsLogged):
                    metrics.update(event.metrics)

            began = time.process_time()
            Motrv2Trainer(config, work).fit(note, Never())
            kept.write_text(json.dumps(metrics), encoding="utf-8")
            print(f"{name}: {time.process_time() - began:.0f} CPU s", flush=True)
        found: Found = json.loads(kept.read_text(encoding="utf-8"))
        print(f"{name:20}", *(f"{key} {found[key]:.3f}" for key in SHOWN if key in found))
        return found

    def _config(self, name: str, domain: str, over: dict[str, object]) -> TrainConfig:
        given = {"data": str(self._data[domain]), "diagnostics.stop": "never", **over}
        config = load_config(DEMO / f"{name}.yaml", given)
        return config.replace({"runner.validation.begin": config.epochs})


if __name__ == "__main__":
    main()
