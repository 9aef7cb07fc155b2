"""The learner learns, and what is frozen does not move."""

import pytest
import torch

from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.losses import Criterion
from backend.trainers.mdfed.model.network import build_network
from backend.trainers.mdfed.spec import LossConfig
from tests.support.mdfed_batches import made_batch, mdfed_config


def learner_of(context: bool) -> Learner:
    torch.manual_seed(0)
    config = mdfed_config(model={"preset": "tiny", "context": context, "dropout": 0.0})
    network = build_network(config, elements=4)
    return Learner(network, Criterion(LossConfig(), torch.ones(4)))


@pytest.mark.parametrize("context", [False, True])
def test_an_untrained_network_loses_what_a_guess_does(context: bool) -> None:
    losses = learner_of(context).eval().loss(made_batch())
    assert list(losses) == ["lcl_loss", "mlc_loss", *(["ctx_loss"] if context else []), "loss"]
    for name, value in losses.items():
        wanted = 0.693 * (1 if name != "loss" else 2 + context)
        assert value.item() == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("context", [False, True])
def test_one_batch_can_be_learnt_by_heart(context: bool) -> None:
    learner, batch = learner_of(context).train(), made_batch(frames=16)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    first = learner.loss(batch)["loss"].item()
    for _ in range(60):
        optimizer.zero_grad()
        losses = learner.loss(batch)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for name, value in losses.items():
        assert value.item() < 0.1, name
    assert losses["loss"].item() < 0.1 * first
