"""What experts cost a training step of RT-DETR: forward, loss, backward and optimizer.

The network of the MoE RT-DETR trainer with its loss, at top-k of six experts, against

* the same network and loss without the layer over tokens and with one head per layer;
* the dense network of the same FLOPs, which the trainer reports beside the experts;
* the library's own step: transformers' network of the first kind with transformers' loss.

The contestants take turns on the same batches; ratios are taken within a round, and their median
over rounds is printed. On a CPU seconds are CPU seconds of the process, on CUDA they are wall
time around synchronised work.

    python benchmarks/bench_moe_rtdetr_step.py [--k 2] [--batch 8] [--preset tiny] [--device cuda]
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor, nn

from backend.nn.moe import Routing
from backend.nn.moe.class_losses import Target
from backend.trainers.moe_rtdetr.model.build import build_network, detector_config, same_cost
from backend.trainers.moe_rtdetr.model.cost import gflops, parameters
from backend.trainers.moe_rtdetr.model.criterion import Criterion
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.spec import CLASSES, ModelConfig, MoeConfig

from transformers import RTDetrV2ForObjectDetection  # isort: skip (after ours has set it offline)

EXPERTS, PLAIN, DENSE, LIBRARY = (
    "experts",
    "without experts",
    "dense, same FLOPs",
    "the library's own step",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--size", type=int, nargs=2, default=(160, 256), help="height and width")
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = ModelConfig(
        preset=options.preset,
        image_size=tuple(options.size),
        queries=options.queries,
        denoising=options.queries,
    )
    print(
        f"{options.preset}, {options.batch} images of {options.size[0]} x {options.size[1]}, "
        f"{options.queries} queries, {options.device}"
    )
    for k in options.k:
        moe = MoeConfig(experts="A", top_k=k, hidden=options.hidden)
        learners = contestants(model, moe)
        for learner in learners.values():
            learner.to(options.device)
        report(k, learners, model, measured(learners, options))


class Learner(nn.Module):
    """One of our networks with our loss."""

    def __init__(self, network: MoeRtDetr, moe: MoeConfig) -> None:
        super().__init__()
        self.network, self.criterion = network, Criterion(network.groups, moe)

    def forward(self, images: Tensor, targets: list[Target]) -> Tensor:
        return self.criterion.losses(self.network(images, targets), targets).total


class Library(nn.Module):
    """The library's network with the library's loss."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.network = RTDetrV2ForObjectDetection(detector_config(model, len(CLASSES)))

    def forward(self, images: Tensor, targets: list[Target]) -> Tensor:
        loss: Tensor = self.network(images, labels=targets).loss
        return loss


class NoLayer(nn.Module):
    def forward(self, x: Tensor, allowed: Tensor | None) -> tuple[Tensor, Routing | None]:
        return x, None


def contestants(model: ModelConfig, moe: MoeConfig) -> dict[str, Learner | Library]:
    torch.manual_seed(0)
    dense = same_cost(moe)
    plain = build_network(model, dense, CLASSES)
    plain.tokens = NoLayer()
    return {
        EXPERTS: Learner(build_network(model, moe, CLASSES), moe),
        PLAIN: Learner(plain, dense),
        DENSE: Learner(build_network(model, dense, CLASSES), dense),
        LIBRARY: Library(model),
    }


def measured(
    learners: dict[str, Learner | Library], options: argparse.Namespace
) -> dict[str, list[float]]:
    optimizers = {
        name: torch.optim.AdamW(learner.parameters(), lr=1e-4)
        for name, learner in learners.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in learners}
    for number in range(options.rounds + 2):
        images, targets = batch(number, options)
        for name, learner in learners.items():
            seconds = step(learner, optimizers[name], images, targets)
            if number >= 2:  # the first ones warm up
                taken[name].append(seconds)
    return taken


def batch(number: int, options: argparse.Namespace) -> tuple[Tensor, list[Target]]:
    """Noise with three to nine objects per image: the time does not depend on what is seen."""
    chance = torch.Generator().manual_seed(number)
    images = torch.rand(options.batch, 3, *options.size, generator=chance)
    targets: list[Target] = []
    for _ in range(options.batch):
        count = int(torch.randint(3, 10, (), generator=chance))
        labels = torch.randint(len(CLASSES), (count,), generator=chance)
        boxes = torch.rand(count, 4, generator=chance) * 0.2 + 0.3
        targets.append(
            {"class_labels": labels.to(options.device), "boxes": boxes.to(options.device)}
        )
    return images.to(options.device), targets


def step(
    learner: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, targets: list[Target]
) -> float:
    start = clock(images)
    optimizer.zero_grad()
    learner(images, targets).backward()
    optimizer.step()
    return clock(images) - start


def clock(work: Tensor) -> float:
    if work.device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def report(
    k: int,
    learners: dict[str, Learner | Library],
    model: ModelConfig,
    taken: dict[str, list[float]],
) -> None:
    print(f"k = {k}")
    for name, seconds in taken.items():
        network = learners[name].network
        pairs = zip(taken[EXPERTS], seconds, strict=True)
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        print(
            f"  {name:24} {statistics.median(seconds) * 1e3:8.1f} ms   experts / this {ratio:5.2f}"
            f"   {gflops(network, model.image_size):8.3f} GFLOP per image"
            f"   {parameters(network):>10,} parameters"
        )


if __name__ == "__main__":
    main()
