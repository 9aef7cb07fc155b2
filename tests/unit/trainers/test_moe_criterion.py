"""The loss of the MoE RT-DETR: the library's own, shared out over experts, and the routers'."""

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection
from transformers.loss.loss_rt_detr import RTDetrHungarianMatcher

from backend.core.errors import TrainingError
from backend.nn.moe import group_matrix, load_balance_loss, route, z_loss
from backend.nn.moe.class_losses import Target
from backend.trainers.moe_rtdetr.model.criterion import Criterion, Losses, asked_targets
from backend.trainers.moe_rtdetr.model.matching import match
from backend.trainers.moe_rtdetr.model.outputs import Denoising, Output, Predicted
from backend.trainers.moe_rtdetr.model.routing_losses import token_supervision
from backend.trainers.moe_rtdetr.spec import MoeConfig

ROOT = Path(__file__).parents[3]
CLASSES = 6
GROUPS = {
    "A": [[0], [1], [2], [3], [4], [5]],
    "B": [[0, 1, 2], [3], [4, 5]],
    "C": [[1, 2], [0], [3, 4, 5]],
}
SIZES = ((4, 6), (2, 3))

Truth = list[dict[str, Tensor]]


def made_targets(counts: list[int], seed: int = 0) -> Truth:
    chance = torch.Generator().manual_seed(seed)
    return [
        {
            "class_labels": torch.randint(CLASSES, (n,), generator=chance),
            "boxes": torch.rand(n, 4, generator=chance) * 0.4 + 0.2,
            "areas": torch.rand(n, generator=chance) * 1e4,
        }
        for n in counts
    ]


def made_output(
    targets: Sequence[Target], experts: int = 6, layers: int = 2, queries: int = 9
) -> Output:
    """Random predictions that ask for gradients, with routings and two groups of denoising."""
    torch.manual_seed(1)
    images, most = len(targets), max(len(t["class_labels"]) for t in targets)

    def predicted(count: int) -> Predicted:
        logits = torch.randn(images, count, CLASSES, requires_grad=True)
        return Predicted(logits, (torch.rand(images, count, 4) * 0.4 + 0.2).requires_grad_())

    def routing(count: int) -> Any:
        return route(torch.randn(images, count, experts, requires_grad=True), min(2, experts))

    known = tuple(
        (torch.cat([torch.arange(n), torch.arange(n) + most]), torch.arange(n).repeat(2))
        for n in (len(t["class_labels"]) for t in targets)
    )
    return Output(
        layers=tuple(predicted(queries) for _ in range(layers)),
        encoder=predicted(queries),
        denoising=Denoising(tuple(predicted(2 * most) for _ in range(layers)), known, 2),
        routings={
            "token": (routing(sum(h * w for h, w in SIZES)),),
            "query": tuple(routing(queries) for _ in range(layers)),
        },
        sizes=SIZES,
    )


def criterion(letter: str | None = "A", **options: Any) -> Criterion:
    moe = MoeConfig.model_validate({"experts": letter or "dense"} | options)
    return Criterion(group_matrix(GROUPS[letter], CLASSES) if letter else None, moe)


def shared_out(losses: Losses) -> float:
    assert losses.experts is not None
    return losses.experts.total.sum().item()


@pytest.fixture(scope="module")
def library() -> RTDetrV2ForObjectDetection:
    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrV2Config(
        backbone_config=backbone,
        encoder_in_channels=[8, 8, 8],
        encoder_hidden_dim=16,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        decoder_layers=2,
        num_queries=12,
        num_denoising=8,
        num_labels=CLASSES,
        freeze_backbone_batch_norms=False,
    )
    return RTDetrV2ForObjectDetection(config)


