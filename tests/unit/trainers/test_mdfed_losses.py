"""The losses, against loops that read like specs/mdfed.md, 3.2."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from backend.trainers.mdfed.baselines import positive_weights
from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.losses import Criterion, LossSums
from backend.trainers.mdfed.model.context import Refined, sequence_of
from backend.trainers.mdfed.model.network import Outputs, build_network
from backend.trainers.mdfed.spec import LossConfig
from tests.support.mdfed_batches import made_batch, mdfed_config, picked, with_padding

POSITIVE = torch.tensor([1.0, 3.0, 0.5, 20.0])


def outputs_for(batch: Batch, seed: int = 1, context: bool = True) -> Outputs:
    random = torch.Generator().manual_seed(seed)
    windows, frames, elements = batch.fine.shape
    events = sequence_of((batch.coarse == 1) & batch.valid)
    refined = torch.randn(*events.at.shape, elements, generator=random)
    return Outputs(
        2 * torch.randn(windows, frames, 2, generator=random),
        2 * torch.randn(windows, frames, elements, generator=random),
        Refined(refined, events) if context else None,
    )


def criterion_of(**loss: Any) -> Criterion:
    return Criterion(LossConfig(**loss), POSITIVE)


def means(criterion: Criterion, outputs: Outputs, batch: Batch) -> dict[str, float]:
    found = criterion.means(criterion(outputs, batch))
    return {name: value.item() for name, value in found.items()}


def literal(outputs: Outputs, batch: Batch, loss: LossConfig) -> dict[str, float]:
    """Frame by frame."""

    def cost(p: float) -> float:
        return float(-math.log(p) * (1 - p) ** loss.focal_gamma)

    def bits(logits: list[float], fine: list[float]) -> float:
        ps = [1 / (1 + math.exp(-z)) for z in logits]
        return sum(w * cost(p) if y else cost(1 - p)
                   for p, y, w in zip(ps, fine, POSITIVE.tolist(), strict=True))  # fmt: skip

    lost = weight = element_lost = labelled = 0.0
    windows, frames, elements = batch.fine.shape
    for row in range(windows):
        for t in range(frames):
            if not batch.valid[row, t]:
                continue
            y = int(batch.coarse[row, t])
            zs = [math.exp(z) for z in outputs.event_logits[row, t].tolist()]
            w = loss.fg_weight if y else 1.0
            lost, weight = lost + w * cost(zs[y] / sum(zs)), weight + w
            if y:
                labelled += 1
                element_lost += bits(
                    outputs.element_logits[row, t].tolist(), batch.fine[row, t].tolist()
                )
    found = {
        "lcl_loss": lost / weight if weight else 0.0,
        "mlc_loss": element_lost / max(1, labelled * elements),
    }
    if outputs.refined is not None:
        (at, exist), total, count = outputs.refined.events, 0.0, 0
        for row, place in exist.nonzero().tolist():
            fine = batch.fine[row, at[row, place]].tolist()
            total += bits(outputs.refined.logits[row, place].tolist(), fine)
            count += elements
        found["ctx_loss"] = total / max(1, count)
    parts = {"lcl_loss": loss.lcl, "mlc_loss": loss.mlc, "ctx_loss": loss.ctx}
    return found | {"loss": sum(parts[name] * value for name, value in found.items())}


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"fg_weight": 1.0},
        {"fg_weight": 12.5, "lcl": 0.3, "mlc": 2.0, "ctx": 0.7},
        {"focal_gamma": 2.0},
        {"focal_gamma": 0.5},
    ],
)
def test_losses_are_what_the_specification_says(loss: dict[str, float], context: bool) -> None:
    batch = made_batch(seed=4)
    outputs = outputs_for(batch, context=context)
    found = means(criterion_of(**loss), outputs, batch)
    assert found == pytest.approx(literal(outputs, batch, LossConfig(**loss)), rel=1e-5)


def test_frames_that_are_not_valid_have_no_influence() -> None:
    batch, criterion = made_batch(), criterion_of()
    outputs = outputs_for(batch)
    event = outputs.event_logits.clone()
    event[~batch.valid] = math.nan
    moved = means(criterion, outputs._replace(event_logits=event), with_padding(batch, math.nan))
    assert moved == means(criterion, outputs, batch)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_a_batch_without_events_or_frames_loses_nothing_to_them(gamma: float) -> None:
    batch, criterion = made_batch(rate=0.0), criterion_of(focal_gamma=gamma)
    outputs = outputs_for(batch)
    outputs.event_logits.requires_grad_()
    found = criterion.means(criterion(outputs, batch))
    assert found["mlc_loss"].item() == found["ctx_loss"].item() == 0
    assert found["lcl_loss"].item() > 0
    batch.valid[:] = False
    found = criterion.means(criterion(outputs, batch))
    found["loss"].backward()  # type: ignore[no-untyped-call]
    assert found["loss"].item() == 0
    assert outputs.event_logits.grad is not None
    assert not outputs.event_logits.grad.any()


@pytest.mark.parametrize("where", ["event_logits", "element_logits"])
def test_what_is_no_number_stays_so(where: str) -> None:
    batch, criterion = made_batch(), criterion_of()
    outputs = outputs_for(batch)
    row, frame = ((batch.coarse == 1) & batch.valid).nonzero()[0].tolist()
    getattr(outputs, where)[row, frame] = math.nan
    sums = LossSums(criterion)
    sums.add(criterion(outputs, batch))
    assert math.isnan(means(criterion, outputs, batch)["loss"])
    assert math.isnan(sums.means()["loss"])


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_sums_do_not_depend_on_how_batches_are_cut(cut: int) -> None:
    """The mean of batch means would, as batches differ in events."""
    batch, criterion = made_batch(windows=5, rate=0.15), criterion_of()
    network = build_network(mdfed_config(model={"preset": "tiny"}), elements=4).eval()
    sums, whole = LossSums(criterion), LossSums(criterion)
    with torch.no_grad():
        whole.add(criterion(network(batch), batch))
        for first in range(0, 5, cut):
            part = picked(batch, list(range(first, min(first + cut, 5))))
            sums.add(criterion(network(part), part))
        expected = means(criterion, network(batch), batch)
    assert sums.means() == pytest.approx(whole.means(), rel=1e-5)
    assert sums.means() == pytest.approx(expected, rel=1e-5)
    assert LossSums(criterion).means() == {}


def test_batches_without_events_do_not_thin_the_sums() -> None:
    criterion = criterion_of()
    empty, full = made_batch(rate=0.0), made_batch()
    sums = LossSums(criterion)
    for batch in (empty, full, empty):
        sums.add(criterion(outputs_for(batch), batch))
    assert sums.means()["mlc_loss"] == pytest.approx(
        means(criterion, outputs_for(full), full)["mlc_loss"], rel=1e-6
    )


def test_focal_gradients_are_numbers_where_nothing_is_left_to_learn() -> None:
    batch = made_batch()
    sure = [
        torch.where(right > 0, 200.0, -200.0).requires_grad_()
        for right in (torch.nn.functional.one_hot(batch.coarse, 2), batch.fine)
    ]
    outputs = Outputs(sure[0], sure[1])
    criterion = criterion_of(focal_gamma=0.5)
    criterion.means(criterion(outputs, batch))["loss"].backward()  # type: ignore[no-untyped-call]
    for logits in sure:
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def test_positive_weights() -> None:
    rates = np.array([0.5, 0.2, 0.8, 0.0, 0.01])
    assert positive_weights(rates, "none").tolist() == [1] * 5
    assert positive_weights(rates, "inverse") == pytest.approx([1, 4, 0.25, 20, 20])
    assert positive_weights(rates, "sqrt") == pytest.approx([1, 2, 0.5, 20, 99**0.5])


def test_weights_of_the_loss_are_no_part_of_a_checkpoint() -> None:
    learner = Learner(build_network(mdfed_config(), elements=4), criterion_of())
    assert {name.partition(".")[0] for name in learner.state_dict()} == {"network"}
