"""What a network costs: counted while it runs, not estimated."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def gflops(network: nn.Module, image_size: tuple[int, int]) -> float:
    """10^9 multiplications and additions of one image, height x width, in evaluation mode.

    Token experts count for the tokens that chose them, query heads for all, as they run.
    Attention runs as plain products: of its fused kernels, not every one is counted.
    """
    device = next(network.parameters()).device
    image = torch.zeros(1, 3, *image_size, device=device)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), _evaluating(network), sdpa_kernel(SDPBackend.MATH), counter:
        network(image)
    return float(counter.get_total_flops()) / 1e9


def parameters(network: nn.Module) -> int:
    """How many numbers are learned, or were before some were frozen."""
    return sum(parameter.numel() for parameter in network.parameters())


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards each module is in its own mode again."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
