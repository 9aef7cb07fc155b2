import random
import re

import pytest
import torch

from backend.trainers.moe_rtdetr.language import vocabulary
from backend.trainers.moe_rtdetr.language.prompts import Prompts, asked_rows
from backend.trainers.moe_rtdetr.language.teaching import ASKED, Prompter
from backend.trainers.moe_rtdetr.language.vocabulary import phrases, plural
from backend.trainers.moe_rtdetr.model.batch import Batch
from backend.trainers.moe_rtdetr.spec import CLASSES, GROUPS

EVERY = frozenset(range(6))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    torch.manual_seed(0)


def batch(*images: list[int]) -> Batch:
    targets = [
        {
            "class_labels": torch.tensor(labels, dtype=torch.int64),
            "boxes": torch.rand(len(labels), 4),
            "areas": torch.ones(len(labels)),
        }
        for labels in images
    ]
    return Batch(torch.zeros(len(images), 3, 32, 32), targets)


def test_prompts_say_what_they_ask_for() -> None:
    prompts = Prompts(CLASSES)
    for _ in range(300):
        prompt = prompts.asking()
        assert 1 <= len(prompt.asked) <= 3
        named = [p for p in prompts.phrases if any(form in prompt.text for form in p.forms)]
        assert prompt.asked <= frozenset().union(*(phrase.asked for phrase in named))


def test_words_around_a_prompt_never_ask_for_a_class() -> None:
    prompts = Prompts(("car", "the"))
    forms = {form for phrase in prompts.classes for form in phrase.forms}
    for _ in range(300):
        text = prompts.unknown().text
        words = set(re.findall(r"\w+", text))
        assert "car" not in words
        assert not forms & set(re.findall(r"[\u4e00-\u9fff]", text))


def test_both_languages_and_words_that_do_not_exist_occur() -> None:
    texts = [Prompts(CLASSES).asking().text for _ in range(100)]
    chinese = [text for text in texts if re.search(r"[\u4e00-\u9fff]", text)]
    assert 10 < len(chinese) < 60
    assert len(set(texts)) > 95


def test_a_wanted_class_is_asked_for() -> None:
    prompts = Prompts(CLASSES)
    asked = [prompts.asking(4).asked for _ in range(100)]
    assert all(4 in some for some in asked)
    assert {frozenset({4}), frozenset({4, 5})} <= set(asked)


def test_held_out_templates_are_not_trained_on_and_never_change() -> None:
    prompts = Prompts(CLASSES)
    before = random.getstate()
    assert prompts.held_out() == Prompts(CLASSES).held_out()
    assert random.getstate() == before
    trained = {*vocabulary.TEMPLATES, *vocabulary.CHINESE_TEMPLATES}
    assert not trained & {*vocabulary.HELD_OUT, *vocabulary.HELD_OUT_CHINESE}
    asked = {prompt.asked for prompt in prompts.held_out()}
    assert {frozenset({3}), frozenset({0, 1, 2}), frozenset({4, 5}), EVERY} <= asked


@pytest.mark.parametrize(
    "classes", [("excavator",), ("traffic_light", "bus"), ("起重机", "кран"), ("person", "people")]
)
def test_any_class_names_can_be_asked_for(classes: tuple[str, ...]) -> None:
    prompts = Prompts(classes)
    for number, phrase in enumerate(prompts.classes):
        assert phrase.asked == {number}
        assert classes[number].replace("_", " ") in phrase.forms
    forms = [form for phrase in prompts.classes for form in phrase.forms]
    assert len(forms) == len(set(forms)), "two classes would be called the same"
    for _ in range(50):
        assert prompts.any().asked <= set(range(len(classes)))
    assert prompts.held_out()


def test_a_class_has_its_plural_and_synonyms() -> None:
    assert phrases("traffic_light", ()) == ("traffic light", "traffic lights")
    assert {"pedestrians", "行人"} <= set(phrases("person", CLASSES))
    assert [plural(noun) for noun in ("bus", "lorry", "bench", "key", "车")] == [
        *("buses", "lorries", "benches", "keys", "车")
    ]


def test_groups_are_those_of_the_experts_and_the_built_in_ones() -> None:
    def named(groups: dict[str, tuple[str, ...]]) -> dict[str, frozenset[int]]:
        return {phrase.name: phrase.asked for phrase in Prompts(CLASSES, groups).groups}

    built_in = {"vehicles": frozenset({0, 1, 2}), "two wheelers": frozenset({4, 5})}
    assert named(GROUPS["A"]) == built_in, "'car' is a class already"
    assert named(GROUPS["B"]) == built_in, "'people' is a word for a class already"
    assert named(GROUPS["C"])["large objects"] == {1, 2}
    assert named({"vehicles": ("car", "motorcycle")})["vehicles"] == {0, 5}
    assert [p.name for p in Prompts(("apple", "pear"), {"fruit": ("apple", "pear")}).groups] == [
        "fruit"
    ]


def test_every_image_gets_a_prompt_and_what_it_asks_for() -> None:
    made = Prompter(Prompts(CLASSES), 0.25)(batch([3, 3, 0], [], [5]))
    assert len(made.prompts) == 3
    for target in made.targets:
        assert target[ASKED].shape == (6,)
        assert target[ASKED].dtype == torch.bool
    assert made.targets[0]["class_labels"].tolist() == [3, 3, 0], "filtering is the learner's"


def test_prompts_follow_the_generator_that_the_runner_seeds() -> None:
    prompter, images = Prompter(Prompts(CLASSES), 0.25), batch([3], [1, 2], [0])
    random.seed(5)
    first = prompter(images).prompts
    assert prompter(images).prompts != first
    random.seed(5)
    assert prompter(images).prompts == first


def test_shares_of_everything_of_silence_and_of_what_is_there() -> None:
    prompter = Prompter(Prompts(CLASSES), 0.25)
    drawn = [prompter.draw([4]) for _ in range(4000)]
    every = [prompt for prompt in drawn if prompt.asked == EVERY]
    assert len(every) / 4000 == pytest.approx(0.25, abs=0.03)
    assert sum(not p.text for p in every) / len(every) == pytest.approx(0.5, abs=0.06)
    rest = [prompt for prompt in drawn if prompt.asked not in (EVERY, frozenset())]
    assert sum(4 in p.asked for p in rest) / len(rest) > 0.5
    assert 0.02 < sum(not p.asked for p in drawn) / 4000 < 0.06


@pytest.mark.parametrize(("share", "asked"), [(1.0, {EVERY}), (0.0, set())])
def test_the_share_of_everything_is_the_configs(share: float, asked: set[frozenset[int]]) -> None:
    prompter = Prompter(Prompts(CLASSES), share)
    drawn = {prompter.draw([]).asked for _ in range(200)}
    assert drawn & {EVERY} == asked


def test_rows_of_what_is_asked_for() -> None:
    prompts = Prompts(("a", "b"))
    assert asked_rows([prompts.all(), prompts.unknown()], 2).tolist() == [
        [True, True],
        [False, False],
    ]
