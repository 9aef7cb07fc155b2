"""The backbone: VideoMAE bit by bit, adapters that start as the identity, chunks, padding."""

from dataclasses import replace

import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEModel
from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table

from backend.core.errors import ConfigError
from backend.runner.module import recompute
from backend.trainers.adatad.key_map import to_our_names
from backend.trainers.adatad.model.backbone import MEAN, RECOMPUTED, STD, native_positions
from backend.trainers.adatad.model.geometry import Adapter, Geometry
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.selection import apply, select
from tests.support.adatad_windows import (
    GEOMETRY,
    batch,
    frames,
    network,
    window,
    with_trained_adapters,
)

EVERY = torch.ones(1, 64, dtype=torch.bool)


def same_start(adapter: Adapter) -> AdaTad:
    """Networks with other adapters, but the same weights otherwise."""
    model = network(adapter=adapter)
    model.load_state_dict(network(adapter="none").state_dict(), strict=False)
    return model


def hugging_face(geometry: Geometry = GEOMETRY) -> VideoMAEModel:
    config = VideoMAEConfig(
        image_size=geometry.native,
        patch_size=geometry.patch,
        hidden_size=geometry.width,
        num_hidden_layers=geometry.layers,
        num_attention_heads=geometry.heads,
        intermediate_size=4 * geometry.width,
        layer_norm_eps=1e-6,
        initializer_range=0.3,
    )
    torch.manual_seed(3)
    return VideoMAEModel(config).eval()


def test_without_adapters_it_has_the_bits_of_hugging_face() -> None:
    theirs, ours = hugging_face(), network(adapter="none")
    ours.load_state_dict(to_our_names(theirs.state_dict()).state, strict=False)
    window = frames(32)
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MEAN, STD))
    pixels = ((window - mean) / std).view(2, 16, *window.shape[1:])
    with torch.no_grad():
        tokens = theirs(pixels).last_hidden_state  # (chunks, 8 steps x 4 places, C)
        wanted = tokens.view(16, 4, -1).mean(1).T[None]
        wanted = torch.nn.functional.interpolate(wanted, 32, mode="linear")
        assert torch.equal(ours.features(window[None], EVERY[:, :32]), wanted)
        assert wanted.std() > 0.1


def test_in_a_chunk_with_padding_it_is_hugging_face_without_these_tokens() -> None:
    """As in VideoMAE's pre-training, which leaves tokens out; 10 of 16 frames are 5 of 8 steps."""
    theirs, ours = hugging_face(), network(adapter="none")
    ours.load_state_dict(to_our_names(theirs.state_dict()).state, strict=False)
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MEAN, STD))
    chunk = frames(16)
    hidden = torch.arange(8 * 4)[None] >= 5 * 4
    with torch.no_grad():
        shown = theirs((chunk - mean)[None] / std, bool_masked_pos=hidden).last_hidden_state
        wanted = torch.nn.functional.interpolate(
            shown.view(5, 4, -1).mean(1).T[None], 10, mode="linear"
        )
        found = ours.features(chunk[None], EVERY[:, :16].cumsum(1) <= 10)[..., :10]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_positions_are_those_of_videomae() -> None:
    geometry = Geometry(width=48, heads=6, native=64)
    table = get_sinusoid_encoding_table(8 * 4 * 4, 48)
    assert torch.equal(
        native_positions(geometry).flatten(2).transpose(1, 2).flatten(0, 1), table[0]
    )


def test_another_size_of_frames_gets_interpolated_positions() -> None:
    model = network(adapter="none")
    larger = torch.nn.functional.interpolate(frames(16), 24)
    assert model.features(larger[None], EVERY[:, :16]).shape == (1, 24, 16)
    places = model.backbone._places(3, 3)
    assert places.shape == (8, 9, 24)
    assert torch.equal(places[:, 4].isfinite(), torch.ones(8, 24, dtype=torch.bool))
    assert torch.equal(model.backbone._places(2, 2), native_positions(GEOMETRY).flatten(2).mT)


@pytest.mark.parametrize("adapter", ["temporal", "plain"])
def test_at_the_start_adapters_change_no_bit(adapter: Adapter) -> None:
    given = batch(window(64), window(64, valid=37, seed=1))
    with torch.no_grad():
        plain = network(adapter="none").features(given.frames, given.valid)
        adapted = same_start(adapter)
        assert torch.equal(adapted.features(given.frames, given.valid), plain)
        with_trained_adapters(adapted)
        assert not torch.allclose(adapted.features(given.frames, given.valid), plain, atol=0.01)


