"""What using a frozen backbone's features again saves in a study of the head's settings.

Trials of AdaTAD's head-only on made videos, each with another learning rate of the detector, to
the end of their final evaluation: the whole study with ``reuse.folder``, whose first trial
computes the features, against the same trials without. The two take turns trial by trial in one
process, and their metrics must be equal to the bit. Seconds are CPU seconds of the process.

    python benchmarks/bench_feature_reuse.py [--trials 4] [--epochs 4] [--videos 8 4]
    python benchmarks/bench_feature_reuse.py --preset videomae-small --size 160
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from backend.catalog import load_config
from backend.core.events import Evaluated, Event
from backend.synthetic.untrimmed import write_untrimmed
from backend.trainers.adatad.spec import AdaTadConfig
from backend.trainers.adatad.trainer import AdaTadTrainer
from benchmarks._measuring import Never

CONFIG = Path(__file__).parents[1] / "configs" / "demo" / "untrimmed.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument(
        "--videos", type=int, nargs=2, default=(8, 4), help="to train, to validate"
    )
    parser.add_argument("--preset", default="tiny", choices=("tiny", "videomae-small"))
    parser.add_argument("--size", type=int, default=64, help="pixels of a side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, val = options.videos
        data = write_untrimmed(folder / "data", train=train, val=val)
        told = f"{options.trials} trials of {options.epochs} epochs, {train} + {val} videos, "
        told += f"{options.preset} at {options.size} x {options.size}; load "
        print(f"{told}{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        study(options, data, folder)


def study(options: argparse.Namespace, data: Path, folder: Path) -> None:
    """Both ways, trial by trial."""
    taken: dict[str, list[float]] = {"again": [], "anew": []}
    for trial in range(options.trials):
        metrics = {}
        for way, kept in (("again", folder / "features"), ("anew", None)):
            config = configured(options, data, kept, lr=1e-3 * 2**trial)
            begun = time.process_time()
            metrics[way] = trained(config, folder / f"{way}-{trial}")
            taken[way].append(time.process_time() - begun)
        if metrics["again"] != metrics["anew"]:
            raise SystemExit(f"trial {trial}: {metrics}: features that are used again changed it")
        again, anew = taken["again"][-1], taken["anew"][-1]
        print(f"  trial {trial + 1}: {again:7.2f} s, anew {anew:7.2f} s, ratio {again / anew:.2f}")
    again, anew = sum(taken["again"]), sum(taken["anew"])
    print(f"the study: {again:7.2f} s, anew {anew:7.2f} s, ratio again / anew {again / anew:.2f}")


def configured(
    options: argparse.Namespace, data: Path, kept: Path | None, lr: float
) -> AdaTadConfig:
    """A trial's config."""
    overrides: dict[str, object] = {
        "data": str(data),
        "epochs": options.epochs,
        "model.preset": options.preset,
        "frames.size": options.size,
        "freeze.strategy": "head-only",
        "reuse.folder": str(kept) if kept else None,
        "runner.optimizer.lr.detector": lr,
        "runner.schedule.warmup_steps": 1,
    }
    config = load_config(CONFIG, overrides)
    assert isinstance(config, AdaTadConfig)
    return config


def trained(config: AdaTadConfig, work_dir: Path) -> dict[str, float | None]:
    """The metrics of a trial."""
    events: list[Event] = []
    work_dir.mkdir()
    AdaTadTrainer(config, work_dir).fit(events.append, Never())
    (found,) = (event.report.metrics for event in events if isinstance(event, Evaluated))
    return dict(found)


if __name__ == "__main__":
    main()
