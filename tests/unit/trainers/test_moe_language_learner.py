import random

import pytest
import torch

from backend.nn.moe import load_balance_loss
from backend.trainers.moe_rtdetr.language.gate import LanguageGate
from backend.trainers.moe_rtdetr.language.learner import gated_losses
from backend.trainers.moe_rtdetr.language.prompts import Prompt, Prompts, asked_rows
from backend.trainers.moe_rtdetr.language.teaching import ASKED, teach
from backend.trainers.moe_rtdetr.language.understanding import accuracy, questions, understanding
from backend.trainers.moe_rtdetr.model.batch import Batch
from backend.trainers.moe_rtdetr.model.build import build_network
from backend.trainers.moe_rtdetr.model.criterion import Criterion
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.outputs import Gate
from backend.trainers.moe_rtdetr.spec import CLASSES, LanguageConfig, ModelConfig, MoeConfig

SIZE = (64, 64)
MOE = MoeConfig(experts="A", top_k=2, hidden=16)
PERSON = Prompt("find the pedestrians", frozenset({3}))
SILENCE = Prompt("", frozenset(range(6)))
UNKNOWN = Prompt("find the giraffe", frozenset())


@pytest.fixture(scope="module")
def taught() -> LanguageGate:
    random.seed(0)
    torch.manual_seed(0)
    gate = LanguageGate(LanguageConfig(), CLASSES)
    teach(gate, Prompts(CLASSES), most_objects=4)
    return gate


@pytest.fixture
def network() -> MoeRtDetr:
    torch.manual_seed(0)
    model = ModelConfig(preset="tiny", image_size=SIZE, queries=10, denoising=0)
    return build_network(model, MOE, CLASSES)


def made(*prompts: Prompt) -> Batch:
    """Images with a car and a person each."""
    torch.manual_seed(1)
    target = {
        "class_labels": torch.tensor([0, 3]),
        "boxes": torch.tensor([[0.3, 0.3, 0.4, 0.4], [0.7, 0.6, 0.2, 0.5]]),
        "areas": torch.tensor([600.0, 400.0]),
    }
    rows = asked_rows(prompts, 6)
    return Batch(
        torch.rand(len(prompts), 3, *SIZE),
        [{**target, ASKED: row} for row in rows],
        tuple(prompt.text for prompt in prompts),
    )


def losses(
    network: MoeRtDetr, gate: LanguageGate, batch: Batch, moe: MoeConfig = MOE
) -> dict[str, torch.Tensor]:
    return dict(gated_losses(network.eval(), gate, Criterion(network.groups, moe), batch))


def stage1(
    network: MoeRtDetr, batch: Batch, kept: list[int], gate: Gate | None
) -> dict[str, torch.Tensor]:
    targets = [
        {key: target[key][kept] for key in ("class_labels", "boxes", "areas")}
        for target in batch.targets
    ]
    criterion = Criterion(network.groups, MOE)
    return criterion.losses(network.eval()(batch.images, targets, gate=gate), targets).logged()


def test_silence_is_stage_one(network: MoeRtDetr, taught: LanguageGate) -> None:
    batch = made(SILENCE, SILENCE)
    found, plain = losses(network, taught, batch), stage1(network, batch, [0, 1], None)
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, msg=name)
    assert found["gate_loss"] == 0


def test_only_what_was_asked_for_is_there(network: MoeRtDetr, taught: LanguageGate) -> None:
    batch = made(PERSON, PERSON)
    gate = taught.gate(taught.asked(batch.prompts), network.groups, 10)
    assert gate.allowed is not None
    assert gate.allowed.sum(1).tolist() == [1, 1]
    found, plain = losses(network, taught, batch), stage1(network, batch, [1], gate)
    torch.testing.assert_close(found["detection_loss"], plain["detection_loss"])
    torch.testing.assert_close(found["route_sup"], plain["route_sup"])
    assert found["loss"] > found["gate_loss"] > 0


def test_an_unknown_prompt_teaches_the_gate_but_hides_nothing(
    network: MoeRtDetr, taught: LanguageGate
) -> None:
    batch = made(UNKNOWN, UNKNOWN)
    found, plain = losses(network, taught, batch), stage1(network, batch, [0, 1], None)
    torch.testing.assert_close(found["detection_loss"], plain["detection_loss"])
    assert found["gate_loss"] > 0


