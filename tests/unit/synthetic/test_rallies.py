"""Made rallies: what an annotation promises, and the statistics of the real one."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from backend.core.errors import ConfigError
from backend.synthetic.rallies import (
    CLIPS_PER_MATCH,
    ELEMENTS,
    Clip,
    element_groups,
    make_rallies,
    matches_of,
)

REAL = Path(__file__).parents[4] / "shared" / "data" / "f3set-tennis"


def words(clip: Clip) -> list[list[str]]:
    return [str(event["label"]).split("_") for event in clip["events"]]


def frames(clip: Clip) -> list[int]:
    return [event["frame"] for event in clip["events"]]


@pytest.mark.parametrize("elements", [14, 29])
def test_a_rally_is_a_serve_and_players_who_hit_in_turn(elements: int) -> None:
    for clip in make_rallies(300, 3, elements):
        said = words(clip)
        kinds = [next(w for w in label if w in ("serve", "return", "stroke")) for label in said]
        assert kinds == ["serve", "return", *["stroke"] * len(said)][: len(said)]
        players = [label[0] for label in said]
        assert set(players) <= {"near", "far"}
        assert all(one != other for one, other in pairwise(players))
        at = frames(clip)
        assert at == sorted(set(at))
        assert 0 <= at[0] <= 100
        assert at[-1] < clip["num_frames"]


@pytest.mark.parametrize("elements", [14, 29])
def test_every_event_has_what_the_groups_ask_for(elements: int) -> None:
    groups, names = element_groups(elements), ELEMENTS[elements]
    assert len(set(names)) == elements
    grouped = [member for group in groups for member in group["one_of"]]
    assert sorted([*grouped, "approach"]) == sorted(names)
    for clip in make_rallies(200, 4, elements):
        for label in words(clip):
            assert set(label) <= {*names, "-"}
            for group in groups:
                found = [word for word in label if word in group["one_of"]]
                assert len(found) == (group.get("unless") not in label), (label, group)


def test_fourteen_elements_are_the_same_rallies_as_twenty_nine() -> None:
    many, few = make_rallies(30, 5, 29), make_rallies(30, 5, 14)
    for one, other in zip(many, few, strict=True):
        assert frames(one) == frames(other)
        for long, short in zip(words(one), words(other), strict=True):
            assert [word for word in long if word in (*ELEMENTS[14], "-")][:1] == short[:1]
            assert set(short) - {"-"} == set(long) & set(ELEMENTS[14])


def test_the_same_seed_gives_the_same_rallies_and_another_one_others() -> None:
    assert make_rallies(20, 1) == make_rallies(20, 1)
    assert make_rallies(20, 1)[:10] == make_rallies(10, 1), (
        "a clip does not depend on their number"
    )
    assert make_rallies(20, 1) != make_rallies(20, 2)


def test_a_match_is_two_players_who_keep_their_hands() -> None:
    clips = make_rallies(200, 6)
    assert len({clip["video"] for clip in clips}) == 200
    matches: dict[str, list[Clip]] = {}
    for clip in clips:
        matches.setdefault(clip["video"].partition("_")[0], []).append(clip)
    assert len(matches) == matches_of(200)
    for own in matches.values():
        assert len(own) == CLIPS_PER_MATCH
        assert len({frozenset((clip["near_hand"], clip["far_hand"])) for clip in own}) == 1


def test_splits_can_be_of_different_matches() -> None:
    early = {clip["video"].partition("_")[0] for clip in make_rallies(12, 0)}
    late = {
        clip["video"].partition("_")[0]
        for clip in make_rallies(12, 0, first_match=1 + matches_of(12))
    }
    assert len(early) == len(late) == 2
    assert not early & late


def test_another_number_of_elements_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="elements 20: rallies are made with 14 or 29"):
        make_rallies(1, 0, 20)


def real_clips() -> list[Clip]:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: real annotations are not part of the project")
    clips: list[Clip] = json.loads((REAL / "val.json").read_text(encoding="utf-8"))
    return clips


def shares(clips: Sequence[Clip]) -> dict[str, float]:
    """Of the events, how many have a word."""
    events = [label for clip in clips for label in words(clip)]
    counts = Counter(word for label in events for word in set(label))
    return {word: count / len(events) for word, count in counts.items()}


def spread(values: Sequence[float]) -> list[float]:
    return [float(value) for value in np.percentile(values, (10, 25, 50, 75, 90))]


def test_statistics_are_those_of_the_real_annotations() -> None:
    real, made = real_clips(), make_rallies(2000, 0, 29)
    assert (REAL / "elements.txt").read_text(encoding="utf-8").split() == list(ELEMENTS[29])
    of_real, of_made = shares(real), shares(made)
    assert set(of_real) == set(of_made)
    for word, share in of_real.items():
        assert of_made[word] == pytest.approx(share, abs=0.04, rel=0), word
        assert share / 2.5 < of_made[word] < share * 2.5, word
    measures: tuple[Callable[[Clip], Sequence[float]], ...] = (
        lambda clip: [len(clip["events"])],
        lambda clip: [clip["num_frames"]],
        lambda clip: [frames(clip)[0]],
        lambda clip: np.diff(frames(clip)).tolist(),
    )
    for measure in measures:
        wanted, found = (
            spread([value for clip in clips for value in measure(clip)]) for clips in (real, made)
        )
        assert found == pytest.approx(wanted, rel=0.12, abs=1.5)


def test_grammar_hands_and_the_long_tail_are_those_of_the_real_annotations() -> None:
    real, made = real_clips(), make_rallies(2000, 0, 29)
    grammars = [
        {tuple(word == "-" for word in label) for clip in clips for label in words(clip)}
        for clips in (real, made)
    ]
    assert grammars[0] == grammars[1]
    assert len(grammars[0]) == 4
    left = [np.mean([clip["near_hand"] == "LH" for clip in clips]) for clips in (real, made)]
    assert left[1] == pytest.approx(left[0], abs=0.04)
    types = [
        Counter(event["label"] for c in clips for event in c["events"]) for clips in (real, made)
    ]
    assert len(types[1]) == pytest.approx(len(types[0]), rel=0.25)
    rare = [sum(count == 1 for count in counts.values()) for counts in types]
    assert rare[1] == pytest.approx(rare[0], rel=0.4)
    assert min(gap for clip in made for gap in np.diff(frames(clip))) == 13


def test_directions_follow_the_rule_of_the_real_labels() -> None:
    """Where it is played, with which hand and to where decide what a stroke is called."""

    def rule(clips: Sequence[Clip]) -> dict[tuple[str, ...], set[str]]:
        found: dict[tuple[str, ...], set[str]] = {}
        for clip in clips:
            hands = {"near": clip["near_hand"], "far": clip["far_hand"]}
            said = words(clip)
            for label, after in pairwise(said):
                if label[2] != "serve":
                    key = (hands[label[0]], label[1], label[3], after[1])
                    found.setdefault(key, set()).add(label[5])
        return found

    real, made = rule(real_clips()), rule(make_rallies(2000, 0, 29))
    for key, directions in made.items():
        if key in real:
            assert directions == real[key], key
    assert len(set(made) & set(real)) > 25
