"""Whole trainings that use features again: the same to the bit, alone or several at a time."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from backend.core.events import CheckpointSaved, Evaluated, Event, MetricsLogged, Noted
from backend.nn.finetune.weights import load_weights
from backend.trainers.adatad.spec import AdaTadConfig
from backend.trainers.adatad.trainer import AdaTadTrainer
from tests.support import temporal_folders, videos_made
from tests.support.conformance import Never

FILL = """
import sys
from pathlib import Path

import torch

from backend.trainers.adatad.data import read_data
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.reuse import fill, reuse_of
from backend.trainers.adatad.weights import geometry_of
from tests.support import adatad_files

how = adatad_files.config(
    data=Path(sys.argv[1]), windows__align=16, frames__augment=False,
    freeze__strategy="head-only", reuse__folder=Path(sys.argv[2]),
)
splits = read_data(how, ("train", "val")).splits
torch.manual_seed(0)
network = AdaTad(geometry_of(how, splits[0].classes))
sys.stdin.readline()
told = []
fill(reuse_of(how, network.geometry), how, network, splits, told.append)
print(told[-1].message)
"""


def test_processes_that_fill_at_the_same_time_compute_each_video_once(tmp_path: Path) -> None:
    data, store = temporal_folders.clean(tmp_path / "data"), tmp_path / "store"
    videos_made.write(data / "videos/b.mp4", 59, codec="mpeg4")
    command = [sys.executable, "-c", FILL, str(data), str(store)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    computed = sorted(int(remark.split()[-3]) for remark in said)
    assert computed == [0, 3]
    files = sorted(store.rglob("*.safetensors"))
    assert len(files) == 3
    assert all(torch.isfinite(load_file(path)["features"]).all() for path in files)
    assert not [path for path in store.rglob(".*") if path.is_file()]


def test_a_run_is_the_same_with_features_of_its_own_or_of_another(
    smallest: AdaTadConfig, tmp_path: Path
) -> None:
    """Its curves, its weights and what its best checkpoint finds, which is evaluated by frames."""
    plain = smallest.replace(
        {
            "freeze.strategy": "head-only", "frames.augment": False, "windows.align": 16,
            "runner.amp": "bfloat16",
        }
    )  # fmt: skip
    stored = plain.replace({"reuse.folder": str(tmp_path / "store")})
    without, first, again = (
        _run(config, tmp_path / name)
        for name, config in (("without", plain), ("first", stored), ("again", stored))
    )
    assert [len(one.remarks) for one in (without, first, again)] == [0, 1, 1]
    assert "0 were computed" in again.remarks[0]
    assert any("val/loss" in one for one in without.curves)
    for other in (first, again):
        assert other.curves == without.curves
        assert other.predictions == without.predictions
        assert other.weights.keys() == without.weights.keys()
        assert all(torch.equal(one, other.weights[name]) for name, one in without.weights.items())


class Run(NamedTuple):
    """What training left: remarks on features, losses and metrics, weights, the evaluation."""

    remarks: list[str]
    curves: list[dict[str, float]]
    weights: dict[str, Tensor]
    predictions: bytes


def _run(config: AdaTadConfig, work: Path) -> Run:
    work.mkdir()
    events: list[Event] = []
    AdaTadTrainer(config, work).fit(events.append, Never())
    saved = [one.checkpoint.path for one in events if isinstance(one, CheckpointSaved)]
    (report,) = (one.report for one in events if isinstance(one, Evaluated))
    assert report.predictions is not None
    logged = [one.metrics for one in events if isinstance(one, MetricsLogged)]
    return Run(
        [one.message for one in events if isinstance(one, Noted) and "used again" in one.message],
        [{k: v for k, v in one.items() if k.startswith(("train/", "val/"))} for one in logged],
        load_weights(work / saved[-1])[0],
        Path(report.predictions).read_bytes(),
    )
