"""The full-size network against the reference: names, shapes, counts, numbers."""

import pytest
import torch

from backend.trainers.motrv2.loading import HeadInit, load_weights_into
from backend.trainers.motrv2.model.geometry import Geometry
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.selection import ALIASES, Choice, select, size
from tests.support.motrv2_frames import filled, golden, golden_clip


def shapes_of(geometry: Geometry) -> dict[str, list[int]]:
    with torch.device("meta"):
        network = Motr(geometry)
    return {name: list(one.shape) for name, one in network.state_dict().items()}


def test_names_and_shapes_are_the_reference_s() -> None:
    keys = golden()["keys"]
    assert shapes_of(Geometry()) == keys
    assert list(shapes_of(Geometry())) == list(keys)
    assert len(keys) == 615
    refined = shapes_of(Geometry(denoising=True))
    assert refined == keys | {"refine_embed.weight": [1, 256]}


def test_other_geometries_have_other_shapes() -> None:
    every = shapes_of(Geometry())
    moved = shapes_of(Geometry(position_update=True))
    assert moved.keys() - every.keys() == {
        f"track_embed.{part}.{kind}"
        for part in ("linear_pos1", "linear_pos2", "norm_pos", "norm3")
        for kind in ("weight", "bias")
    }
    small = shapes_of(
        Geometry(classes=8, queries=5, width=128, levels=5, encoder_layers=1, decoder_layers=2)
    )
    assert small["class_embed.1.weight"] == [8, 128]
    assert small["position.weight"] == [5, 4]
    assert small["transformer.level_embed"] == [5, 128]
    assert small["input_proj.4.0.weight"] == [128, 128, 3, 3]
    assert "class_embed.2.weight" not in small
    assert "transformer.encoder.layers.1.norm1.weight" not in small


def test_one_frame_is_seen_as_the_reference_sees_it() -> None:
    case = golden()["cases"]["single_frame"]
    network = filled(Motr(Geometry())).eval()
    frame = golden_clip(1)[0]
    with torch.no_grad():
        queries = network.new_queries(frame)
        memory = network.encode(frame.image[None])
        found = network.decode(memory, queries.content, queries.anchors)

    assert len(queries) == case["queries"]
    logits = torch.tensor([*case["logits_aux"], case["logits_last"]])
    torch.testing.assert_close(found.logits[..., 0], logits, atol=1e-4, rtol=0)
    boxes = torch.tensor([*case["boxes_aux"], case["boxes_last"]]).view(6, 14, 4)
    torch.testing.assert_close(found.boxes, boxes, atol=1e-5, rtol=0)
    means = torch.tensor(case["hs_last_row_mean"])
    torch.testing.assert_close(found.embedding.mean(-1), means, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def full() -> Motr:
    with torch.device("meta"):
        return Motr(Geometry(classes=8, denoising=True))


def test_counts_of_the_network(full: Motr) -> None:
    parameters = list(full.parameters())
    assert len(parameters) == 368
    assert len(list(full.buffers())) == 212
    assert sum(one.numel() for one in parameters) == 41_886_512
    assert sum(one.numel() for one in parameters if not one.requires_grad) == 222_400


@pytest.mark.parametrize(
    ("alias", "tensors", "numbers"),
    [
        ("yolox_embed", 1, 256),
        ("track_embed", 18, 1_315_840),
        ("class_embed", 12, 12_336),
        ("query_interaction", 36, 1_582_080),
        ("box_embed", 36, 795_672),
        ("decoder", 132, 6_123_264),
    ],
)
def test_counts_of_the_aliases(full: Motr, alias: str, tensors: int, numbers: int) -> None:
    assert alias in ALIASES
    chosen = select(full, Choice("custom", custom=(alias,)))
    assert chosen.matched == {alias: tensors}
    assert size(full, chosen.trainable) == (tensors, numbers)


@pytest.mark.parametrize(
    ("strategy", "tensors", "numbers"),
    [
        ("minimal", 1, 256),
        ("moderate", 31, 1_328_432),
        ("aggressive", 67, 2_910_512),
        ("full", 357, 41_664_112),
    ],
)
def test_counts_of_the_strategies(full: Motr, strategy: str, tensors: int, numbers: int) -> None:
    chosen = select(full, Choice(strategy))  # type: ignore[arg-type]
    assert size(full, chosen.trainable) == (tensors, numbers)
    assert chosen.trainable | chosen.frozen == {name for name, _ in full.named_parameters()}
    assert not chosen.trainable & chosen.frozen


@pytest.mark.parametrize(("denoising", "loaded"), [(False, 603), (True, 604)])
def test_one_class_into_eight_at_full_size(denoising: bool, loaded: int) -> None:
    with torch.device("meta"):
        old = Motr(Geometry(denoising=denoising))
        new = Motr(Geometry(classes=8, denoising=denoising))
    report = load_weights_into(new, old.state_dict(), HeadInit())
    heads = {f"class_embed.{layer}.{kind}" for layer in range(6) for kind in ("weight", "bias")}
    assert {one.name for one in report.mismatched} == heads
    assert (len(report.loaded), report.missing, report.unexpected) == (loaded, (), ())


def test_minimal_with_new_heads(full: Motr) -> None:
    new = {f"class_embed.{layer}.{kind}" for layer in range(6) for kind in ("weight", "bias")}
    assert size(full, select(full, Choice("minimal"), new).trainable) == (13, 12_592)
