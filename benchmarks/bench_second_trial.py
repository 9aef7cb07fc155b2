"""How long a trial waits before its training begins: the 2nd of a study against a fresh process.

Both are real YOLO trainings of the demo's data, one epoch each. Measured is the time from asking
for the training to its first event, ``RunStarted``. A fresh process imports torch and Ultralytics;
a study's workers are forked from a server that already has.

    python benchmarks/bench_second_trial.py [--rounds 5]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from backend.synthetic.digits import write_digits

        home = Path(folder) / "mlruns"
        data = write_digits(home / "data").source
        fresh, second = [], []
        for _ in range(options.rounds):
            first_and_second = measure(home, data)
            fresh.append(first_and_second[0])
            second.append(first_and_second[1])
    one, two = statistics.median(fresh), statistics.median(second)
    print(f"a fresh process until RunStarted      {one:7.2f} s")
    print(f"the 2nd trial of a study              {two:7.2f} s")
    print(f"ratio 2nd trial / fresh process       {two / one:7.3f}")


def measure(home: Path, data: Path) -> tuple[float, float]:
    """Seconds until the first event, of the first and of the second training of one parent."""
    done = subprocess.run(
        [sys.executable, __file__, "--inside", str(home), str(data)],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    one, two = done.stdout.split()[-2:]
    return float(one), float(two)


def inside(home: str, data: str) -> None:
    from backend import launch
    from backend.catalog import CATALOG, load_config
    from backend.core.sinks import MemorySink
    from backend.tracking.home import Home

    given = {
        "data": data, "model": str(ROOT / "configs" / "models" / "yolo-tiny.yaml"), "epochs": 1,
    }  # fmt: skip
    config = load_config(ROOT / "configs" / "demo" / "source.yaml", given)
    workers = launch.Workers(CATALOG["yolo"].preload)
    seconds = []
    for _ in range(2):
        work = launch.prepare(Home(Path(home)), config, CATALOG["yolo"])
        start = time.time()
        sink = MemorySink()
        launch.supervise(work, lambda sink=sink: [sink], workers)  # type: ignore[misc]
        seconds.append(sink.envelopes[0].time - start)
    print(*seconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(*sys.argv[2:4])
    else:
        main()