def as_output(found: Any) -> Output:
    """The library's answer in our terms."""
    meta = found.denoising_meta_values
    count = meta["dn_num_split"][0] if meta else 0
    pairs = list(
        zip(
            found.intermediate_logits.unbind(1),
            found.intermediate_reference_points.unbind(1),
            strict=True,
        )
    )
    denoising = None
    if meta:
        known = tuple(
            (query, torch.arange(len(query) // meta["dn_num_group"]).tile(meta["dn_num_group"]))
            for query in meta["dn_positive_idx"]
        )
        parts = tuple(Predicted(logits[:, :count], boxes[:, :count]) for logits, boxes in pairs)
        denoising = Denoising(parts, known, meta["dn_num_group"])
    return Output(
        layers=tuple(Predicted(logits[:, count:], boxes[:, count:]) for logits, boxes in pairs),
        encoder=Predicted(found.enc_topk_logits, found.enc_topk_bboxes),
        denoising=denoising,
    )


@pytest.mark.parametrize("counts", [[3, 5], [4, 0], [1, 15], [0, 0]])
@pytest.mark.parametrize("training", [True, False])
def test_the_loss_and_its_gradient_are_the_library_s(
    library: RTDetrV2ForObjectDetection, counts: list[int], training: bool
) -> None:
    library.train(training)
    targets = made_targets(counts)
    found = library(torch.rand(2, 3, 64, 96), labels=targets)
    ours = criterion(None).losses(as_output(found), targets)
    parts = found.loss_dict
    for name, vector in (("vfl", ours.detection.vfl), ("bbox", ours.detection.bbox)):
        expected = sum(v.item() for key, v in parts.items() if f"loss_{name}" in key)
        assert vector.sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    torch.testing.assert_close(ours.total, found.loss, rtol=1e-5, atol=1e-5)
    inside = [found.intermediate_logits, found.intermediate_reference_points]
    for got, want in zip(
        torch.autograd.grad(ours.total, inside, retain_graph=True, allow_unused=True),
        torch.autograd.grad(found.loss, inside, allow_unused=True),
        strict=True,
    ):
        if want is not None or got is not None:
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("counts", [[3, 5, 0], [1, 20, 2], [0, 0, 0]])
def test_the_matching_is_the_library_s(counts: list[int]) -> None:
    targets = made_targets(counts, seed=3)
    output = made_output(targets)
    found = match((*output.layers, output.encoder), targets)
    first = [0, *itertools.accumulate(counts)]
    matcher = RTDetrHungarianMatcher(RTDetrV2Config())
    for layer, ours in zip((*output.layers, output.encoder), found, strict=True):
        theirs = matcher({"logits": layer.logits, "pred_boxes": layer.boxes}, targets)
        assert ours.image.tolist() == [at for at, (q, _) in enumerate(theirs) for _ in q]
        assert ours.query.tolist() == torch.cat([q for q, _ in theirs]).tolist()
        expected = torch.cat([t + first[at] for at, (_, t) in enumerate(theirs)])
        assert ours.target.tolist() == expected.tolist()


def test_a_query_that_is_no_number_is_taken_last() -> None:
    targets = made_targets([2])
    output = made_output(targets)
    layer = output.layers[0]
    boxes = layer.boxes.detach().clone()
    boxes[0, :7] = torch.nan
    (found,) = match([Predicted(layer.logits, boxes)], targets)
    assert sorted(found.query.tolist()) == [7, 8]


@pytest.mark.parametrize("letter", ["A", "B", "C"])
@pytest.mark.parametrize("counts", [[3, 5], [4, 0], [0, 0], [2, 30]])
def test_the_experts_losses_add_up_and_the_total_is_what_is_logged(
    letter: str, counts: list[int]
) -> None:
    targets = made_targets(counts)
    ask = criterion(letter, load_balance_weight=0.5, z_loss_weight=0.25)
    losses = ask.losses(made_output(targets, len(GROUPS[letter])), targets)
    logged = losses.logged()
    detection = logged["detection_loss"]
    assert shared_out(losses) == pytest.approx(detection.item(), abs=1e-5, rel=1e-6)
    shares = [value for name, value in logged.items() if name.startswith("expert_loss/")]
    assert len(shares) == len(GROUPS[letter])
    assert torch.stack(shares).sum().item() == pytest.approx(detection.item(), rel=1e-6)
    parts = logged["vfl_loss"] + logged["bbox_loss"] + logged["giou_loss"]
    assert parts.item() == pytest.approx(detection.item(), rel=1e-6)
    routers = 0.5 * logged["load_balance"] + 0.25 * logged["z_loss"]
    routers = routers + 0.2 * logged["route_sup"] + 0.1 * logged["route_sup_token"]
    assert logged["loss"].item() == pytest.approx((detection + routers).item(), rel=1e-6)
    assert losses.experts is not None
    assert losses.experts.targets.sum() == sum(counts)
    assert all(value.shape == () and value.isfinite() for value in logged.values())


def test_the_names_do_not_depend_on_the_batch_but_on_the_experts() -> None:
    def names(ask: Criterion, counts: list[int]) -> set[str]:
        targets = made_targets(counts)
        return set(ask.losses(made_output(targets), targets).logged())

    assert names(criterion(), [3, 2]) == names(criterion(), [0, 0])
    dense = names(criterion(None), [3, 2])
    assert dense == {"loss", "detection_loss", "vfl_loss", "bbox_loss", "giou_loss"}


def test_a_balance_by_loss_is_in_the_total_by_its_weight() -> None:
    targets = made_targets([3, 2])
    output = made_output(targets)
    light, heavy = (
        criterion("A", load_balance_weight=weight).losses(output, targets)
        for weight in (0.0, 10.0)
    )
    assert heavy.routing is not None
    difference = (heavy.total - light.total).item()
    assert difference == pytest.approx(10 * heavy.routing.load_balance.item(), abs=1e-4)
    assert heavy.logged()["load_balance"] == light.logged()["load_balance"] > 0


@pytest.mark.parametrize("balance", ["bias", "none"])
def test_any_other_balance_is_not_in_the_total(balance: str) -> None:
    targets = made_targets([3, 2])
    output = made_output(targets)
    without = criterion("A", load_balance_weight=0.0).losses(output, targets)
    other = criterion("A", balance=balance).losses(output, targets)
    assert other.total.item() == without.total.item()
    assert other.logged()["load_balance"] > 0


def test_routing_losses_are_means_over_layers_and_then_over_kinds() -> None:
    targets = made_targets([3, 2])
    output = made_output(targets)
    (token,), query = output.routings["token"], output.routings["query"]
    logged = criterion().losses(output, targets).logged()
    for name, loss in (("load_balance", load_balance_loss), ("z_loss", z_loss)):
        layers = sum(loss(layer).item() for layer in query) / len(query)
        assert logged[name].item() == pytest.approx((loss(token).item() + layers) / 2)


def test_query_routers_learn_the_group_of_the_last_layer_s_objects() -> None:
    targets = made_targets([3, 2])
    output = made_output(targets, 3)
    losses = criterion("B").losses(output, targets)
    owner = [0, 0, 0, 1, 2, 2]
    found = match([output.layers[-1]], targets)[0]
    labels = torch.cat([t["class_labels"] for t in targets])[found.target]
    expected = [
        -layer.probabilities[image, query, owner[label]].log()
        for layer in output.routings["query"]
        for image, query, label in zip(found.image, found.query, labels, strict=True)
    ]
    assert len(expected) == 10
    mean = torch.stack(expected).mean()
    assert losses.logged()["route_sup"].item() == pytest.approx(mean.item())


def test_token_routers_learn_the_smallest_box_around_their_centre() -> None:
    owners = torch.arange(2)
    targets = [
        {
            "class_labels": torch.tensor([0, 1]),
            "boxes": torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.25, 0.25, 0.4, 0.4]]),
        },
        {"class_labels": torch.zeros(0, dtype=torch.long), "boxes": torch.zeros(0, 4)},
    ]
    sizes = ((2, 2), (1, 1))
    routing = route(torch.randn(2, 5, 2), 1)
    found = token_supervision(routing, targets, sizes, owners)
    expected = functional.cross_entropy(
        routing.logits[0], torch.tensor([1, 0, 0, 0, 0]), reduction="sum"
    )
    assert found.count == 5
    assert found.total.item() == pytest.approx(expected.item())
    targets[0]["boxes"][0, 2:] = 0.1
    assert token_supervision(routing, targets, sizes, owners).count == 2
    with pytest.raises(ValueError, match="do not have 5 tokens"):
        token_supervision(routing, targets, ((2, 2),), owners)


