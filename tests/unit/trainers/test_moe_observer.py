"""What is said of the experts after a pass: over batches, over processes, and of a collapse."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend.analysis.experts import judge
from backend.core.events import METRIC_KEY
from backend.core.experts import ExpertReport
from backend.nn.moe import Experts, RoutedExperts, Router, group_matrix, route, router_statistics
from backend.trainers.moe_rtdetr.model.criterion import Criterion
from backend.trainers.moe_rtdetr.model.outputs import Output, Predicted
from backend.trainers.moe_rtdetr.observer import Observer
from backend.trainers.moe_rtdetr.spec import CLASSES, MoeConfig

Truth = list[dict[str, Tensor]]
LAYERS, QUERIES, SIZES = 2, 8, ((2, 3), (1, 2))


def config(**options: Any) -> MoeConfig:
    return MoeConfig.model_validate({"experts": "B"} | options)


def criterion(moe: MoeConfig) -> Criterion:
    groups = [[CLASSES.index(name) for name in group] for group in moe.named_groups.values()]
    return Criterion(group_matrix(groups, len(CLASSES)) if groups else None, moe).eval()


def made_targets(counts: Sequence[int]) -> Truth:
    chance = torch.Generator().manual_seed(5)
    return [
        {
            "class_labels": torch.randint(6, (n,), generator=chance),
            "boxes": torch.rand(n, 4, generator=chance) * 0.4 + 0.2,
            "areas": torch.rand(n, generator=chance) * 2e4,
        }
        for n in counts
    ]


def made_output(images: int, k: int = 2, experts: int = 3, capacity: float = 0.0) -> Output:
    torch.manual_seed(6)

    def predicted() -> Predicted:
        boxes = torch.rand(images, QUERIES, 4) * 0.4 + 0.2
        return Predicted(torch.randn(images, QUERIES, len(CLASSES)), boxes)

    def routing(count: int) -> Any:
        return route(torch.randn(images, count, experts), k, capacity=capacity)

    tokens = sum(height * width for height, width in SIZES)
    kinds = {}
    if experts:
        kinds["token"] = (routing(tokens),)
        kinds["query"] = tuple(routing(QUERIES) for _ in range(LAYERS))
    return Output(
        layers=tuple(predicted() for _ in range(LAYERS)),
        encoder=predicted(),
        routings=kinds,
        sizes=SIZES,
    )


def part(output: Output, start: int, end: int) -> Output:
    """Some images of a batch."""

    def cut(layer: Predicted) -> Predicted:
        return Predicted(layer.logits[start:end], layer.boxes[start:end])

    return Output(
        layers=tuple(cut(layer) for layer in output.layers),
        encoder=cut(output.encoder),
        routings={
            kind: tuple(route(layer.logits[start:end], layer.k) for layer in layers)
            for kind, layers in output.routings.items()
        },
        sizes=output.sizes,
    )


def watched(moe: MoeConfig, *batches: tuple[Output, Truth]) -> Observer:
    observer, loss = Observer(CLASSES, moe), criterion(moe)
    for output, targets in batches:
        observer.update(output, targets, loss.losses(output, targets))
    return observer


def told(observer: Observer) -> ExpertReport:
    report = observer.report("val", 30, 2)
    assert report is not None
    return report


def rules(report: ExpertReport) -> set[str]:
    return {found.rule for found in judge(report)}


COUNTS = (3, 0, 5, 1, 12, 2)


def test_a_pass_is_the_same_in_one_batch_in_several_and_from_two_processes() -> None:
    moe, output, targets = config(), made_output(len(COUNTS)), made_targets(COUNTS)
    whole = watched(moe, (output, targets))
    cuts = [(0, 1), (1, 2), (2, 5), (5, 6)]
    batches = [(part(output, *cut), targets[slice(*cut)]) for cut in cuts]
    pieces = watched(moe, *batches)
    first, second = watched(moe, *batches[:3]), watched(moe, *batches[3:])
    first.merge(second)
    empty = Observer(CLASSES, moe)
    empty.merge(first)
    for other in (pieces, first, empty):
        assert other.metrics() == pytest.approx(whole.metrics(), rel=1e-5)
        ours, theirs = (told(one).classes_to_experts for one in (other, whole))
        assert ours.objects == theirs.objects
    logged = criterion(moe).losses(output, targets).logged()
    metrics = whole.metrics()
    assert metrics["val/loss"] == pytest.approx(logged["loss"].item(), rel=1e-5)
    assert metrics["val/detection_loss"] == pytest.approx(logged["detection_loss"].item())
    for expert in range(3):
        share = logged[f"expert_loss/{expert}"].item()
        assert metrics[f"moe/expert_loss/{expert}"] == pytest.approx(share)


def test_metrics_have_the_names_and_values_of_the_definitions() -> None:
    moe, output, targets = config(), made_output(len(COUNTS)), made_targets(COUNTS)
    metrics = watched(moe, (output, targets)).metrics()
    assert all(METRIC_KEY.fullmatch(name) for name in metrics)
    query = [router_statistics(layer.logits, 2) for layer in output.routings["query"]]
    token = [router_statistics(output.routings["token"][0].logits, 2)]
    for kind, layers in (("token", token), ("query", query)):
        usage = torch.stack([found["usage"] for found in layers]).mean(0)
        shown = [metrics[f"moe/{kind}/usage/{expert}"] for expert in range(3)]
        assert shown == pytest.approx(usage.tolist())
        assert sum(shown) == pytest.approx(1)
        for name in ("routing_entropy", "routing_entropy_share", "usage_entropy", "z_loss"):
            mean = sum(found[name].item() for found in layers) / len(layers)
            assert metrics[f"moe/{kind}/{name}"] == pytest.approx(mean)
        for name in ("load_balance", "max_violation", "dead"):
            assert f"moe/{kind}/{name}" in metrics
    names = ("alignment", "specialisation")
    assert {f"moe/query/{name}" for name in names} < metrics.keys()
    total = sum(metrics[f"moe/expert_loss/{expert}"] for expert in range(3))
    assert total == pytest.approx(metrics["val/detection_loss"], abs=1e-5)


def test_the_report_says_who_saw_which_classes_and_sizes() -> None:
    moe, output, targets = config(), made_output(len(COUNTS)), made_targets(COUNTS)
    observer = watched(moe, (output, targets))
    train = {"loss": 9.0, "expert_loss/0": 1.0, "expert_loss/1": 2.0, "expert_loss/2": 3.0}
    report = observer.report("val", 30, 2, train)
    assert report is not None
    assert ExpertReport.model_validate_json(report.model_dump_json()) == report
    assert (report.split, report.step, report.epoch, report.images) == ("val", 30, 2, 6)
    assert report.experts == ("vehicles", "people", "two_wheelers")
    assert report.groups[2] == ("bicycle", "motorcycle")
    assert [router.name for router in report.routers] == ["token", "query/0", "query/1"]
    assert report.train_losses == (1.0, 2.0, 3.0)
    assert report.supervised
    for router in report.routers:
        assert sum(router.counts) == router.tokens * 2
    last = criterion(moe).losses(output, targets).last
    labels = torch.cat([t["class_labels"] for t in targets])
    weights = sum(r.weights[last.image, last.query] for r in output.routings["query"]) / LAYERS
    assert isinstance(weights, Tensor)
    found = labels[last.target]
    for label, row in enumerate(report.classes_to_experts.matrix):
        assert row == (
            pytest.approx(tuple(weights[found == label].mean(0).tolist()), abs=1e-6)
            if (found == label).any()
            else None
        )
    areas = torch.cat([t["areas"] for t in targets])[last.target]
    small = int((areas < 32**2).sum())
    large = int((areas >= 96**2).sum())
    assert report.sizes_to_experts.objects == (small, len(areas) - small - large, large)
    owner = torch.tensor([0, 0, 0, 1, 2, 2])[found]
    micro = weights.gather(1, owner.unsqueeze(1)).mean().item()
    assert report.alignment_micro == pytest.approx(micro)


def test_an_expert_s_loss_is_told_per_object_of_its_own_also_without_any() -> None:
    targets = made_targets([4, 3])
    for target in targets:
        target["class_labels"] %= 3  # vehicles only
    observer = watched(config(), (made_output(2), targets))
    vehicles, people, _ = told(observer).losses
    assert (vehicles.objects, people.objects) == (7, 0)
    assert vehicles.per_object == pytest.approx(vehicles.total)
    assert (people.bbox, people.giou, people.per_object) == (0, 0, None)
    assert people.vfl > 0
    metrics = observer.metrics()
    assert "moe/expert_loss_per_object/0" in metrics
    assert "moe/expert_loss_per_object/1" not in metrics
    assert told(observer).classes_to_experts.matrix[3] is None


def test_accuracy_counts_what_was_found_with_the_right_class_of_all_objects() -> None:
    labels, boxes = (
        torch.tensor([0, 1, 2, 3]),
        torch.rand(4, 4) * 0.1
        + torch.tensor(
            [
                [0.2, 0.2, 0.2, 0.2],
                [0.2, 0.7, 0.2, 0.2],
                [0.7, 0.2, 0.2, 0.2],
                [0.7, 0.7, 0.2, 0.2],
            ]
        ),
    )
    logits = torch.full((1, 3, 6), -5.0)
    logits[0, 0, 0] = 5  # right
    logits[0, 1, 5] = 5  # the wrong class
    logits[0, 2, 2] = 5  # the right class, too far away
    found = boxes[:3].clone().unsqueeze(0)
    found[0, 2, 2:] *= 0.5
    answer = Predicted(logits, found)
    targets = [{"class_labels": labels, "boxes": boxes, "areas": torch.ones(4)}]
    metrics = watched(config(experts="dense"), (Output((answer,), answer), targets)).metrics(
        "test"
    )
    assert metrics["test/accuracy_correct"] == 1
    assert metrics["test/accuracy_total"] == 4
    assert metrics["test/accuracy"] == 0.25


def test_a_dense_model_has_no_experts_to_tell_of() -> None:
    observer = watched(config(experts="dense"), (made_output(2, 0, 0), made_targets([2, 3])))
    assert observer.report("val", 1, 1) is None
    metrics = observer.metrics()
    assert not [name for name in metrics if name.startswith("moe/")]
    assert metrics["val/loss"] == metrics["val/detection_loss"] > 0


def test_without_any_object_nothing_is_claimed_of_classes() -> None:
    observer = watched(config(), (made_output(2), made_targets([0, 0])))
    report, metrics = told(observer), observer.metrics()
    assert report.alignment is report.specialisation is None
    assert metrics["val/accuracy"] == metrics["val/accuracy_total"] == 0
    assert "moe/query/alignment" not in metrics


def test_all_experts_for_all_are_marked_as_not_informative() -> None:
    observer = watched(config(top_k=3), (made_output(2, 3), made_targets([2, 3])))
    assert "uninformative" in rules(told(observer))
    assert observer.metrics()["moe/token/load_balance"] == pytest.approx(1)
    fewer = watched(config(), (made_output(2), made_targets([2, 3])))
    assert "uninformative" not in rules(told(fewer))


def test_what_capacity_dropped_and_what_was_not_supervised_is_told() -> None:
    moe = config(top_k=1, capacity=0.5, route_sup=0)
    observer = watched(moe, (made_output(4, 1, capacity=0.5), made_targets([2, 3, 1, 1])))
    report, metrics = told(observer), observer.metrics()
    assert not report.supervised
    router = report.routers[0]
    assert router.dropped == metrics["moe/token/dropped"] >= 0.25  # 6 seats for 8
    assert metrics["moe/token/stranded"] == pytest.approx(router.dropped * router.tokens)
    assert sum(router.counts) == router.tokens
    assert "dropped" in rules(report)


def test_experts_that_a_prompt_skipped_are_not_called_dead() -> None:
    moe, output, targets = config(), made_output(2), made_targets([2, 3])
    allowed = torch.tensor([[True, False, False], [True, False, True]]).unsqueeze(1)
    pruned = {
        kind: tuple(route(layer.logits, 2, allowed=allowed) for layer in layers)
        for kind, layers in output.routings.items()
    }
    observer = watched(moe, (Output(output.layers, output.encoder, None, pruned, SIZES), targets))
    assert told(observer).pruned
    assert not any(router.dead or router.unused for router in told(observer).routers)
    assert rules(told(observer)) == {"pruned"}


def test_losses_of_other_targets_are_refused() -> None:
    moe, output, targets = config(), made_output(2), made_targets([2, 3])
    losses = criterion(moe).losses(output, targets)
    with pytest.raises(ValueError, match="other targets"):
        Observer(CLASSES, moe).update(output, made_targets([2, 2]), losses)


class Toy(nn.Module):
    """Objects are vectors; a routed layer and a linear head find them."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = RoutedExperts(Router(16, 6, 2), Experts(6, 16, 16))
        self.head = nn.Linear(16, len(CLASSES) + 4)

    def forward(self, x: Tensor) -> Output:
        out, routing = self.mix(x)
        logits, boxes = self.head(x + out).split([len(CLASSES), 4], -1)
        found = Predicted(logits, boxes.sigmoid())
        return Output(layers=(found,), encoder=found, routings={"query": (routing,)})


