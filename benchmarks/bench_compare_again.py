"""What a comparison costs when both checkpoints were scored before.

Two checkpoints of one real YOLO training on the demo's data are compared twice. The first time
the model runs over all images, is matched, and the matches are kept; the second time the data's
digest is checked and the kept matches are resampled. Opening the stored comparison reads one
file.

    python benchmarks/bench_compare_again.py
"""

import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    from backend import launch
    from backend.analysis.comparison import ComparisonSettings
    from backend.catalog import CATALOG, load_config
    from backend.compare import Comparing, compare
    from backend.core.comparisons import Comparison
    from backend.sides import find_side
    from backend.synthetic.digits import write_digits
    from backend.tracking.home import Home
    from backend.tracking.store import MlflowStore

    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "mlruns")
        home.prepare()
        given = {
            "data": str(write_digits(home.root / "data").source), "epochs": 2, "name": "bench",
            "model": str(ROOT / "configs" / "models" / "yolo-tiny.yaml"), "save_period": 1,
        }  # fmt: skip
        config = load_config(ROOT / "configs" / "demo" / "source.yaml", given)
        workers = launch.Workers(CATALOG["yolo"].preload)
        launch.run(home, launch.prepare(home, config, CATALOG["yolo"]), workers)
        store = MlflowStore(home)
        sides = [find_side(home, store, f"bench@{epoch}") for epoch in (1, 2)]
        how = Comparing(config, "holdout", ComparisonSettings(primary="mAP50-95"))
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            result = compare(home, sides[0], sides[1], how, workers)
            seconds.append(time.perf_counter() - start)
        kept = home.work_dir(result.key) / "comparison.json"
        start = time.perf_counter()
        Comparison.model_validate_json(kept.read_text(encoding="utf-8"))
        opened = time.perf_counter() - start
    first, again = seconds
    print(f"comparing, both scored now            {first:7.2f} s")
    print(f"comparing again, evidence kept        {again:7.2f} s")
    print(f"opening the stored comparison         {opened:7.4f} s")
    print(f"ratio again / first                   {again / first:7.3f}")
    print(f"ratio opened / first                  {opened / first:7.5f}")


if __name__ == "__main__":
    main()