def test_wide_maps_are_read_row_by_row() -> None:
    target = {"class_labels": torch.tensor([1]), "boxes": torch.tensor([[5 / 6, 0.25, 0.2, 0.2]])}
    logits = torch.zeros(1, 6, 2)
    logits[0, 2] = torch.tensor([0.0, 3.0])
    found = token_supervision(route(logits, 1), [target], ((2, 3),), torch.arange(2))
    assert found.count == 1
    assert found.mean.item() == pytest.approx(0.0486, abs=1e-3)


def leaves(output: Output) -> list[Tensor]:
    dn = output.denoising
    assert dn is not None
    layers = (*output.layers, output.encoder, *dn.layers)
    routings = [layer.logits for kind in output.routings.values() for layer in kind]
    return [t for layer in layers for t in (layer.logits, layer.boxes)] + routings


@pytest.mark.parametrize("counts", [[3, 5], [0, 4], [0, 0], [1, 25]])
def test_every_prediction_gets_a_finite_gradient(counts: list[int]) -> None:
    targets = made_targets(counts)
    output = made_output(targets)
    torch.autograd.backward(criterion().losses(output, targets).total)
    for leaf in leaves(output):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.numel() == 0 or leaf.shape[-1] == 4 or leaf.grad.any()


def test_frozen_routers_do_not_stop_the_rest() -> None:
    targets = made_targets([3, 2])
    output = made_output(targets)
    frozen = {
        kind: tuple(route(layer.logits.detach(), 2) for layer in layers)
        for kind, layers in output.routings.items()
    }
    torch.autograd.backward(criterion().losses(replace(output, routings=frozen), targets).total)
    assert output.layers[0].logits.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_float32_losses_that_still_add_up(dtype: torch.dtype) -> None:
    targets = made_targets([3, 5])
    output = made_output(targets)

    def half(layer: Predicted) -> Predicted:
        return Predicted(layer.logits.to(dtype), layer.boxes.to(dtype))

    output = replace(output, layers=tuple(map(half, output.layers)), encoder=half(output.encoder))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = criterion("B").losses(replace(output, routings={}, denoising=None), targets)
        mixed = criterion().losses(output, targets)
    assert {value.dtype for value in mixed.logged().values()} == {torch.float32}
    assert shared_out(mixed) == pytest.approx(mixed.detection.total.sum().item(), rel=1e-6)
    assert losses.experts is None


