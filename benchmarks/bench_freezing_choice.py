"""Which freezing pays where: the same choices on few images of a known domain, and on a new one.

A tiny detector is trained from scratch on the demo's source domain; then each choice fine-tunes it
on both targets. At a learning rate that is too high for so few images, a frozen network or
layer-wise decay saves what was known (full training loses at least 0.3 mAP50 against both); a new
domain needs everything to train (freezing loses at least 0.1). About three minutes on one core.

    python benchmarks/bench_freezing_choice.py [--seeds 1]
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHOICES: dict[str, dict[str, object]] = {
    "full": {},
    "backbone": {"freeze.strategy": "backbone"},
    "head-only": {"freeze.strategy": "head-only"},
    "full, layer_decay 0.5": {"optimizer.layer_decay": 0.5},
}
TARGETS: dict[str, dict[str, object]] = {
    "target-same": {"optimizer.lr0": 1e-2, "epochs": 6},
    "target-new": {"optimizer.lr0": 1e-3, "epochs": 20},
}
SAVED, NEEDED = 0.3, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.seeds)
    print(f"{'mAP50 on val, mean of seeds':<26}" + "".join(f"{name:>14}" for name in TARGETS))
    for choice in CHOICES:
        print(f"{choice:<26}" + "".join(f"{found[name, choice]:14.3f}" for name in TARGETS))
    same, new = (
        {choice: found[name, choice] - found[name, "full"] for choice in CHOICES}
        for name in TARGETS
    )
    saved = min(same["head-only"], same["full, layer_decay 0.5"])
    needed = -max(new["backbone"], new["head-only"])
    print(f"saved on the known domain  {saved:+.3f} (at least {SAVED})")
    print(f"needed on the new domain   {needed:+.3f} (at least {NEEDED})")
    sys.exit(0 if saved >= SAVED and needed >= NEEDED else 1)


def measure(folder: Path, seeds: int) -> dict[tuple[str, str], float]:
    """The mean mAP50 of the best checkpoint, by target and choice."""
    from backend.synthetic.digits import write_digits

    data = write_digits(folder / "data")
    model = str(ROOT / "configs" / "models" / "yolo-tiny.yaml")
    source, score = train("source", {"data": str(data.source), "model": model}, folder / "source")
    print(f"source model: mAP50 {score:.3f}")
    found: dict[tuple[str, str], float] = {}
    for target, path in (("target-same", data.target_same), ("target-new", data.target_new)):
        for number, (choice, settings) in enumerate(CHOICES.items()):
            given = {"data": str(path), "model": str(source), **TARGETS[target], **settings}
            work = folder / target / str(number)
            scores = [
                train(target, {**given, "seed": seed}, work / str(seed))[1]
                for seed in range(seeds)
            ]
            found[target, choice] = sum(scores) / seeds
    return found


def train(config: str, given: dict[str, object], work: Path) -> tuple[Path, float]:
    """The best checkpoint of a training, and its mAP50."""
    from backend.catalog import load_config
    from backend.core.events import Evaluated, Event
    from backend.trainers.yolo.spec import YoloConfig
    from backend.trainers.yolo.trainer import YoloTrainer

    loaded = load_config(
        ROOT / "configs" / "demo" / f"{config}.yaml", {**given, "diagnostics.observe": False}
    )
    assert isinstance(loaded, YoloConfig)
    events: list[Event] = []
    outcome = YoloTrainer(loaded, work).fit(events.append, Never())
    (told,) = (event for event in events if isinstance(event, Evaluated))
    assert outcome.best
    return work / outcome.best, told.report.metrics["mAP50"] or 0.0


class Never:
    """Nobody asks it to stop."""

    def reason(self) -> str | None:
        return None


if __name__ == "__main__":
    main()
