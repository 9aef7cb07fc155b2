"""What each way to fine-tune AdaTAD finds for its cost (specs/adatad.md, 8.6).

The demo's small backbone is pre-trained on a simpler task and then made to find actions, with the
demo's config and the same steps for each strategy, with several seeds, each with a pre-training
of its own. Medians over the seeds; all scored on validation videos that no training saw.

    python benchmarks/bench_adatad_modes.py [--seeds 3] [--only adapter ...] [--keep FOLDER]
"""

import argparse
import json
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
from backend.core.events import Event, FreezeReported, MetricsLogged
from backend.synthetic.untrimmed import write_untrimmed
from backend.trainers.adatad.pretraining import Pretraining, pretrained
from backend.trainers.adatad.spec import STRATEGIES, AdaTadConfig
from backend.trainers.adatad.trainer import AdaTadTrainer
from studies._demo_adatad import CONFIG, Size

SHOWN = ("val/average_mAP", "val/mAP_0.3", "val/mAP_0.5", "val/mAP_0.7")
COSTS = ("parameters", "CPU s")
Found = Mapping[str, float]


class Never:
    """A StopSignal that never stops."""

    def reason(self) -> str | None:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--keep", type=Path, help="trainings that lie here are not repeated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench((options.keep or Path(folder)).absolute())
        rows = [bench.seed(seed, options.only) for seed in range(options.seeds)]
    print(f"\nmedian of {options.seeds} seeds, {Size.val} videos")
    print(" " * 14, *(f"{name:>15}" for name in (*SHOWN, *COSTS)))
    for name in options.only:
        middle = {key: statistics.median(row[name][key] for row in rows) for key in rows[0][name]}
        print(
            f"{name:14}",
            *(f"{middle[key]:15.3f}" for key in SHOWN),
            *(f"{middle[key]:15.0f}" for key in COSTS),
        )


class Bench:
    """Trainings in a folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = write_untrimmed(folder / "data", train=Size.train, val=Size.val)

    def seed(self, seed: int, strategies: list[str]) -> dict[str, Found]:
        """All strategies with one seed: the last metrics of each."""
        began = time.process_time()
        backbone = pretrained(
            self._folder / f"backbone-{seed}.safetensors", Pretraining(seed=seed)
        )
        print(
            f"seed {seed}: motion {backbone.motion:.3f}, colour {backbone.colour:.3f} of unseen "
            f"clips, {time.process_time() - began:.0f} CPU s"
        )
        given = {
            "seed": seed,
            "data": str(self._data),
            "model.pretrained": str(backbone.path),
            "diagnostics.stop": "never",
        }
        return {
            name: self.train(
                f"{name}-{seed}", load_config(CONFIG, {**given, "freeze.strategy": name})
            )
            for name in strategies
        }

    def train(self, name: str, config: TrainConfig) -> Found:
        """Its last metrics and its cost, trained unless they are there."""
        assert isinstance(config, AdaTadConfig)
        work, kept = self._folder / name, self._folder / name / "last.json"
        if not kept.is_file():
            work.mkdir(parents=True, exist_ok=True)
            found: dict[str, float] = {}

            def note(event: Event) -> None:
                if isinstance(event, MetricsLogged):
                    found.update(event.metrics)
                elif isinstance(event, FreezeReported):
                    found["parameters"] = sum(group.trainable for group in event.groups)

            began = time.process_time()
            AdaTadTrainer(config, work).fit(note, Never())
            found["CPU s"] = time.process_time() - began
            kept.write_text(json.dumps(found), encoding="utf-8")
        last: Found = json.loads(kept.read_text(encoding="utf-8"))
        print(
            f"{name:16}",
            *(f"{key} {last[key]:.3f}" for key in SHOWN),
            *(f"{key} {last[key]:.0f}" for key in COSTS),
            flush=True,
        )
        return last


if __name__ == "__main__":
    main()
