"""Windows of made-up skeletons for MD-FED's network, and its config."""

from dataclasses import replace
from typing import Any

import torch

from backend.trainers.mdfed.batch import CHANNELS, JOINTS, PERSONS, ROOT, Batch
from backend.trainers.mdfed.spec import MdFedConfig


def mdfed_config(**sections: Any) -> MdFedConfig:
    """A tiny network, unless told otherwise."""
    given = {"name": "made up", "data": "nowhere", "epochs": 1, "model": {"preset": "tiny"}}
    return MdFedConfig.model_validate(given | sections)


def made_batch(
    windows: int = 3, frames: int = 24, elements: int = 4, seed: int = 0, rate: float = 0.1
) -> Batch:
    """Noise; the first frames of each window are padding, later ones may be missing too."""
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=random)

    valid = drawn(windows, frames) > 0.1
    valid[:, :3] = False
    coarse = (drawn(windows, frames) < rate) & valid
    joints = drawn(windows, frames, PERSONS, JOINTS, CHANNELS) - 0.5
    return Batch(
        joints=joints * valid[..., None, None, None],
        roots=drawn(windows, frames, PERSONS, ROOT) * valid[..., None, None],
        valid=valid,
        coarse=coarse.long(),
        fine=((drawn(windows, frames, elements) < 0.4) & coarse[..., None]).float(),
        hands=(drawn(windows, PERSONS) < 0.3).float(),
        starts=torch.full((windows,), -6),
        names=tuple(f"clip {number}" for number in range(windows)),
    )


def with_padding(batch: Batch, value: float) -> Batch:
    """The same windows with ``value`` wherever a frame is not valid, labels included."""
    joints, roots = batch.joints.clone(), batch.roots.clone()
    coarse, fine = batch.coarse.clone(), batch.fine.clone()
    joints[~batch.valid], roots[~batch.valid] = value, value
    coarse[~batch.valid], fine[~batch.valid] = 1, 1
    return replace(batch, joints=joints, roots=roots, coarse=coarse, fine=fine)


def picked(batch: Batch, rows: list[int]) -> Batch:
    """Some windows of a batch."""
    return Batch(
        *(getattr(batch, name)[rows] for name in ("joints", "roots", "valid", "coarse", "fine")),
        batch.hands[rows],
        batch.starts[rows],
        tuple(batch.names[row] for row in rows),
    )
