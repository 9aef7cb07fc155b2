"""What the routed-experts layer costs, forward and backward, in one run on one machine.

Router, both balance losses and grouped dispatch at top-k of E experts, against

* a dense FFN of the same FLOPs, twice: the k x N rows that the experts see, through one expert's
  width (the usual yardstick), and N rows through k times the width;
* every expert on every token, weighted with mostly zeros.

The contestants take turns; ratios are taken within a round, and their median over rounds is
printed. On a CPU seconds are CPU seconds of the process, on CUDA they are wall time around
synchronised work, in bfloat16 under autocast. Outputs must agree with every-expert-on-all.
``grouped`` is the same layer on torch's grouped matmul instead of slices.

    python benchmarks/bench_moe_dispatch.py [--tokens 8400] [--experts 6] [--device cuda]
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.nn.moe import Experts, RoutedExperts, Router, load_balance_loss, z_loss

Ways = dict[str, Callable[[], Tensor]]
SAME = "dense, k x N rows"
ALL = "every expert on all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8400)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--experts", type=int, default=6)
    parser.add_argument("--k", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    print(
        f"{options.tokens} tokens, {options.experts} experts of {options.width} -> "
        f"{options.hidden} -> {options.width}, {options.device}, forward and backward"
    )
    for k in options.k:
        report(k, options.experts, measured(contestants(options, k), options))


def contestants(options: argparse.Namespace, k: int) -> Ways:
    torch.manual_seed(0)
    tokens, width, hidden = options.tokens, options.width, options.hidden
    make = {"device": options.device}
    layer = RoutedExperts(
        Router(width, options.experts, k), Experts(options.experts, width, hidden)
    ).to(options.device)
    grouped = RoutedExperts(layer.router, Experts(options.experts, width, hidden, grouped=True))
    grouped.to(options.device).load_state_dict(layer.state_dict())
    x = torch.randn(tokens, width, **make, requires_grad=True)
    rows = torch.randn(tokens * k, width, **make, requires_grad=True)
    narrow, wide = (
        nn.Sequential(nn.Linear(width, f), nn.ReLU(), nn.Linear(f, width)).to(options.device)
        for f in (hidden, hidden * k)
    )
    return {
        "routed": lambda: routed(layer, x),
        "grouped": lambda: routed(grouped, x),
        SAME: lambda: trained(narrow(rows)),
        "dense, k x width": lambda: trained(wide(x)),
        ALL: lambda: everywhere(layer, x),
    }


def trained(out: Tensor, *losses: Tensor) -> Tensor:
    loss = out.float().square().mean()
    for more in losses:
        loss = loss + more
    loss.backward()
    return out.detach()


def routed(layer: RoutedExperts, x: Tensor) -> Tensor:
    out, routing = layer(x)
    return trained(out, load_balance_loss(routing), z_loss(routing))


def everywhere(layer: RoutedExperts, x: Tensor) -> Tensor:
    routing, experts = layer.router(x), layer.experts
    out = torch.zeros_like(x)
    names = ("up_weight", "up_bias", "down_weight", "down_bias")
    stacks = zip(*(getattr(experts, name).unbind() for name in names), strict=True)
    for weight, (up, up_bias, down, down_bias) in zip(
        routing.weights.unbind(1), stacks, strict=True
    ):
        hidden = functional.relu(functional.linear(x, up, up_bias))
        out = out + weight.unsqueeze(1) * functional.linear(hidden, down, down_bias)
    return trained(out, load_balance_loss(routing), z_loss(routing))


def measured(ways: Ways, options: argparse.Namespace) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        outputs = {}
        for name, way in ways.items():
            seconds, outputs[name] = clocked(way, options.device)
            if number:  # the first round warms up
                taken[name].append(seconds)
        for name in ("routed", "grouped"):
            if not torch.allclose(outputs[name], outputs[ALL], **tolerance(options.device)):
                raise SystemExit(f"{name} disagrees with {ALL}: the times mean nothing")
    return taken


def clocked(way: Callable[[], Tensor], device: str) -> tuple[float, Tensor]:
    if device == "cpu":
        start = time.process_time()
        out = way()
        return time.process_time() - start, out
    torch.cuda.synchronize()
    start = time.perf_counter()
    with amp():
        out = way()
    torch.cuda.synchronize()
    return time.perf_counter() - start, out


def amp() -> AbstractContextManager[None]:
    return torch.autocast("cuda", dtype=torch.bfloat16)


def tolerance(device: str) -> dict[str, float]:
    return {"rtol": 1e-4, "atol": 1e-5} if device == "cpu" else {"rtol": 0.05, "atol": 0.05}


def report(k: int, experts: int, taken: dict[str, list[float]]) -> None:
    def ratio(name: str, base: str) -> float:
        pairs = zip(taken[name], taken[base], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    print(f"k = {k} (k / E = {k / experts:.2f})")
    for name, seconds in taken.items():
        print(
            f"  {name:22} {statistics.median(seconds):8.4f} s"
            f"   x {ratio(name, SAME):5.2f} of same-FLOP dense   x {ratio(name, ALL):5.2f} of all"
        )


if __name__ == "__main__":
    main()
