"""The network: shapes, what may influence what, and where it starts."""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter1d

from backend.trainers.mdfed.model.context import MOST_EVENTS, Context, peaks, sequence_of
from backend.trainers.mdfed.model.encoder import (
    BONES,
    SIZES,
    EncoderSize,
    SkeletonEncoder,
    normalised_adjacency,
)
from backend.trainers.mdfed.model.masked_norm import MaskedBatchNorm
from backend.trainers.mdfed.model.network import MdFed, build_network
from tests.support.mdfed_batches import made_batch, mdfed_config, picked, with_padding

SMALL = EncoderSize((4, 6), 5)


def network_of(context: bool = False, **model: object) -> MdFed:
    torch.manual_seed(3)
    config = mdfed_config(model={"preset": "tiny", "context": context, **model})
    return build_network(config, elements=4)


@pytest.mark.parametrize("preset", ["tiny", "base"])
@pytest.mark.parametrize("fusion", ["concat", "mean"])
def test_shapes(preset: str, fusion: str) -> None:
    network = network_of(preset=preset, fusion=fusion).eval()
    batch = made_batch(windows=1, frames=9)
    with torch.no_grad():
        outputs, features = network(batch), network.features(batch)
    assert outputs.event_logits.shape == (1, 9, 2)
    assert outputs.element_logits.shape == (1, 9, 4)
    assert outputs.refined is None
    assert features.shape == (1, 9, {"tiny": 64, "base": 368}[preset])
    assert network.encoder(batch).shape == (1, 9, network.encoder.width)


def test_presets_are_as_specified() -> None:
    tiny = build_network(mdfed_config(), elements=14)
    assert sum(p.numel() for p in tiny.parameters()) == pytest.approx(137_000, rel=0.01)
    assert len(SIZES["base"].channels) == 10
    assert SIZES["base"].channels[-1] == 256


