"""What logging costs the training process per step, in one run on one machine.

Four ways to log the same ten metrics at each step of the same work (a matrix product of some
milliseconds): not at all; our event stream (one JSON line, read by another process);
Ultralytics' own MLflow callback (real code, SQLite store); ``mlflow.log_metrics`` (same store).
The four take turns within each round; medians over the rounds are printed.

    python benchmarks/bench_events.py [--steps 200] [--rounds 5]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

KEYS = ("train/box_loss", "train/cls_loss", "train/dfl_loss", "val/box_loss", "val/cls_loss",
        "val/dfl_loss", "val/mAP50", "val/mAP50-95", "val/precision", "val/recall")  # fmt: skip
Log = Callable[[int], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "no logging": lambda step: None,
            "Assay events.jsonl": events(Path(folder)),
            **peers(Path(folder)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, log in ways.items():
                seconds[name].append(per_step(log, options.steps))
        end_peers()
    report({name: statistics.median(times) for name, times in seconds.items()})


def events(folder: Path) -> Log:
    from backend.core.events import MetricsLogged
    from backend.core.sinks import JsonlSink
    from backend.worker import Emitter

    emit = Emitter(JsonlSink(folder / "events.jsonl"))
    return lambda step: emit(
        MetricsLogged(step=step, epoch=step, metrics=dict.fromkeys(KEYS, 0.5))
    )


def peers(folder: Path) -> dict[str, Log]:
    config = folder / "ultralytics"
    config.mkdir()
    os.environ.update(YOLO_CONFIG_DIR=str(config), YOLO_OFFLINE="1", YOLO_VERBOSE="false",
                      MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")  # fmt: skip
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment("bench")
    mlflow.start_run()
    mlflow.log_metrics({"warm": 1.0})
    from ultralytics import SETTINGS

    SETTINGS.update(mlflow=True)
    from ultralytics.utils.callbacks import mlflow as callback

    def theirs(step: int) -> None:
        trainer = SimpleNamespace(
            epoch=step, lr={}, tloss=None, _mlflow_active=True,
            label_loss_items=lambda loss, prefix: dict.fromkeys(KEYS[:3], 0.5),
            metrics=dict.fromkeys(KEYS[3:], 0.5),
        )  # fmt: skip
        callback.on_train_epoch_end(trainer)
        callback.on_fit_epoch_end(trainer)

    def plain(step: int) -> None:
        mlflow.log_metrics(dict.fromkeys(KEYS, 0.5), step=step)

    return {"Ultralytics' MLflow callback": theirs, "mlflow.log_metrics": plain}


def end_peers() -> None:
    import mlflow

    mlflow.end_run()


def per_step(log: Log, steps: int) -> float:
    import numpy as np

    matrix = np.random.default_rng(0).normal(size=(384, 384))
    start = time.perf_counter()
    for step in range(steps):
        matrix @ matrix
        log(step)
    return (time.perf_counter() - start) / steps


def report(seconds: dict[str, float]) -> None:
    bare = seconds["no logging"]
    ours = seconds["Assay events.jsonl"] - bare
    print(f"{'way to log ten metrics':32} {'ms/step':>9} {'cost ms':>9} {'of Assay':>10}")
    for name, value in seconds.items():
        cost = value - bare
        ratio = f"{cost / ours:8.1f} x" if name != "no logging" else ""
        print(f"{name:32} {value * 1e3:9.3f} {cost * 1e3:9.3f} {ratio:>10}")
    print(f"ratio with events / without logging: {(bare + ours) / bare:.3f}")


if __name__ == "__main__":
    main()