@pytest.mark.parametrize("label", [6, -1])
def test_a_class_that_the_model_does_not_have_is_told(label: int) -> None:
    targets = made_targets([3, 2])
    output = made_output(targets)
    targets[1]["class_labels"][0] = label
    with pytest.raises(TrainingError, match=f"class {label}, but the model has 6"):
        criterion().losses(output, targets)


def test_only_targets_that_are_asked_for_are_left() -> None:
    targets = made_targets([4, 6, 2])
    asked = torch.tensor([[True] * 3 + [False] * 3, [True] * 6, [False] * 6])
    kept = asked_targets(targets, asked)
    expected = [[label for label in targets[0]["class_labels"].tolist() if label < 3]]
    expected += [targets[1]["class_labels"].tolist(), []]
    assert [t["class_labels"].tolist() for t in kept] == expected
    assert [len(t["boxes"]) for t in kept] == [len(t["areas"]) for t in kept]
    losses = criterion().losses(made_output(kept), kept)
    assert losses.normaliser == sum(len(labels) for labels in expected)


def test_groups_are_no_weights_of_a_checkpoint() -> None:
    assert criterion().state_dict() == {}


WORKER = """
import sys, torch
from torch import distributed as dist
from backend.trainers.moe_rtdetr.model.criterion import Criterion
from backend.trainers.moe_rtdetr.model.outputs import Output, Predicted
from backend.trainers.moe_rtdetr.spec import MoeConfig
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
targets = [
    {"class_labels": torch.zeros(n, dtype=torch.long), "boxes": torch.full((n, 4), 0.5)}
    for n in ([3, 5], [2, 0])[rank]
]
found = Predicted(torch.zeros(2, 6, 6), torch.full((2, 6, 4), 0.5))
loss = Criterion(None, MoeConfig(experts="dense"))
assert loss.losses(Output((found,), found), targets).normaliser == 5
if rank == 0:  # it validates alone
    assert loss.eval().losses(Output((found,), found), targets).normaliser == 8
dist.destroy_process_group()
"""


def test_the_number_of_targets_is_averaged_over_processes_in_training_only(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER]
    started = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], cwd=ROOT)
        for rank in range(2)
    ]
    assert [process.wait(240) for process in started] == [0, 0]