@pytest.mark.parametrize(
    ("adapter", "reached"), [("temporal", [2, 4]), ("plain", []), ("none", [])]
)
def test_the_temporal_branch_mixes_neighbouring_chunks(
    adapter: Adapter, reached: list[int]
) -> None:
    """Changing chunk 3 of 6 reaches its neighbours after one adapter, no chunk farther."""
    model = with_trained_adapters(network(adapter=adapter, layers=1))
    valid = torch.ones(1, 96, dtype=torch.bool)
    before = frames(96)[None]
    after = before.clone()
    after[:, 48:64] = 255 - after[:, 48:64]
    with torch.no_grad():
        difference = model.features(before, valid) - model.features(after, valid)
    steps = difference[0].abs().amax(0)  # per frame; interpolation reaches one frame far
    inner = steps.view(6, 16)[:, 1:-1].amax(1)
    assert inner[3] > 0.1
    assert (inner > 0).nonzero().flatten().tolist() == sorted([3, *reached])
    assert not steps.view(6, 16)[[0, 1, 5]].any()


@pytest.mark.parametrize("valid", [64, 48, 37, 16, 5, 1])
def test_what_is_in_the_padding_changes_no_bit(valid: int) -> None:
    model = with_trained_adapters(network())
    kept = EVERY.cumsum(1) <= valid
    one, other = frames(64)[None], frames(64, seed=5)[None]
    other[:, :valid] = one[:, :valid]
    with torch.no_grad():
        found = model.features(one, kept)
        assert torch.equal(found, model.features(other, kept))
    keys = model.backbone._keys(kept.view(1, 32, 2).any(-1), 4)
    assert keys is None or keys.any(-1).all()  # attention to nothing is no number on some devices
    assert not found[..., valid:].any()
    assert found[..., :valid].abs().amin(2).all()


@pytest.mark.parametrize("valid", [16, 32, 48])
def test_a_padded_window_gives_what_the_shorter_one_gives(valid: int) -> None:
    model = with_trained_adapters(network())
    kept = EVERY.cumsum(1) <= valid
    with torch.no_grad():
        padded = model.features(frames(64)[None], kept)[..., :valid]
        alone = model.features(frames(64)[None, :valid], EVERY[:, :valid])
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("drop_path", [0.0, 0.4])
def test_recomputed_activations_change_no_gradient(drop_path: float) -> None:
    """Of adapters, with the same chunks left out in both passes."""
    found = {}
    for recomputed in (False, True):
        model = with_trained_adapters(network(drop_path=drop_path)).train()
        apply(model, select(model, "adapter"))
        if recomputed:
            recompute(model, [RECOMPUTED])
        torch.manual_seed(4)
        losses = model.loss(batch())
        (losses["cls_loss"] + losses["reg_loss"]).backward()
        found[recomputed] = [one.grad for one in model.parameters() if one.grad is not None]
    assert any(gradient.abs().max() > 1e-4 for gradient in found[True][:5])
    for kept, again in zip(found[False], found[True], strict=True):
        torch.testing.assert_close(again, kept, atol=1e-7, rtol=1e-5)


def test_a_frozen_backbone_keeps_nothing_for_the_backward_pass() -> None:
    model = network(adapter="none").train()
    apply(model, select(model, "head-only"))
    given = batch()
    assert not model.features(given.frames, given.valid).requires_grad
    apply(model, select(model, "last-layers", last=1))
    assert model.features(given.frames, given.valid).requires_grad


def test_windows_that_cannot_be_cut_are_refused() -> None:
    model = network()
    with pytest.raises(ConfigError, match=r"20 frames cannot be cut .* a multiple of 16$"):
        model(frames(20)[None], EVERY[:, :20])
    with pytest.raises(ConfigError, match=r"16 x 12 pixels cannot be cut into patches of 8"):
        model(frames(16)[None, :, :, :12], EVERY[:, :16])
    with pytest.raises(ConfigError, match="multiples of their heads"):
        replace(GEOMETRY, heads=5)
    with pytest.raises(ConfigError, match="set a larger adapter ratio"):
        replace(GEOMETRY, adapter_ratio=0.01)
    with pytest.raises(ConfigError, match="at least one class"):
        replace(GEOMETRY, classes=0)