class Scenes:
    """Eight images of twelve vectors; the first four hold an object's class and box. All share
    a large common part, as activations do, which makes routers collapse."""

    def __init__(self, seed: int) -> None:
        self.chance = torch.Generator().manual_seed(seed)
        self.centres = torch.randn(6, 16, generator=self.chance)
        self.centres[:, :4] = 0

    def batch(self) -> tuple[Tensor, Truth]:
        labels = torch.randint(6, (8, 4), generator=self.chance)
        boxes = torch.rand(8, 4, 4, generator=self.chance) * 0.4 + 0.2
        x = 0.1 * torch.randn(8, 12, 16, generator=self.chance) + 1
        x[:, :4] += 2 * self.centres[labels]
        x[:, :4, :4] += 4 * boxes
        pairs = zip(labels, boxes, strict=True)
        areas = torch.ones(4)
        return x, [{"class_labels": one, "boxes": box, "areas": areas} for one, box in pairs]


def trained(toy: Toy, scenes: Scenes, moe: MoeConfig) -> ExpertReport:
    """What the experts do after 200 steps."""
    loss = criterion(moe)
    optimizer = torch.optim.Adam(toy.parameters(), lr=0.01)
    for _ in range(200):
        x, targets = scenes.batch()
        optimizer.zero_grad()
        torch.autograd.backward(loss.losses(toy(x), targets).total)
        optimizer.step()
    observer = Observer(CLASSES, moe)
    for x, targets in (scenes.batch() for _ in range(8)):
        output = toy(x)
        observer.update(output, targets, loss.losses(output, targets))
    return told(observer)


def test_without_the_balance_loss_experts_die_and_with_it_they_come_back() -> None:
    torch.manual_seed(4)
    toy, scenes = Toy(), Scenes(4)
    free = {"experts": "A", "route_sup": 0, "route_sup_token": 0}
    alone = trained(toy, scenes, config(**free, balance="none"))
    assert alone.routers[0].dead
    (dead,) = [found for found in judge(alone) if found.rule == "dead"]
    assert dead.routers == ("query/0",)
    assert "was never chosen" in dead.said
    balanced = trained(toy, scenes, config(**free, load_balance_weight=1))
    assert balanced.routers[0].dead == ()
    assert "dead" not in rules(balanced)
    assert balanced.routers[0].max_violation < alone.routers[0].max_violation
