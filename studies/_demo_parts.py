"""What every demo does: train once, compare once, use the champion as anybody else would."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from backend import compare, launch, promote
from backend.analysis.comparison import ComparisonSettings
from backend.catalog import CATALOG
from backend.cli._common import show
from backend.cli._progress import TrainingProgress
from backend.config.schema import TrainConfig
from backend.core.comparisons import Comparison
from backend.core.errors import TrainingError
from backend.core.records import PromotionDecision, Run
from backend.sides import find_side, shared_config
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore


class Parts:
    """Steps of a demo in ``home`` with the trainer ``kind``; what was done before is found."""

    def __init__(self, home: Home, kind: str) -> None:
        self.home = home
        self.workers = launch.Workers(CATALOG[kind].preload)
        self.store = MlflowStore(home)

    def train(self, config: TrainConfig) -> Run:
        """Train once; a run of the same config that finished earlier is used again."""
        return self.train_all([config])[0]

    def train_all(self, configs: Sequence[TrainConfig]) -> list[Run]:
        """Train several at the same time. Raises TrainingError if one does not finish."""
        keys = [self._known(config) for config in configs]
        with TrainingProgress() as progress, ThreadPoolExecutor(len(configs)) as pool:

            def train(config: TrainConfig, known: str) -> str:
                return known or self._train(config, progress)

            keys = list(pool.map(train, configs, keys))
        return [self.store.run(key) for key in keys]

    def weights(self, run: Run) -> str:
        """The file of a run's best checkpoint."""
        return find_side(self.home, self.store, run.key).contender.checkpoint.path

    def compare(self, old: str, new: str) -> Comparison:
        """Old versus new on the holdout; a comparison that was made before is used again.

        A side is ``RUN``, its best checkpoint, or ``RUN@EPOCH``.
        """
        both = [find_side(self.home, self.store, key) for key in (old, new)]
        files = [side.contender.checkpoint.sha256 for side in both]
        for known in self.store.comparisons():
            if [known.baseline.checkpoint.sha256, known.candidate.checkpoint.sha256] == files:
                return known
        config = shared_config(both[0], both[1], {}, None)
        settings = ComparisonSettings(primary=CATALOG[config.kind].primary)
        how = compare.Comparing(config=config, split="holdout", settings=settings)
        return compare.compare(self.home, both[0], both[1], how, self.workers)

    def promote(self, run: str, model: str, policy: Path | None = None) -> PromotionDecision:
        """Send a run's best checkpoint through the gate; a decision that was made is kept."""
        for known in self.store.promotions(model):
            if known.checkpoint.run == run:
                show(f"     found decision {known.key}, made before")
                return known
        gate = promote.Gate(model=model, policy=promote.load_policy(policy))
        return promote.promote(self.home, self.store, run, gate, self.workers)[0]

    def serve(self, model: str, images: Sequence[Path]) -> str:
        """What ``models:/<model>@champion`` finds in images, in a few words."""
        boxes = self.answers(model, images)
        best = max(boxes, key=lambda box: float(box["score"]), default=None)
        surest = f", surest: {best['label']} at {best['score']:.2f}" if best else ""
        return f"{len(boxes)} boxes in {len(images)} images{surest}"

    def answers(self, model: str, files: Sequence[Path], **params: float) -> list[dict[str, Any]]:
        """The rows that ``models:/<model>@champion`` answers for files, loaded in a process of
        its own. Raises TrainingError if it does not load."""
        code = (
            "import json, sys, mlflow.pyfunc\n"
            f"model = mlflow.pyfunc.load_model('models:/{model}@champion')\n"
            "found = model.predict(*json.loads(sys.argv[1]))\n"
            "print(found.to_json(orient='records'))\n"
        )
        environment = {**os.environ, "MLFLOW_TRACKING_URI": self.home.tracking_uri,
                       "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
                       "OMP_NUM_THREADS": "1"}  # fmt: skip
        asked = json.dumps([[str(path) for path in files], params])
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, asked],
            env=environment, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if ended.returncode:
            raise TrainingError(f"the promoted model does not load: {ended.stderr.strip()[-500:]}")
        rows: list[dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
        return rows

    def _known(self, config: TrainConfig) -> str:
        for run in self.store.runs():
            if run.status == "finished" and run.params == config.flat():
                show(f"     found run {run.key}, trained before")
                return run.key
        return ""

    def _train(self, config: TrainConfig, progress: TrainingProgress) -> str:
        work = launch.prepare(self.home, config, CATALOG[config.kind])
        readers = [progress.reader(config.name)]
        finished = launch.run(self.home, work, self.workers, readers)
        if finished.status != "finished":
            raise TrainingError(f"{config.name} ended as {finished.status}: {finished.reason}")
        return work.path.name
