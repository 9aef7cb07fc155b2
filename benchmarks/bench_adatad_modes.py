"""What each way to fine-tune AdaTAD finds for its cost (specs/adatad.md, 8.6).

The demo's small backbone is pre-trained on a simpler task and then made to find actions, with the
demo's config and the same steps for each strategy, with several seeds, each with a pre-training
of its own. The last weights of all are scored on the same videos, which no training saw.

The first table holds medians over the seeds. The second one compares neighbours: differences of
average mAP with 95 % intervals over videos and seeds, for which it takes 3 seeds; with fewer there
is an interval over videos for each pair of trainings.

    python benchmarks/bench_adatad_modes.py [--seeds 3] [--only adapter full] [--keep FOLDER]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from pydantic import BaseModel

from backend.analysis import text
from backend.analysis.comparison import compare_reports
from backend.analysis.recipes import LEAST_SEEDS, compare_recipes
from backend.analysis.reports import paired_evidence, task_of
from backend.catalog import load_config
from backend.core.comparisons import MetricDelta, RecipeComparison
from backend.core.events import Evaluated, Event, FreezeReported
from backend.core.records import EvalReport
from backend.synthetic.untrimmed import write_untrimmed
from backend.trainers.adatad.pretraining import Pretraining, pretrained
from backend.trainers.adatad.spec import AdaTadConfig
from backend.trainers.adatad.trainer import AdaTadTrainer
from benchmarks._measuring import Never
from studies._demo_adatad import CONFIG, Size

STRATEGIES = ("head-only", "plain-adapter", "adapter", "last-layers", "full")
"""The most frozen first."""
SHOWN = ("average_mAP", "mAP@0.3", "mAP@0.5", "mAP@0.7")
VIDEOS = 40


class Result(BaseModel):
    """What a training found, and what it took."""

    report: EvalReport
    parameters: int
    cpu_seconds: float

    def row(self) -> list[float]:
        metrics = [self.report.metrics[name] or 0.0 for name in SHOWN]
        return [*metrics, self.parameters, self.cpu_seconds]


Results = Mapping[str, Sequence[Result]]
"""One result per seed, by strategy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=STRATEGIES, default=STRATEGIES)
    parser.add_argument("--keep", type=Path, help="trainings that lie here are not repeated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench((options.keep or Path(folder)).absolute())
        seeds = [bench.seed(seed, options.only) for seed in range(options.seeds)]
        results = {name: [seed[name] for seed in seeds] for name in options.only}
        print_medians(results)
        print_differences(results)


@dataclass(frozen=True)
class Bench:
    """Trainings in a folder, one after the other."""

    folder: Path

    def seed(self, seed: int, strategies: Sequence[str]) -> dict[str, Result]:
        """All strategies with one seed."""
        began = time.process_time()
        backbone = pretrained(self.folder / f"backbone-{seed}.safetensors", Pretraining(seed=seed))
        print(
            f"seed {seed}: motion {backbone.motion:.3f}, colour {backbone.colour:.3f} of unseen "
            f"clips, {time.process_time() - began:.0f} CPU s"
        )
        given = {
            "seed": seed,
            "data": str(write_untrimmed(self.folder / "data", train=Size.train, val=VIDEOS)),
            "model.pretrained": str(backbone.path),
            "diagnostics.stop": "never",
        }
        return {
            name: self.result(f"{name}-{seed}", {**given, "freeze.strategy": name})
            for name in strategies
        }

    def result(self, name: str, given: Mapping[str, object]) -> Result:
        """Of one training, made unless it is there."""
        kept = self.folder / name / "result.json"
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(trained(kept.parent, given).model_dump_json(), encoding="utf-8")
        result = Result.model_validate_json(kept.read_text(encoding="utf-8"))
        print(f"{name:16} average mAP {result.row()[0]:.3f}, {result.cpu_seconds:.0f} CPU s",
              flush=True)  # fmt: skip
        return result


def trained(work: Path, given: Mapping[str, object]) -> Result:
    """Train by the demo's config and score the last weights, validating at the end only."""
    config = load_config(CONFIG, given)
    config = config.replace({"runner.validation.begin": config.epochs})
    assert isinstance(config, AdaTadConfig)
    reports: list[EvalReport] = []
    parameters: list[int] = []

    def note(event: Event) -> None:
        if isinstance(event, Evaluated):
            reports.append(event.report)
        elif isinstance(event, FreezeReported):
            parameters.append(sum(group.trainable for group in event.groups))

    began = time.process_time()
    AdaTadTrainer(config, work).fit(note, Never())
    return Result(
        report=reports[-1],
        parameters=parameters[0],
        cpu_seconds=time.process_time() - began,
    )


def print_medians(results: Results) -> None:
    print(f"\nmedians over seeds: {len(next(iter(results.values())))}, {VIDEOS} videos")
    print(" " * 16, *(f"{name:>12}" for name in (*SHOWN, "parameters", "CPU s")))
    for name, found in results.items():
        rows = [one.row() for one in found]
        middle = [statistics.median(column) for column in zip(*rows, strict=True)]
        cut = len(SHOWN)
        print(
            f"{name:16}",
            *(f"{value:12.3f}" for value in middle[:cut]),
            *(f"{value:12.0f}" for value in middle[cut:]),
        )


def print_differences(results: Results) -> None:
    print(f"\ndifferences of {SHOWN[0]}, with intervals at 95 %")
    for (old, before), (new, after) in pairwise(results.items()):
        for difference in differences(before, after):
            print(
                f"{old:>14} -> {new:14} {text.signed(difference.delta)}  "
                f"{text.bounds(difference.low, difference.high)}  {difference.verdict}"
            )


def differences(
    old: Sequence[Result], new: Sequence[Result]
) -> Sequence[RecipeComparison | MetricDelta]:
    """Over seeds and videos at once, or over videos for each seed if seeds are too few."""
    pairs = [(before.report, after.report) for before, after in zip(old, new, strict=True)]
    if len(pairs) < LEAST_SEEDS:
        return [compare_reports(*pair).metrics[0] for pair in pairs]
    before, after = zip(*(paired_evidence(pair) for pair in pairs), strict=True)
    return [compare_recipes(task_of(pairs[0][0]), before, after)]


if __name__ == "__main__":
    main()
