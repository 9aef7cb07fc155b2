"""Deformable attention against sampling by hand."""

import math

import pytest
import torch
from torch import Tensor

from backend.nn.deformable import DeformableAttention, sampled

SHAPES = ((3, 5), (2, 2))


def by_hand(image: Tensor, x: float, y: float) -> Tensor:
    """Bilinear sample (c,) of an image (H, W, c) at x, y in 0..1; cells outside are zero."""
    height, width, _ = image.shape
    column, row = x * width - 0.5, y * height - 0.5
    found = torch.zeros(image.shape[-1])
    for at_row in (math.floor(row), math.floor(row) + 1):
        for at_column in (math.floor(column), math.floor(column) + 1):
            if 0 <= at_row < height and 0 <= at_column < width:
                share = (1 - abs(row - at_row)) * (1 - abs(column - at_column))
                found += share * image[at_row, at_column]
    return found


def test_samples_are_bilinear_and_weighted() -> None:
    torch.manual_seed(0)
    heads, channels, count, points = 2, 3, 4, 2
    value = torch.randn(1, 19, heads, channels)
    places = torch.rand(1, count, heads, len(SHAPES), points, 2) * 1.4 - 0.2
    weights = torch.rand(1, count, heads, len(SHAPES), points)
    found = sampled(value, SHAPES, places, weights)[0].view(count, heads, channels)

    maps = [value[0, :15].view(3, 5, heads, channels), value[0, 15:].view(2, 2, heads, channels)]
    for query in range(count):
        for head in range(heads):
            expected = torch.zeros(channels)
            for level, image in enumerate(maps):
                for point in range(points):
                    x, y = places[0, query, head, level, point].tolist()
                    share = weights[0, query, head, level, point]
                    expected += share * by_hand(image[:, :, head], x, y)
            torch.testing.assert_close(found[query, head], expected)


def test_a_box_of_two_cells_is_looked_at_as_its_centre_is() -> None:
    """Offsets count in cells around a point; in a box, ``points`` of them are half of it."""
    torch.manual_seed(0)
    layer = DeformableAttention(8, levels=2, heads=2, points=4)
    torch.nn.init.normal_(layer.sampling_offsets.weight, std=0.3)
    query, source = torch.randn(1, 6, 8), torch.randn(1, 19, 8)
    centres = torch.rand(1, 6, 1, 2).expand(-1, -1, 2, -1)
    cells = torch.tensor([[2 / 5, 2 / 3], [2 / 2, 2 / 2]])
    boxes = torch.cat([centres, 4 * cells.expand(1, 6, 2, 2)], -1)
    torch.testing.assert_close(
        layer(query, boxes, source, SHAPES), layer(query, centres, source, SHAPES)
    )


def test_it_starts_as_rays_with_equal_weights() -> None:
    layer = DeformableAttention(8, levels=1, heads=4, points=2)
    rays = layer.sampling_offsets.bias.view(4, 2, 2)
    expected = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    torch.testing.assert_close(rays[:, 0], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(rays[:, 1], 2 * expected, atol=1e-6, rtol=0)
    assert not layer.sampling_offsets.weight.any()
    assert not layer.attention_weights.weight.any()


@pytest.mark.parametrize("last", [2, 4])
def test_gradients_are_those_of_differences(last: int) -> None:
    torch.manual_seed(1)
    layer = DeformableAttention(4, levels=2, heads=2, points=2).double()
    torch.nn.init.normal_(layer.sampling_offsets.weight, std=0.1)
    query = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    reference = torch.rand(1, 2, 2, last, dtype=torch.float64) * 0.5 + 0.2
    reference.requires_grad_()
    source = torch.randn(1, 19, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *inputs: layer(*inputs, SHAPES), (query, reference, source)
    )
