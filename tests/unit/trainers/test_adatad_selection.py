"""Modes: what trains, by name and by number, up to the full size of the published network."""

import pytest
import torch

from backend.core.errors import ConfigError
from backend.trainers.adatad.model.geometry import Geometry
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.selection import Mode, adapter_of, apply, group_of, select
from tests.support.adatad_windows import network


def backbone_by_formula(width: int, layers: int) -> int:
    """VideoMAE: patches of 2 x 16 x 16 pixels; q and v have a bias, k has none; MLP ratio 4."""
    patches = 3 * 2 * 16 * 16 * width + width
    attention = 4 * width * width + 2 * width + width
    mlp = 2 * 4 * width * width + 4 * width + width
    return patches + layers * (attention + mlp + 4 * width)


def adapter_by_formula(width: int, hidden: int, temporal: bool) -> int:
    projections = width * hidden + hidden + hidden * width + width
    branch = (3 * hidden + hidden) + (hidden * hidden + hidden)
    return projections + 1 + temporal * branch


def detector_by_formula(inputs: int, width: int, classes: int) -> int:
    """ActionFormer: 2 convolutions, 2 + 5 blocks, 6 norms, heads of 2 convolutions each."""
    norm = 2 * width
    embed = 3 * inputs * width + norm + 3 * width * width + norm
    attention = 3 * (3 * width + norm) + 4 * (width * width + width)
    mlp = 2 * 4 * width * width + 4 * width + width
    block = attention + mlp + 2 * norm + 2 * width
    heads = 4 * (3 * width * width + norm) + (3 * width * classes + classes) + (3 * width * 2 + 2)
    return embed + 7 * block + 6 * norm + heads + 6


@pytest.mark.parametrize(
    ("mode", "last", "backbone", "adapter"),
    [
        ("adapter", 0, 0, 12 * adapter_by_formula(384, 96, temporal=True)),
        ("plain-adapter", 0, 0, 12 * adapter_by_formula(384, 96, temporal=False)),
        ("last-layers", 3, 3 * (1_774_080), 0),
        ("full", 0, backbone_by_formula(384, 12), 0),
    ],
)
def test_counts_of_the_published_network(
    mode: Mode, last: int, backbone: int, adapter: int
) -> None:
    selection = select(published(mode), mode, last)
    counts = selection.counts
    assert counts["backbone"].numbers == backbone
    assert counts["backbone"].of_numbers == backbone_by_formula(384, 12) == 21_879_168
    assert counts["adapter"].numbers == counts["adapter"].of_numbers == adapter
    assert counts["detector"].numbers == detector_by_formula(384, 512, 20) == 26_695_708
    assert selection.numbers == backbone + adapter + 26_695_708


def published(mode: Mode) -> AdaTad:
    """At full size, without memory for its numbers."""
    with torch.device("meta"):
        return AdaTad(Geometry(adapter=adapter_of(mode)))


def test_the_published_adapters_are_a_million_numbers() -> None:
    assert 12 * adapter_by_formula(384, 96, temporal=True) == 1_006_860


def test_names_of_each_mode() -> None:
    model = network(adapter="none", layers=3)
    frozen, last, full = (
        select(model, mode, count).trainable
        for mode, count in (("head-only", 0), ("last-layers", 2), ("full", 0))
    )
    names = {name for name, _ in model.named_parameters()}
    assert frozen == {name for name in names if not name.startswith("backbone.")}
    layers = ("backbone.blocks.1.", "backbone.blocks.2.")
    assert last - frozen == {name for name in names if name.startswith(layers)}
    assert full == names
    adapted = network()
    selection = select(adapted, "adapter")
    assert {group_of(name) for name in selection.trainable} == {"adapter", "detector"}
    assert {group_of(name) for name in selection.frozen} == {"backbone"}
    apply(adapted, selection)
    trains = {name for name, one in adapted.named_parameters() if one.requires_grad}
    assert trains == selection.trainable
    assert selection.lines()[0].startswith("backbone: 0 of 3")


def test_what_cannot_be_selected_is_refused() -> None:
    model = network(adapter="none")
    with pytest.raises(ConfigError, match="the backbone has 2; choose 1 to 2"):
        select(model, "last-layers", last=3)
    with pytest.raises(ConfigError, match="choose 1 to 2"):
        select(model, "last-layers")
    with pytest.raises(ConfigError, match="the network has none"):
        select(model, "adapter")
