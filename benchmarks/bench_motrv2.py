"""What freezing saves of a training step of MOTRv2, and what its attention and tracking cost.

* A step (forward, loss, backward, clipping, AdamW) of each strategy on the same clip: time and
  peak memory against everything trained, and the bytes of the optimizer's state.
* Deformable attention, forward and backward, against ``grid_sample`` on the same places alone
  (nothing in plain torch is faster) and against transformers' module with the same weights.
* Tracking a frame against one pass of backbone and encoder.

Contestants take turns in one process, ratios are taken within a round, and their median is
printed. Memory is that of a fresh process each: its highest resident size over that before the
first step (on CUDA the allocator's peak). On a CPU seconds are CPU seconds of the process.

    python benchmarks/bench_motrv2.py [--size 128 224] [--frames 3] [--rounds 5] [--gpu]
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
from torch.nn.functional import grid_sample

from backend.nn.deformable import DeformableAttention
from backend.trainers.motrv2.batch import Batch, Clip, Frame
from backend.trainers.motrv2.model.geometry import TINY, Geometry
from backend.trainers.motrv2.model.learner import ClipLearner, ClipTraining
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.model.tracker import TrackSettings, track
from backend.trainers.motrv2.selection import Choice, apply, select
from benchmarks._measuring import ratio, resident, rounds

GEOMETRIES = {
    "published": Geometry(classes=8, proposal_classes=8, denoising=True),
    "tiny": replace(TINY, classes=8, proposal_classes=8),
}
STRATEGIES = ("full", "aggressive", "moderate", "minimal")
OBJECTS, PROPOSALS, CLASSES = 6, 8, 8
WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 224), help="height and width")
    parser.add_argument("--frames", type=int, default=3, help="of a clip")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=tuple(GEOMETRIES))
    parser.add_argument("--gpu", action="store_true", help="on CUDA; nothing runs without it")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.gpu and not torch.cuda.is_available():
        print("no CUDA here: nothing was measured")
        return
    device = torch.device("cuda" if options.gpu else "cpu")
    if options.memory_of:
        name, strategy = options.memory_of
        print(json.dumps(memory(name, strategy, options, device)))
        return
    height, width = options.size
    print(f"{options.frames} frames of {height} x {width}, {OBJECTS} objects, {device}")
    for name in [options.only] if options.only else list(GEOMETRIES):
        steps(name, options, device)
        attention(name, options, device)
        tracking(name, options, device)


def steps(name: str, options: argparse.Namespace, device: torch.device) -> None:
    """Each strategy against everything trained."""
    clip = clip_of(options, device)
    learners = {strategy: Training(name, strategy, device) for strategy in STRATEGIES}
    taken = rounds(
        {key: one.stepper(clip) for key, one in learners.items()}, options.rounds, WARM_UP, device
    )
    found = {strategy: measured_apart(name, strategy, options) for strategy in STRATEGIES}
    print(f"\n{name}: a training step")
    for strategy, one in learners.items():
        memory_ratio = found[strategy]["peak"] / found["full"]["peak"]
        print(
            f"  {strategy:10} {one.trainable:>11,} trained  {ms(taken[strategy])}"
            f"  time / full {ratio(taken, strategy, 'full'):5.2f}"
            f"  memory {found[strategy]['peak'] / 2**20:7.1f} MiB, / full {memory_ratio:5.2f}"
            f"  optimizer {found[strategy]['optimizer'] / 2**20:7.2f} MiB"
        )


class Training:
    """A network under a strategy, with the optimizer of what it trains. Class heads and the
    vectors of classes are new, as after a change of the class count."""

    def __init__(self, name: str, strategy: str, device: torch.device) -> None:
        torch.manual_seed(0)
        self.learner = ClipLearner(GEOMETRIES[name], ClipTraining())
        new = [
            key for key, _ in self.learner.named_parameters()
            if key.startswith(("class_embed.", "yolox_class_embed."))
        ]  # fmt: skip
        apply(self.learner, select(self.learner, Choice(strategy), new))  # type: ignore[arg-type]
        self.learner.to(device).train()
        self.parameters = [p for p in self.learner.parameters() if p.requires_grad]
        self.trainable = sum(p.numel() for p in self.parameters)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-6)

    def stepper(self, clip: Clip) -> Callable[[], None]:
        """One step on a clip."""

        batch = Batch((clip,), ("clip",))

        def step() -> None:
            self.optimizer.zero_grad()
            terms = self.learner.loss(batch)
            chosen = [value for key, value in terms.items() if "loss" in key]
            torch.stack(chosen).sum().backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 0.1)
            self.optimizer.step()

        return step

    @property
    def state_bytes(self) -> int:
        """Of the optimizer, after a step."""
        states = self.optimizer.state.values()
        tensors = [v for state in states for v in state.values() if isinstance(v, Tensor)]
        return sum(v.numel() * v.element_size() for v in tensors)


def measured_apart(name: str, strategy: str, options: argparse.Namespace) -> dict[str, int]:
    """The memory of a case in a process that has done nothing else."""
    command = [sys.executable, __file__, "--memory-of", name, strategy]
    command += ["--size", *map(str, options.size), "--frames", str(options.frames)]
    command += ["--gpu"] if options.gpu else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def memory(
    name: str, strategy: str, options: argparse.Namespace, device: torch.device
) -> dict[str, int]:
    """Bytes above those of the network itself at the worst moment of two steps."""
    training = Training(name, strategy, device)
    clip = clip_of(options, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the highest size counts from here
        before = resident("VmRSS")
    step = training.stepper(clip)
    for _ in range(2):
        step()
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else resident("VmHWM")
    return {"peak": peak - before, "optimizer": training.state_bytes}


def attention(name: str, options: argparse.Namespace, device: torch.device) -> None:
    """One layer over the cells of all maps, as in the encoder."""
    of = GEOMETRIES[name]
    shapes = [(options.size[0] // 2**n, options.size[1] // 2**n) for n in range(3, 3 + of.levels)]
    cells = sum(height * width for height, width in shapes)
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(1, cells, of.width, generator=chance).to(device).requires_grad_()
    points = torch.rand(1, cells, of.levels, 2, generator=chance).to(device)
    ours = DeformableAttention(of.width, of.levels, of.heads, of.points).to(device)
    other = library_attention(of, ours).to(device)
    sizes = torch.tensor(shapes, device=device)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    maps = [torch.randn(of.heads, of.width // of.heads, *shape, device=device, requires_grad=True)
            for shape in shapes]  # fmt: skip
    grids = [torch.rand(of.heads, cells, of.points, 2, device=device, requires_grad=True)
             for _ in shapes]  # fmt: skip

    def sampling() -> None:
        for one, grid in zip(maps, grids, strict=True):
            grid_sample(one, grid, align_corners=False).sum().backward()

    cases: dict[str, Callable[[], None]] = {
        "ours": lambda: ours(x, points, x, shapes).sum().backward(),
        "transformers": lambda: other(
            hidden_states=x, encoder_hidden_states=x, reference_points=points,
            spatial_shapes=sizes, spatial_shapes_list=shapes, level_start_index=starts,
        )[0].sum().backward(),
        "grid_sample alone": sampling,
    }  # fmt: skip
    taken = rounds(cases, options.rounds, WARM_UP, device)
    print(f"\n{name}: deformable attention, {cells} cells, forward and backward")
    for case in cases:
        print(f"  {case:18} {ms(taken[case])}  ours / this {ratio(taken, 'ours', case):5.2f}")


def library_attention(of: Geometry, ours: DeformableAttention) -> torch.nn.Module:
    """transformers' module with our weights."""
    from transformers import DeformableDetrConfig
    from transformers.models.deformable_detr import modeling_deformable_detr as library

    config = DeformableDetrConfig(
        d_model=of.width, num_feature_levels=of.levels, disable_custom_kernels=True
    )
    made: torch.nn.Module = library.DeformableDetrMultiscaleDeformableAttention(
        config, num_heads=of.heads, n_points=of.points
    )
    made.load_state_dict(ours.state_dict())
    return made


