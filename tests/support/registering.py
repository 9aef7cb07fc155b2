"""Decisions to carry out, and what a registry then holds."""

import json
import os
import subprocess
import sys
from pathlib import Path

from backend.core.digest import sha256
from backend.core.records import Checkpoint, PromotionDecision
from backend.core.workdir import WorkDir
from backend.tracking.client import connect, find_runs
from backend.tracking.home import Home
from tests.support.scripted_run import make_work

MODEL = "test-spots"
CONFIG = "kind: spots\ndata: /gone/data.yaml\ndevice: cuda:3\nlabel: bright\n"


def judged(home: Home, number: int, model: str = MODEL, **more: object) -> PromotionDecision:
    """A checkpoint of a run with its facts, and the gate's word on it."""
    key = f"20260101-00000{number}-spots-000{number}"
    work = WorkDir(home.work_dir(key)) if home.work_dir(key).exists() else make_work(home, key)
    path = work.path / "checkpoints" / "epoch-1.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_text(str(100 + number))
    path.with_suffix(".json").write_text(json.dumps({"score": 0.5 + number / 10}))
    checkpoint = Checkpoint(path=str(path), sha256=sha256(path), step=5, epoch=1, run=key)
    return PromotionDecision.model_validate(
        {
            "key": f"20260101-00000{number}-promote-000{number}", "created": 1000.0 + number,
            "model": model, "checkpoint": checkpoint, "policy": {"min_delta": 0.0},
            "evidence": "compare-1", "promote": True, "reasons": ("better beyond its interval",),
            **more,
        }
    )  # fmt: skip


def aliases(home: Home, model: str = MODEL) -> dict[str, str]:
    found = connect(home).get_registered_model(model).aliases
    return {alias: str(version) for alias, version in found.items()}


def run_elsewhere(home: Home, code: str, folder: Path, *paths: Path) -> str:
    """Run ``code`` in a fresh process that is told nothing but the tracking URI."""
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "OMP_NUM_THREADS")}
    paths_given = os.pathsep.join(map(str, paths))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False,
        env={**keep, "MLFLOW_TRACKING_URI": home.tracking_uri, "PYTHONPATH": paths_given,
             "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def snapshot(home: Home) -> object:
    client = connect(home)
    return (
        {m.name: m.aliases for m in client.search_registered_models()},
        [v.version for v in client.search_model_versions()],
        [m.model_id for m in client.search_logged_models(["0", "1"])],
        find_runs(client, "decision"),
        sorted(p.name for p in home.artifacts.rglob("*.safetensors")),
        sorted(p.name for p in home.root.iterdir() if p.name.startswith(".")),
    )
