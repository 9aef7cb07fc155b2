"""Prompts to train on: templates times synonyms, English and Chinese, among random words.

Without the random words the gate learns its templates by heart, and is right about far fewer
prompts in words that it has not seen. Randomness is that of ``random``, which the Runner seeds.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from backend.trainers.moe_rtdetr.language import vocabulary as words
from backend.trainers.moe_rtdetr.language.ngrams import HAN

_HAN = re.compile(f"[{HAN}]")
_COUNTS = (1, 2, 3), (5, 3, 2)


class Prompt(NamedTuple):
    """A text, and the numbers of the classes that it asks for."""

    text: str
    asked: frozenset[int]


class Phrase(NamedTuple):
    """Ways to say which classes are meant."""

    name: str
    forms: tuple[str, ...]
    asked: frozenset[int]

    def of(self, chinese: bool) -> tuple[str, ...]:
        """The forms in a language, or all where it has none."""
        fitting = tuple(form for form in self.forms if bool(_HAN.search(form)) == chinese)
        return fitting or self.forms


class Prompts:
    """What a model with these classes can be asked for: classes, groups of them, everything.

    Expert groups can be asked for by their names, which come before the built-in groups.
    """

    def __init__(
        self, classes: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.classes = tuple(
            Phrase(name, words.phrases(name, classes), frozenset([number]))
            for number, name in enumerate(classes)
        )
        spoken = frozenset(chain.from_iterable(phrase.forms for phrase in self.classes))
        self.groups = tuple(_groups(tuple(classes), groups or {}, spoken))
        self.everything = Phrase("everything", words.EVERYTHING, frozenset(range(len(classes))))
        forms = [form for phrase in (*self.classes, *self.groups) for form in phrase.forms]
        self._taken = frozenset(chain(*forms, *(form.split() for form in forms)))
        self._unknown = tuple(word for word in words.UNKNOWN if word not in forms)

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """All that has a name."""
        return (*self.classes, *self.groups, self.everything)

    def asking(self, wanted: int | None = None) -> Prompt:
        """For one to three classes or a group; for the class ``wanted`` among others, if given."""
        groups = [group for group in self.groups if wanted is None or wanted in group.asked]
        if groups and random.random() < 0.25:
            return self._prompt(random.choice(groups))
        (count,) = random.choices(*_COUNTS)
        chosen = random.sample(self.classes, min(count, len(self.classes)))
        if wanted is not None and self.classes[wanted] not in chosen:
            chosen[0] = self.classes[wanted]
        return self._prompt(*chosen)

    def any(self) -> Prompt:
        """For whatever one may ask: mostly some classes, now and then all of them or none."""
        luck = random.random()
        if luck < 0.1:
            return self.unknown()
        return self.all() if luck < 0.25 else self.asking()

    def all(self) -> Prompt:
        """For everything, in words."""
        return self._prompt(self.everything)

    def unknown(self) -> Prompt:
        """For something that is none of the classes."""
        word = random.choice(self._unknown) if random.random() < 0.5 else self._invented()
        return self._prompt(Phrase("unknown", (word,), frozenset()))

    def held_out(self) -> tuple[Prompt, ...]:
        """Always the same prompts, in templates that are not trained on."""
        sets = [[phrase] for phrase in self.phrases]
        if len(self.classes) > 2:
            following = (*self.classes[1:], self.classes[0])
            sets += [[a, b] for a, b in zip(self.classes, following, strict=True)]
        return tuple(
            Prompt(
                _said(template, [_nth(p, chinese, at) for p in chosen], chinese), _union(chosen)
            )
            for chinese, templates in ((False, words.HELD_OUT), (True, words.HELD_OUT_CHINESE))
            for at, template in enumerate(templates)
            for chosen in sets
        )

    def _prompt(self, *chosen: Phrase) -> Prompt:
        chinese = random.random() < 0.35
        templates = words.CHINESE_TEMPLATES if chinese else words.TEMPLATES
        forms = [random.choice(phrase.of(chinese)) for phrase in chosen]
        text = _said(random.choice(templates), forms, chinese)
        return Prompt(self._among_others(text, chinese), _union(chosen))

    def _among_others(self, text: str, chinese: bool) -> str:
        before, after = (
            [self._filler(chinese) for _ in range(random.choice((0, 0, 1, 2, 4)))]
            for _ in range(2)
        )
        return ("" if chinese else " ").join([*before, text, *after])

    def _filler(self, chinese: bool) -> str:
        if not chinese and random.random() < 0.5:
            return self._invented()
        while True:
            word = (
                chr(random.randrange(0x4E00, 0x9FA6)) if chinese else random.choice(words.FILLER)
            )
            if word not in self._taken:
                return word

    def _invented(self) -> str:
        """A word that does not exist, most likely, and is none of ours."""
        while True:
            letters = random.choices("bcdfghjklmnprstvwz", k=4), random.choices("aeiou", k=4)
            syllables = "".join(chain.from_iterable(zip(*letters, strict=True)))
            word = syllables[: random.randint(2, 8)]
            if word not in self._taken:
                return word


def _groups(
    classes: tuple[str, ...], own: Mapping[str, Sequence[str]], spoken: frozenset[str]
) -> Iterator[Phrase]:
    named = {name.replace("_", " "): tuple(members) for name, members in own.items()}
    for name, members in ({**words.GROUP_CLASSES} | named).items():
        asked = frozenset(classes.index(member) for member in members if member in classes)
        same = set(members) == set(words.GROUP_CLASSES.get(name, ()))
        if asked and name not in spoken:
            yield Phrase(name, (name, *(words.GROUP_SYNONYMS[name] if same else ())), asked)


def _union(chosen: Sequence[Phrase]) -> frozenset[int]:
    return frozenset(chain.from_iterable(phrase.asked for phrase in chosen))


def _nth(phrase: Phrase, chinese: bool, at: int) -> str:
    forms = phrase.of(chinese)
    return forms[at % len(forms)]


def _said(template: str, forms: Sequence[str], chinese: bool) -> str:
    *first, last = forms
    comma, conjunction = ("、", "和") if chinese else (", ", " and ")
    return template.format(comma.join(first) + conjunction + last if first else last)


def asked_rows(prompts: Sequence[Prompt], classes: int) -> Tensor:
    """What prompts ask for, bool [B, C]."""
    return torch.tensor([[label in p.asked for label in range(classes)] for p in prompts])
