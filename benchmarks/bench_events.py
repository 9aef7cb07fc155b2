"""What logging costs the training process per step, in one run on one machine.

Four ways to log the same ten metrics at each step of the same work (a matrix product of some
milliseconds): not at all; our event stream (one JSON line, read by another process);
Ultralytics' own MLflow callback (real code, SQLite store); ``mlflow.log_metrics`` (same store).
The four take turns within each round. Work and logging are timed apart; medians over all steps
are printed, so that a noisy machine does not decide.

    python benchmarks/bench_events.py [--steps 200] [--rounds 5]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
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
        work: list[float] = []
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, log in ways.items():
                for worked, logged in steps(log, options.steps):
                    work.append(worked)
                    costs[name].append(logged)
        end_peers()
    report(statistics.median(work), {name: statistics.median(c) for name, c in costs.items()})


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


def steps(log: Log, number: int) -> Iterator[tuple[float, float]]:
    """Seconds of work and seconds of logging, step by step."""
    import numpy as np

    matrix = np.random.default_rng(0).normal(size=(384, 384))
    for step in range(number):
        start = time.perf_counter()
        matrix @ matrix
        worked = time.perf_counter()
        log(step)
        yield worked - start, time.perf_counter() - worked


def report(work: float, costs: dict[str, float]) -> None:
    ours = costs["Assay events.jsonl"]
    print(f"one step of work: {work * 1e3:.2f} ms")
    print(f"{'way to log ten metrics':32} {'ms/step':>9} {'of the work':>12} {'of Assay':>10}")
    for name, cost in costs.items():
        print(f"{name:32} {cost * 1e3:9.4f} {cost / work:11.2%} {cost / ours:9.1f}x")
    print(f"ratio with our events / without logging: {(work + ours) / work:.4f}")


if __name__ == "__main__":
    main()
