"""What trains: by all names of a tensor, and never silently nothing."""

from itertools import pairwise
from typing import Any

import pytest

from backend.core.errors import ConfigError
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.selection import (
    Choice,
    all_names,
    apply,
    rate_group,
    select,
    steps_to_confidence,
)
from tests.support.motrv2_frames import learner


@pytest.fixture
def network() -> Motr:
    return learner(classes=8, proposal_classes=8)


def trained(network: Motr, strategy: Any, **asked: Any) -> frozenset[str]:
    return select(network, Choice(strategy, **asked)).trainable


def test_the_ladder_rises_strictly(network: Motr) -> None:
    ladder = [trained(network, one) for one in ("minimal", "moderate", "aggressive", "full")]
    for lower, higher in pairwise(ladder):
        assert lower < higher
    assert ladder[0] == {"yolox_embed.weight", "yolox_class_embed.weight"}


def test_the_brief_s_filter_tells_that_two_steps_are_one(network: Motr) -> None:
    brief = [
        select(network, Choice(one, names="reference_substring"))  # type: ignore[arg-type]
        for one in ("moderate", "aggressive")
    ]
    assert brief[0].trainable == brief[1].trainable
    assert brief[1].matched["query_interaction"] == 0
    assert "aggressive trains what moderate trains" in brief[1].notes[0]
    assert not brief[0].notes


def test_box_heads_are_found_by_either_name(network: Motr) -> None:
    names = all_names(network)
    assert all(len(every) == 2 for name, every in names.items() if "bbox_embed" in name)
    by_first = trained(network, "custom", custom=(r"^bbox_embed\.",))
    by_second = trained(network, "custom", custom=(r"^transformer\.decoder\.bbox_embed\.",))
    assert by_first == by_second == trained(network, "custom", custom=("box_embed",))
    assert len(by_first) == 12


def test_exclusion_takes_tensors_out_again(network: Motr) -> None:
    chosen = trained(network, "custom", custom=("track_embed", r"!^track_embed\.norm"))
    assert chosen
    assert not any("norm" in name for name in chosen)


@pytest.mark.parametrize("expression", ["query_interaction_layer", "^yolox$", "!nothing"])
def test_an_expression_that_matches_nothing_is_refused(network: Motr, expression: str) -> None:
    with pytest.raises(ConfigError, match=r"matches no parameter"):
        select(network, Choice("custom", custom=("track_embed", expression)))


def test_a_broken_or_empty_selection_is_refused(network: Motr) -> None:
    with pytest.raises(ConfigError, match="is no regular expression"):
        select(network, Choice("custom", custom=("(",)))
    with pytest.raises(ConfigError, match="trains nothing"):
        select(network, Choice("custom", custom=("track_embed", "!track_embed")))


def test_new_parameters_train_in_every_strategy(network: Motr) -> None:
    new = {"class_embed.0.weight", "transformer.decoder.bbox_embed.1.layers.2.bias"}
    chosen = select(network, Choice("minimal"), new)
    assert new & chosen.forced == {"class_embed.0.weight", *new}
    assert chosen.trainable == trained(network, "minimal") | chosen.forced

    with pytest.raises(ConfigError, match=r"class_embed\.0\.weight, .* nothing is tracked"):
        select(network, Choice("minimal", train_new=False), new)
    strict = select(network, Choice("minimal", train_new=False, allow_untrained_new=True), new)
    assert strict.trainable == trained(network, "minimal")
    assert not strict.forced


def test_only_the_selected_get_gradients(network: Motr) -> None:
    chosen = select(network, Choice("moderate"))
    apply(network, chosen)
    with_gradient = {name for name, one in network.named_parameters() if one.requires_grad}
    assert with_gradient == chosen.trainable


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("backbone.0.body.layer2.0.conv1.weight", "backbone"),
        ("transformer.decoder.layers.0.cross_attn.sampling_offsets.weight", "linear_proj"),
        ("transformer.reference_points.weight", "linear_proj"),
        ("class_embed.0.weight", "new"),
        ("track_embed.linear1.weight", "rest"),
    ],
)
def test_rate_groups_in_their_order(name: str, group: str) -> None:
    everything_new = {
        "backbone.0.body.layer2.0.conv1.weight",
        "transformer.decoder.layers.0.cross_attn.sampling_offsets.weight",
        "class_embed.0.weight",
    }
    assert rate_group(name, everything_new) == group


def test_the_estimate_of_the_specification() -> None:
    assert steps_to_confidence(1e-5, 256) == pytest.approx(1797, rel=0.01)