def tracking(name: str, options: argparse.Namespace, device: torch.device) -> None:
    """A sequence with as many tracks as there are proposals and learned queries at most."""
    torch.manual_seed(0)
    network = Motr(GEOMETRIES[name]).to(device).eval()
    for head in network.class_embed:
        torch.nn.init.zeros_(head.get_parameter("bias"))  # about half of the queries become tracks
    frames = clip_of(options, device)
    settings = TrackSettings()

    def encode() -> None:
        with torch.no_grad():
            for frame in frames:
                network.encode(frame.image[None])

    def follow() -> None:
        for _ in track(network, frames, settings):
            pass

    taken = rounds({"track": follow, "encode": encode}, options.rounds, WARM_UP, device)
    seconds = {case: statistics.median(values) / len(frames) for case, values in taken.items()}
    print(
        f"\n{name}: tracking, {1 / seconds['track']:.2f} frames per second; encoder alone "
        f"{1 / seconds['encode']:.2f}; tracking / encoder {ratio(taken, 'track', 'encode'):.2f}"
    )


def clip_of(options: argparse.Namespace, device: torch.device) -> Clip:
    """Noise with objects that stay: the time hardly depends on what is seen."""
    chance = torch.Generator().manual_seed(0)
    boxes = torch.rand(OBJECTS, 4, generator=chance) * 0.2 + 0.3
    near = torch.rand(PROPOSALS, 4, generator=chance) * 0.2 + 0.3
    frames = [
        Frame(
            image=torch.randn(3, *options.size, generator=chance),
            boxes=boxes,
            labels=torch.arange(OBJECTS) % CLASSES,
            ids=torch.arange(OBJECTS),
            proposals=near,
            proposal_scores=torch.rand(PROPOSALS, generator=chance),
            proposal_classes=torch.arange(PROPOSALS) % CLASSES,
        )
        for _ in range(options.frames)
    ]
    return tuple(frame.to(device) for frame in frames)


def ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:8.1f} ms"


if __name__ == "__main__":
    main()
