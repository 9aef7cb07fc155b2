"""What freezing, adapters and recomputing save of a training step of AdaTAD.

A step (forward, loss, backward, clipping, AdamW) of each strategy on the same window, at the
published size (VideoMAE-S, a detector of 512 channels) and at the demo's: time and peak memory
against everything trained, and the bytes of the optimizer's state. ``*`` marks a case whose
backbone recomputes its activations (``runner.checkpointing``).

Contestants take turns in one process, ratios are taken within a round, and their median is
printed. Memory is that of a fresh process each: its highest resident size over that before the
first step (on CUDA the allocator's peak). On a CPU seconds are CPU seconds of the process.

    python benchmarks/bench_adatad.py [--frames 96] [--rounds 3] [--only tiny] [--gpu]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor

from backend.runner.module import recompute, train_mode
from backend.trainers.adatad.batch import Batch, Window, collate
from backend.trainers.adatad.model.geometry import PRESETS
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.selection import Mode, adapter_of, apply, select
from benchmarks._measuring import ratio, resident, rounds

SIZES = {"tiny": ("tiny", 64, 1), "published": ("videomae-small", 160, 4)}
"""Preset, pixels of a side, and the layers that last-layers trains."""
CASES: dict[str, Mode] = {
    "full": "full",
    "full *": "full",
    "last-layers": "last-layers",
    "adapter": "adapter",
    "adapter *": "adapter",
    "plain-adapter": "plain-adapter",
    "head-only": "head-only",
}
ACTIONS = 3
WARM_UP = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=96, help="of a window")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=tuple(SIZES))
    parser.add_argument("--gpu", action="store_true", help="on CUDA; nothing runs without it")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.gpu and not torch.cuda.is_available():
        print("no CUDA here: nothing was measured")
        return
    device = torch.device("cuda" if options.gpu else "cpu")
    if options.memory_of:
        size, case = options.memory_of
        print(json.dumps(memory(size, case, options.frames, device)))
        return
    for size in [options.only] if options.only else list(SIZES):
        compare(size, options, device)


def compare(size: str, options: argparse.Namespace, device: torch.device) -> None:
    """Each case against everything trained."""
    side, load = SIZES[size][1], os.getloadavg()[0]
    print(
        f"\n{size}: a training step on a window of {options.frames} frames of {side} x {side}, "
        f"{device}, one thread, {options.rounds} rounds; load {load:.1f} on {os.cpu_count()} cores"
    )
    batch = window(size, options.frames, device)
    cases = {name: Training(size, name, device) for name in CASES}
    taken = rounds(
        {name: one.stepper(batch) for name, one in cases.items()}, options.rounds, WARM_UP, device
    )
    found = {name: measured_apart(size, name, options) for name in CASES}
    for name, one in cases.items():
        of, full = found[name], found["full"]
        print(
            f"  {name:14}{one.trainable:>11,} trained  {statistics.median(taken[name]):8.2f} s"
            f"  time / full {ratio(taken, name, 'full'):5.2f}"
            f"  memory {of['peak'] / 2**20:7.1f} MiB, / full {of['peak'] / full['peak']:5.2f}"
            f"  optimizer {of['optimizer'] / 2**20:6.1f} MiB"
        )


class Training:
    """A network under a strategy, with the optimizer of what it trains."""

    def __init__(self, size: str, case: str, device: torch.device) -> None:
        torch.manual_seed(0)
        preset, _, last = SIZES[size]
        mode = CASES[case]
        geometry = replace(
            PRESETS[preset], adapter=adapter_of(mode), chunkwise=mode == "head-only"
        )
        self.network = AdaTad(geometry).to(device)
        apply(self.network, select(self.network, mode, last))
        train_mode(self.network)
        if case.endswith("*"):
            recompute(self.network, ["backbone.blocks.*"])
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.trainable = sum(p.numel() for p in self.parameters)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-6)

    def stepper(self, batch: Batch) -> Callable[[], None]:
        """One step on a window."""
        optimizer = self.optimizer

        def step() -> None:
            optimizer.zero_grad()
            losses = self.network.loss(batch)
            torch.autograd.backward(losses["cls_loss"] + losses["reg_loss"])
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            optimizer.step()

        return step

    @property
    def state_bytes(self) -> int:
        """Of the optimizer, after a step."""
        states = self.optimizer.state.values()
        tensors = [v for state in states for v in state.values() if isinstance(v, Tensor)]
        return sum(v.numel() * v.element_size() for v in tensors)


def measured_apart(size: str, case: str, options: argparse.Namespace) -> dict[str, int]:
    """The memory of a case in a process that has done nothing else."""
    command = [sys.executable, __file__, "--memory-of", size, case]
    command += ["--frames", str(options.frames), *(["--gpu"] if options.gpu else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def memory(size: str, case: str, frames: int, device: torch.device) -> dict[str, int]:
    """Bytes above those of the network itself at the worst moment of two steps."""
    training, batch = Training(size, case, device), window(size, frames, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the highest size counts from here
        before = resident("VmRSS")
    step = training.stepper(batch)
    for _ in range(2):
        step()
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else resident("VmHWM")
    return {"peak": peak - before, "optimizer": training.state_bytes}


def window(size: str, frames: int, device: torch.device) -> Batch:
    """Noise with a few actions: the time hardly depends on what is seen."""
    preset, side, _ = SIZES[size]
    chance = torch.Generator().manual_seed(0)
    starts = torch.rand(ACTIONS, generator=chance) * frames / 2
    batch = collate([
        Window(
            frames=torch.randint(256, (frames, 3, side, side), generator=chance).byte(),
            valid=torch.ones(frames, dtype=torch.bool),
            segments=torch.stack([starts, starts + frames / 4], 1),
            labels=torch.arange(ACTIONS) % PRESETS[preset].classes,
            video="noise",
            start=0,
        )
    ])  # fmt: skip
    return replace(
        batch,
        frames=batch.frames.to(device),
        valid=batch.valid.to(device),
        segments=tuple(one.to(device) for one in batch.segments),
        labels=tuple(one.to(device) for one in batch.labels),
    )


if __name__ == "__main__":
    main()
