import random

import pytest
import torch

from backend.core.errors import ConfigError
from backend.nn.moe import group_matrix
from backend.trainers.moe_rtdetr.language.gate import LanguageGate
from backend.trainers.moe_rtdetr.language.prompts import Prompt, Prompts
from backend.trainers.moe_rtdetr.language.teaching import teach
from backend.trainers.moe_rtdetr.spec import CLASSES, GROUPS, LanguageConfig

PEOPLE = torch.tensor([[0.01, 0.02, 0.0, 0.98, 0.49, 0.0]])
NOBODY = torch.full((1, 6), 0.01)
OWNERS = {
    letter: group_matrix([[CLASSES.index(name) for name in g] for g in GROUPS[letter].values()], 6)
    for letter in "ABC"
}


def fresh(**config: object) -> LanguageGate:
    return LanguageGate(LanguageConfig.model_validate(config), CLASSES)


@pytest.fixture(scope="module")
def taught() -> LanguageGate:
    random.seed(0)
    torch.manual_seed(0)
    gate = fresh()
    teach(gate, Prompts(CLASSES, GROUPS["B"]), most_objects=9)
    return gate


def asked(gate: LanguageGate, prompt: str) -> set[str]:
    relevance = gate.asked([prompt])[0].tolist()
    return {name for name, r in zip(CLASSES, relevance, strict=True) if r >= 0.5}


@pytest.mark.parametrize(
    ("prompt", "classes"),
    [
        ("find the pedestrians", {"person"}),
        ("detect vehicles", {"car", "truck", "bus"}),
        ("两轮车", {"bicycle", "motorcycle"}),
        ("could you point out the buses", {"bus"}),
        ("帮我识别卡车和行人", {"truck", "person"}),
        ("spot every bike and motorbike", {"bicycle", "motorcycle"}),
        ("everything", set(CLASSES)),
    ],
)
def test_a_taught_gate_understands(taught: LanguageGate, prompt: str, classes: set[str]) -> None:
    assert asked(taught, prompt) == classes


def test_most_prompts_in_new_words_are_understood(taught: LanguageGate) -> None:
    held_out = Prompts(CLASSES, GROUPS["B"]).held_out()
    assert len(held_out) > 100
    assert taught.understood(held_out) >= 0.9


def test_understood_is_the_exact_set(taught: LanguageGate) -> None:
    right, wrong = (
        Prompt("find the car", frozenset({0})),
        Prompt("find the car", frozenset({0, 1})),
    )
    assert taught.understood([right, wrong, right, wrong]) == 0.5


def test_teaching_follows_the_seed_and_the_learning_rate() -> None:
    def weights(lr: float) -> torch.Tensor:
        random.seed(1)
        torch.manual_seed(1)
        gate = fresh(dimensions=256, hidden=4, lr=lr)
        teach(gate, Prompts(("a", "b")), most_objects=1)
        return gate.mlp[2].weight

    # Two classes would do, but the gate has six: only the first ones are ever asked for.
    first = weights(3e-3)
    assert torch.equal(first, weights(3e-3))
    assert not torch.equal(first, weights(1e-3))


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_silence_asks_for_everything(prompt: str) -> None:
    gate = fresh()
    assert torch.equal(gate.asked([prompt]), torch.ones(1, 6))
    found = gate.gate_of([prompt], OWNERS["A"], 30)
    assert torch.equal(found.relevance, torch.ones(1, 6))
    assert found.allowed is not None
    assert found.allowed.all()


@pytest.mark.parametrize(
    ("letter", "allowed"),
    [
        ("A", [False, False, False, True, False, False]),
        ("B", [False, True, False]),
        ("C", [False, False, True]),
    ],
)
def test_experts_without_a_class_asked_for_are_skipped(letter: str, allowed: list[bool]) -> None:
    found = fresh().gate(PEOPLE, OWNERS[letter], 30)
    assert found.allowed is not None
    assert found.allowed.tolist() == [allowed]
    assert torch.equal(found.relevance, PEOPLE)


def test_relevance_of_a_half_is_asked_for() -> None:
    found = fresh().gate(torch.tensor([[0.5, 0, 0, 0, 0, 0]]), OWNERS["A"], 30)
    assert found.allowed is not None
    assert found.allowed[0].tolist() == [True] + [False] * 5


def test_an_image_keeps_its_experts_if_nothing_is_asked_for() -> None:
    found = fresh().gate(torch.cat([PEOPLE, NOBODY]), OWNERS["B"], 30)
    assert found.allowed is not None
    assert found.allowed.tolist() == [[False, True, False], [True, True, True]]


def test_pruning_can_be_switched_off_and_needs_experts() -> None:
    assert fresh(prune=False).gate(PEOPLE, OWNERS["A"], 30).allowed is None
    assert fresh().gate(PEOPLE, None, 30).allowed is None


@pytest.mark.parametrize(
    ("setting", "queries", "selects"),
    [("on", 30, True), ("off", 4, False), ("auto", 9, False), ("auto", 8, True)],
)
def test_queries_are_selected_by_the_prompt_if_they_may_not_suffice(
    taught: LanguageGate, setting: str, queries: int, selects: bool
) -> None:
    gate = fresh(gate_query_selection=setting)
    gate.load_state_dict(taught.state_dict())  # the fullest frame had 9 objects
    assert gate.gate(PEOPLE, None, queries).select is selects


def test_an_unknown_prompt_finds_everything_with_a_warning(taught: LanguageGate) -> None:
    found = taught.gate_of(["find the giraffe", "find the car"], OWNERS["A"], 30)
    assert torch.equal(found.relevance[0], torch.ones(6))
    assert found.relevance[1, 1] < 0.5
    (warning,) = taught.warnings(["find the giraffe", "find the car", "find the giraffe"])
    assert "'find the giraffe' names none of the classes car, truck" in warning
    assert "everything was looked for" in warning


def test_an_unknown_prompt_is_an_error_where_that_was_asked_for(taught: LanguageGate) -> None:
    gate = fresh(unknown="error")
    gate.load_state_dict(taught.state_dict())
    gate.gate_of(["find the car", ""], OWNERS["A"], 30)
    with pytest.raises(ConfigError, match="'find the giraffe' names none of the classes"):
        gate.gate_of(["find the car", "find the giraffe"], OWNERS["A"], 30)


def test_sizes_follow_the_config() -> None:
    gate = fresh(dimensions=300, hidden=7)
    assert [tuple(p.shape) for p in gate.parameters()] == [(7, 300), (7,), (6, 7), (6,)]


def test_a_half_precision_pass_leaves_the_gate_in_float32(taught: LanguageGate) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = taught.asked(["find the car"])
    assert torch.equal(found, taught.asked(["find the car"]))
