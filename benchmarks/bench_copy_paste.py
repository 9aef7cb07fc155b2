"""What a made image costs, and with --effect whether made images help at equal optimizer steps.

Cost, on the CPU without loader processes: milliseconds to make an image of the digits (96 pixels)
and of large photographs-to-be (640 pixels of noise), beside giving a real one from the RAM cache;
and CPU seconds per trained image of whole trainings with and without made images, in turns.

Effect (minutes): a source model is fine-tuned on the 32 images of target-new, with real images
only and with two made images per real one, for the same number of steps, with several seeds each.
Cut-outs come from the 32 training images, by their boxes; backgrounds are boards without digits.
The runs are compared on the holdout by ``assay``'s own comparison of recipes.

    python benchmarks/bench_copy_paste.py [--rounds 3] [--effect] [--seeds 5]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from PIL import Image

from backend.catalog import load_config
from backend.config.schema import TrainConfig
from backend.synthetic._scenes import BOARD
from backend.synthetic.digits import SIDE, write_digits
from benchmarks._measuring import Never

ROOT = Path(__file__).parents[1]
MADE = 300
COUNTS = {"source": (240, 80, 80), "target-same": (12, 8, 8), "target-new": (32, 48, 120)}
RATIO = 2
EPOCHS = 21
"""Of real images only: a multiple of 1 + RATIO, so that the steps are equal to the one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--effect", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--weights", default="", help="A source model; empty: train one first.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = prepared(Path(folder))
        images(config, Path(folder))
        if options.rounds:
            trainings(config, options.rounds)
        if options.effect:
            effect(config, Path(folder) / "mlruns", options.seeds, options.weights)


def prepared(folder: Path) -> TrainConfig:
    """Fine-tuning on target-new, with folders to paste from."""
    data = write_digits(folder / "digits", images=COUNTS)
    backgrounds = folder / "boards"
    backgrounds.mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        board = np.clip(BOARD.canvas(rng, SIDE), 0, 255).astype(np.uint8)
        Image.fromarray(board).save(backgrounds / f"{number:02d}.png")
    return load_config(
        ROOT / "configs/demo/target-new.yaml",
        {
            "data": str(data.target_new),
            "source": str(data.source),
            "model": str(ROOT / "configs/models/yolo-tiny.yaml"),
            "device": "cpu",
            "epochs": EPOCHS // (1 + RATIO),
            "synthetic.annotated_dir": str(data.target_new.parent / "images" / "train"),
            "synthetic.backgrounds_dir": str(backgrounds),
            "synthetic.ratio": RATIO,
        },
    )


def images(config: TrainConfig, folder: Path) -> None:
    """Print milliseconds per image."""
    from backend.trainers.yolo.preparation import check
    from backend.trainers.yolo.spec import YoloConfig
    from backend.trainers.yolo.synthetic import PastedDataset
    from backend.trainers.yolo.view import build_view

    from ultralytics.cfg import get_cfg  # isort: skip

    assert isinstance(config, YoloConfig)
    for side in (SIDE, 640):
        checked = check(config.replace({"imgsz": side}), folder / f"work-{side}")
        assert checked.pasting is not None
        data = build_view(folder / f"view-{side}", checked.train, checked.val)
        dataset = PastedDataset(
            checked.pasting,
            **{"img_path": data["train"], "data": data, "augment": True, "cache": "ram"},
            **{"hyp": get_cfg(), "imgsz": side, "batch_size": 4, "pad": 0.0},
        )
        real = timed(dataset.get_image_and_label, range(dataset.ni))
        made = timed(dataset.get_image_and_label, range(dataset.ni, len(dataset)))
        print(
            f"{side} px: a made image {made:.2f} ms, a cached real one {real:.2f} ms", flush=True
        )


def timed(give: Callable[[int], object], indices: range) -> float:
    """CPU milliseconds per image."""
    began = time.process_time()
    for number in range(MADE):
        give(indices[number % len(indices)])
    return (time.process_time() - began) / MADE * 1000


def trainings(config: TrainConfig, rounds: int) -> None:
    """Print CPU milliseconds per trained image, with and without made ones, for as many images."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for pasting in (number % 2 == 0, number % 2 == 1):
            seconds[pasting].append(trained(config if pasting else real_only(config)))
    with_made, without = statistics.median(seconds[True]), statistics.median(seconds[False])
    images = COUNTS["target-new"][0] * EPOCHS
    print(
        f"training: {1000 * with_made / images:.1f} ms per image with 2 made per real one, "
        f"{1000 * without / images:.1f} ms with real ones only, ratio {with_made / without:.3f}; "
        "validations apart from one are left out",
        flush=True,
    )


def trained(config: TrainConfig) -> float:
    """CPU seconds of a training that is validated once."""
    from backend.trainers.yolo.spec import YoloConfig
    from backend.trainers.yolo.trainer import YoloTrainer

    once = config.replace({"val_period": config.epochs, "diagnostics.observe": False})
    assert isinstance(once, YoloConfig)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        YoloTrainer(once, Path(folder)).fit(lambda event: None, Never())
        return time.process_time() - began


def real_only(config: TrainConfig) -> TrainConfig:
    """As many optimizer steps, and images, with real ones only."""
    from studies.copy_paste import equal_steps

    return config.replace({"synthetic.ratio": 0.0, **equal_steps(config, 0.0)})


def effect(config: TrainConfig, root: Path, seeds: int, weights: str) -> None:
    """Train both recipes with every seed, compare them on the holdout, print it."""
    from backend.analysis.settings import ComparisonSettings
    from backend.compare import Comparing, compare_seeds
    from backend.sides import find_side
    from backend.tracking.home import Home
    from studies._demo_parts import Parts

    home = Home(root)
    home.prepare()
    parts = Parts(home, "yolo")
    if not weights:
        given = {"data": config.flat()["source"], "model": config.flat()["model"], "device": "cpu"}
        source = parts.train(load_config(ROOT / "configs/demo/source.yaml", given))
        weights = parts.weights(source)
    tuned = config.replace({"model": weights})
    sides = []
    for recipe, base in (("real only", real_only(tuned)), ("made", tuned)):
        runs = [
            parts.train(base.replace({"seed": seed, "name": f"{recipe}, seed {seed}"}))
            for seed in range(seeds)
        ]
        sides.append([find_side(home, parts.store, run.key) for run in runs])
    how = Comparing(tuned, "holdout", ComparisonSettings(), keep=False)
    found = compare_seeds(home, (sides[0], sides[1]), how, parts.workers)
    steps = [sorted({side.contender.steps or 0 for side in recipe}) for recipe in sides]
    print(f"steps: real only {steps[0]}, with made images {steps[1]}")
    for name, side in (("real only", found.baseline), ("with made images", found.candidate)):
        values = ", ".join(f"{value:.3f}" for value in side.values)
        print(f"{name:17} {found.metric} {side.iqm:.3f} ({values})")
    print(
        f"difference {found.delta:+.3f} [{found.low:+.3f}, {found.high:+.3f}]: {found.verdict}; "
        f"{found.units} images, {seeds} seeds"
    )
    for warning in found.warnings:
        print(f"warning: {warning}")


if __name__ == "__main__":
    main()
