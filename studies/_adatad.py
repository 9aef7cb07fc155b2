"""What the studies of AdaTAD share: which rates train something, and which windows fit."""

import math

from backend.config.schema import TrainConfig
from backend.trainers.adatad.model.geometry import PRESETS, Geometry
from backend.trainers.adatad.spec import ADAPTERS, SPEC, AdaTadConfig

KIND = SPEC.kind
RATE = "runner.optimizer.lr."
LAYERS, LENGTH = "freeze.layers", "windows.length"
STARTS = {"detector": 1e-4, "adapter": 2e-4, "backbone": 1e-5}
"""Rates for where the config has 0, since it freezes the group or has none."""

FACTORS = (0.5, 1.0, 2.0)
LONGEST = 8192
"""As ``windows.length`` may be."""

LAST = (1 / 6, 1 / 3, 1 / 2)


def config_of(base: TrainConfig) -> AdaTadConfig:
    """The config as what it is; ``StudySpec.trainers`` lets no other kind through."""
    assert isinstance(base, AdaTadConfig)
    return base


def preset_of(base: TrainConfig) -> Geometry:
    """The sizes of the config's network, but for what it sets itself."""
    return PRESETS[config_of(base).model.preset]


def rates_of(base: TrainConfig, strategy: str) -> dict[str, float]:
    """The learning rates of the groups that a strategy trains, by dotted key."""
    lr = config_of(base).runner.optimizer.lr
    groups = ["detector"]
    groups += ["adapter"] if strategy in ADAPTERS else []
    groups += ["backbone"] if strategy in ("full", "last-layers") else []
    return {RATE + group: lr[group] or STARTS[group] for group in groups}


def fitting_layers(base: TrainConfig) -> int:
    """What ``freeze.layers`` says, as far as the backbone has layers."""
    return min(config_of(base).freeze.layers, preset_of(base).layers)


def some_layers(base: TrainConfig) -> list[int]:
    """Numbers of last layers to try: up to half of them, and the config's own."""
    layers = preset_of(base).layers
    return sorted({max(1, round(layers * share)) for share in LAST} | {fitting_layers(base)})


def window_lengths(base: TrainConfig) -> list[int]:
    """The config's window, half and twice of it, in parts that the network and the config's
    alignment can cut it into."""
    config = config_of(base)
    whole = math.lcm(preset_of(base).multiple, config.windows.align)
    tried = {max(1, round(config.windows.length * factor / whole)) * whole for factor in FACTORS}
    return sorted(length for length in tried if length <= LONGEST)