def test_adjacency_is_symmetric_and_normalised() -> None:
    adjacency = normalised_adjacency()
    assert torch.equal(adjacency, adjacency.T)
    degrees = torch.bincount(torch.tensor(BONES).flatten(), minlength=17)
    for one, other in BONES:
        expected = 1 / math.sqrt(degrees[one] * degrees[other])
        assert adjacency[one, other].item() == pytest.approx(expected)
    assert torch.linalg.eigvalsh(adjacency).abs().max().item() == pytest.approx(1, abs=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    network = network_of(context=True)
    assert network.ctx is not None
    torch.nn.init.normal_(network.ctx.head.weight)  # it starts at 0, and passes nothing back
    outputs = network(made_batch())
    assert outputs.refined is not None
    for part in (outputs.event_logits, outputs.element_logits, outputs.refined.logits):
        part.square().sum().backward(retain_graph=True)
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("padding", [7.0, 1e6, math.nan])
def test_what_stands_in_invalid_frames_changes_nothing(padding: float) -> None:
    """Neither outputs, nor batch-norm statistics, nor the frames beside them."""
    batch = made_batch()
    results = []
    for given in (batch, with_padding(batch, padding)):
        network = network_of(context=True).train()
        network.temporal.dropout.p = 0
        outputs = network(given)
        assert outputs.refined is not None
        results.append((outputs.event_logits, outputs.refined.logits, network.state_dict()))
    for (event, refined, state), (other, other_refined, other_state) in [results]:
        assert torch.equal(event, other)
        assert torch.equal(refined, other_refined)
        assert all(torch.equal(state[name], other_state[name]) for name in state)


def test_a_valid_frame_does_have_influence() -> None:
    batch, network = made_batch(), network_of().eval()
    row, frame = batch.valid.nonzero()[5].tolist()
    joints = batch.joints.clone()
    joints[row, frame] += 1
    with torch.no_grad():
        before = network(batch).event_logits
        after = network(replace(batch, joints=joints)).event_logits
    assert not torch.equal(before[row], after[row])


def test_concat_tells_who_and_mean_does_not() -> None:
    """Swap the persons of an encoder whose normalisation treats both alike."""
    batch = made_batch()
    swapped = replace(batch, joints=batch.joints.flip(2), roots=batch.roots.flip(2))
    fusions: tuple[tuple[Literal["concat", "mean"], bool], ...]
    fusions = (("concat", False), ("mean", True))
    for fusion, same in fusions:
        torch.manual_seed(0)
        encoder = SkeletonEncoder(SMALL, fusion).eval()
        with torch.no_grad():
            assert torch.allclose(encoder(batch), encoder(swapped), atol=1e-6) is same


def test_windows_do_not_see_each_other_in_evaluation() -> None:
    batch, network = made_batch(windows=4, seed=2), network_of(context=True).eval()
    assert network.ctx is not None
    torch.nn.init.normal_(network.ctx.head.weight)
    with torch.no_grad():
        together = network(batch).refined
        for row in range(4):
            alone = network(picked(batch, [row])).refined
            number = int(alone.events.exist.sum())
            assert torch.allclose(
                alone.logits[0, :number], together.logits[row, :number], atol=1e-5
            )


def test_the_seed_decides_the_weights() -> None:
    one, same = network_of().state_dict(), network_of().state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    torch.manual_seed(4)
    other = build_network(mdfed_config(), elements=4).state_dict()
    assert not torch.equal(one["encoder.read.weight"], other["encoder.read.weight"])


def test_starts_undecided_or_where_it_is_told_to() -> None:
    network, batch = network_of().eval(), made_batch(frames=48)
    with torch.no_grad():
        assert network(batch).event_logits.softmax(-1)[..., 1].mean() == pytest.approx(
            0.5, abs=0.1
        )
        network.start_at(0.15, torch.tensor([0.7, 0.2, 0.0, 1.0]))
        outputs = network(batch)
    assert outputs.event_logits.softmax(-1)[..., 1].mean() == pytest.approx(0.15, abs=0.02)
    means = outputs.element_logits.sigmoid().mean((0, 1)).tolist()
    assert means == pytest.approx([0.7, 0.2, 0.001, 0.999], abs=0.03)


def test_training_on_a_batch_with_no_or_one_valid_frame_is_no_accident() -> None:
    batch = made_batch()
    for kept in (0, 1):
        valid = torch.zeros_like(batch.valid)
        valid[0, :kept] = True
        outputs = network_of(context=True).train()(replace(batch, valid=valid))
        assert outputs.event_logits.isfinite().all()
        assert outputs.refined is not None
        assert not outputs.refined.events.exist.any() or kept


def test_masked_norm_is_batch_norm_of_the_valid_rows() -> None:
    torch.manual_seed(0)
    norm, plain = MaskedBatchNorm(3), torch.nn.BatchNorm1d(3)
    x, valid = torch.randn(4, 6, 5, 3), torch.rand(4, 6) < 0.5
    for _ in range(2):
        out, expected = norm(x, valid), plain(x[valid].reshape(-1, 3)).reshape(-1, 5, 3)
        assert torch.allclose(out[valid], expected, atol=1e-6)
        assert not out[~valid].any()
        assert torch.equal(norm.get_buffer("running_var"), plain.get_buffer("running_var"))
        norm.eval(), plain.eval()


def test_a_sequence_is_the_middle_of_each_run_in_order() -> None:
    """Compared with a loop over the frames."""
    rng = np.random.default_rng(0)
    for rate in (0.0, 0.05, 0.3, 0.9, 1.0):
        mask = torch.from_numpy(rng.random((5, 80)) < rate)
        events = sequence_of(mask)
        for row in range(5):
            wanted, start = [], None
            for frame, on in enumerate([*mask[row].tolist(), False]):
                if on and start is None:
                    start = frame
                if not on and start is not None:
                    wanted.append((start + frame - 1) // 2)
                    start = None
            assert events.at[row][events.exist[row]].tolist() == wanted[:MOST_EVENTS]
    assert sequence_of(torch.tensor([[True, False] * 40])).at.shape == (1, MOST_EVENTS)


def test_peaks_are_those_of_the_suppression() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((4, 50)).round(1)
    for width in (1, 4, 5):
        best = scores == maximum_filter1d(scores, width, axis=1, mode="nearest")
        found = peaks(torch.from_numpy(scores), width, 0.4)
        assert np.array_equal(found.numpy(), best & (scores > 0.4))


def test_context_corrects_by_neighbours_and_hands_and_starts_as_nothing() -> None:
    torch.manual_seed(0)
    context, logits = Context(4).eval(), torch.randn(1, 30, 4)
    mask = torch.zeros(1, 30, dtype=torch.bool)
    mask[0, [4, 12, 20]] = True
    events, hands = sequence_of(mask), torch.tensor([[1.0, 0.0]])
    with torch.no_grad():
        assert torch.equal(context(logits, hands, events).logits[0], logits[0, [4, 12, 20]])
        torch.nn.init.normal_(context.head.weight)
        before = context(logits, hands, events).logits
        assert not torch.equal(before, context(logits, 1 - hands, events).logits)
        logits[0, 20] += 1
        assert not torch.equal(before[0, 0], context(logits, hands, events).logits[0, 0])
        logits[0, 21] += 1  # no event
        after = context(logits, hands, events).logits
        logits[0, 21] += 1
        assert torch.equal(after, context(logits, hands, events).logits)