def test_the_gates_loss_is_cross_entropy_over_spoken_prompts_times_its_weight(
    network: MoeRtDetr, taught: LanguageGate
) -> None:
    batch = made(PERSON, SILENCE, UNKNOWN)
    spoken = taught([PERSON.text, UNKNOWN.text]).double()
    right = asked_rows([PERSON, UNKNOWN], 6)
    expected = -torch.where(right, spoken.sigmoid(), 1 - spoken.sigmoid()).log().mean()
    once = losses(network, taught, batch)
    torch.testing.assert_close(once["gate_loss"].double(), expected, atol=1e-6, rtol=1e-4)
    heavy = LanguageGate(LanguageConfig(weight=3.0), CLASSES)
    heavy.load_state_dict(taught.state_dict())
    thrice = losses(network, heavy, batch)
    torch.testing.assert_close(thrice["gate_loss"], 3 * once["gate_loss"])
    torch.testing.assert_close(thrice["loss"] - once["loss"], 2 * once["gate_loss"])


def test_prompts_that_are_not_understood_are_counted(
    network: MoeRtDetr, taught: LanguageGate
) -> None:
    misread = Prompt("find the pedestrians", frozenset({0}))
    assert losses(network, taught, made(PERSON, misread))["prompt_accuracy"] == 0.5


def test_the_detector_does_not_teach_the_gate(network: MoeRtDetr, taught: LanguageGate) -> None:
    batch = made(PERSON)
    losses(network, taught, batch)["detection_loss"].backward()
    assert all(parameter.grad is None for parameter in taught.parameters())
    losses(network, taught, batch)["gate_loss"].backward()
    assert taught.mlp[0].weight.grad is not None
    taught.zero_grad()


def test_routers_are_balanced_where_no_expert_is_skipped(
    network: MoeRtDetr, taught: LanguageGate
) -> None:
    both = losses(network, taught, made(SILENCE, PERSON))["load_balance"]
    batch = made(SILENCE, PERSON)
    output = network.eval()(batch.images[:1])
    kinds = [
        torch.stack([load_balance_loss(layer) for layer in layers]).mean()
        for layers in output.routings.values()
    ]
    torch.testing.assert_close(both, torch.stack(kinds).mean())
    assert losses(network, taught, made(PERSON))["load_balance"] == 0


def test_a_dense_network_is_gated_by_class_only(taught: LanguageGate) -> None:
    torch.manual_seed(0)
    dense = MoeConfig(experts="dense", top_k=2)
    model = ModelConfig(preset="tiny", image_size=SIZE, queries=10, denoising=0)
    found = losses(build_network(model, dense, CLASSES), taught, made(PERSON, SILENCE), dense)
    assert found["loss"].isfinite()


@pytest.mark.parametrize("labels", [[], [0, 3]])
def test_training_with_denoising_queries_and_empty_images(
    taught: LanguageGate, labels: list[int]
) -> None:
    torch.manual_seed(0)
    model = ModelConfig(preset="tiny", image_size=SIZE, queries=10, denoising=10)
    network = build_network(model, MOE, CLASSES).train()
    batch = made(PERSON, SILENCE)
    targets = [
        {
            **target,
            **{key: target[key][: len(labels)] for key in ("class_labels", "boxes", "areas")},
        }
        for target in batch.targets
    ]
    batch = batch._replace(targets=targets)
    found = gated_losses(network, taught, Criterion(network.groups, MOE), batch)
    found["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    taught.zero_grad()


def test_what_a_prompt_means_and_costs(network: MoeRtDetr, taught: LanguageGate) -> None:
    nothing = understanding(network, taught, SIZE, None)
    assert (nothing.classes, nothing.skipped) == (CLASSES, ())
    one = understanding(network, taught, SIZE, PERSON.text)
    assert one.classes == ("person",)
    assert one.skipped == ("car", "truck", "bus", "bicycle", "motorcycle")
    assert nothing.gflops is not None
    assert one.gflops is not None
    assert one.gflops < nothing.gflops, "one choice per token instead of two"


def test_questions_for_each_class_each_group_and_everything(taught: LanguageGate) -> None:
    prompts = Prompts(CLASSES)
    asked = {question.name: question.asked for question in questions(prompts)}
    assert asked == {
        **{name: (name,) for name in CLASSES},
        "vehicles": ("car", "truck", "bus"),
        "two wheelers": ("bicycle", "motorcycle"),
        "everything": CLASSES,
    }
    found = accuracy(taught, prompts)
    assert found.prompts == len(prompts.held_out())
    assert found.share == taught.understood(prompts.held_out())
