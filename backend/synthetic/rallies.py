"""Made tennis rallies with the statistics of F3Set's annotations (specs/mdfed.md, 6).

A clip is a rally: one serve, a return, strokes until one of the players fails or wins, which is
about as likely at each stroke. Players hit in turn. Directions follow from where the stroke is
played, with which hand, and to where, as they do in the real labels. The numbers are quantiles and
shares counted on the validation split of f3set-tennis (1,883 clips, 6,994 events).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from backend.core.errors import ConfigError

_SIDES, _KINDS, ZONES = ("near", "far"), ("serve", "return", "stroke"), ("deuce", "middle", "ad")
_HANDS, SHOTS = ("fh", "bh"), ("gs", "slice", "volley", "smash", "drop", "lob")
_DIRECTIONS = ("T", "B", "W", "CC", "DL", "DM", "II", "IO")
_OUTCOMES = ("in", "winner", "forced-err", "unforced-err")
ELEMENTS: Mapping[int, tuple[str, ...]] = {
    29: (*_SIDES, *ZONES, *_KINDS, *_HANDS, *SHOTS, *_DIRECTIONS, "approach", *_OUTCOMES),
    14: (*_SIDES, *_KINDS, *_HANDS, *SHOTS, "approach"),
}
"""Elements in bit order: all of F3Set's tennis, and those of f3set-tennis-sub."""
CLIPS_PER_MATCH = 8
IMAGE = (720, 1280)

Clip = dict[str, Any]
_Kind = Literal["serve", "return", "stroke"]
_SLOTS_OF_14 = (0, 2, 3, 4, 6)
_QUANTILES = (0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1)
_LEAD = (0, 4, 11, 23, 42, 50, 59, 88, 100)
_TAIL = (22, 37, 47, 65, 89, 117, 148, 196, 300)
_GAPS: Mapping[_Kind, Sequence[float]] = {  # raw frames until the opponent's next hit
    "serve": (13, 15, 17, 19, 21, 24, 28, 34, 60),
    "return": (19, 24, 27, 30, 36, 42, 49, 62, 100),
    "stroke": (13, 24, 28, 31, 34, 40, 46, 58, 100),
}
_GOES_ON: Mapping[_Kind, float] = {"serve": 0.704, "return": 0.739, "stroke": 0.741}
_LAST_SHOT: Mapping[_Kind, Mapping[str, float]] = {
    "serve": {"unforced-err": 0.604, "winner": 0.396},
    "return": {"forced-err": 0.749, "unforced-err": 0.147, "winner": 0.104},
    "stroke": {"unforced-err": 0.467, "winner": 0.337, "forced-err": 0.196},
}
_SHOT: Mapping[_Kind, Mapping[str, float]] = {
    "return": {"gs": 0.848, "slice": 0.146, "lob": 0.005, "drop": 0.001},
    "stroke": {"gs": 0.851, "slice": 0.095, "volley": 0.022, "lob": 0.0155, "drop": 0.0105,
               "smash": 0.006},
}  # fmt: skip
_APPROACH: Mapping[_Kind, float] = {"serve": 0.014, "return": 0.0075, "stroke": 0.033}
_TARGETS: Mapping[str, Mapping[str, float]] = {  # where the ball goes to, by where it is hit
    "deuce": {"deuce": 0.41, "middle": 0.43, "ad": 0.16},
    "middle": {"deuce": 0.28, "middle": 0.4, "ad": 0.32},
    "ad": {"deuce": 0.13, "middle": 0.35, "ad": 0.52},
}
_SERVES: Mapping[str, float] = {"W": 0.43, "T": 0.382, "B": 0.188}
_FOREHAND = {"natural": 0.91, "middle": 0.59, "other": 0.105}
_LEFT_HANDED = 0.14
_LONGEST = 29


def make_rallies(clips: int, seed: int, elements: int = 14, first_match: int = 1) -> list[Clip]:
    """Clips in F3Set's JSON form, with 14 or 29 elements.

    Every CLIPS_PER_MATCH clips are of one match: two players who change ends. ``first_match``
    numbers the first one, so that splits can be of different matches.
    Raises ConfigError for another number of elements.
    """
    if elements not in ELEMENTS:
        raise ConfigError(f"elements {elements}: rallies are made with 14 or 29 elements")
    made: list[Clip] = []
    for match in range(first_match, first_match + matches_of(clips)):
        rng = np.random.default_rng([seed, match])
        made += _match(f"match{match:03d}", min(CLIPS_PER_MATCH, clips - len(made)), rng, elements)
    return made


def matches_of(clips: int) -> int:
    """How many matches so many clips are taken from."""
    return -(-clips // CLIPS_PER_MATCH)


def element_groups(elements: int) -> list[dict[str, Any]]:
    """What an event has exactly one of, as ``groups.json`` has it (specs/mdfed.md, 3.5)."""
    always = [_SIDES, _KINDS]
    if elements == 29:
        always += [ZONES, _DIRECTIONS, _OUTCOMES]
    return [
        *({"one_of": list(members)} for members in always),
        *({"one_of": list(members), "unless": "serve"} for members in (_HANDS, SHOTS)),
    ]


@dataclass(frozen=True)
class _Hit:
    """A hit before it is known where the next player stands."""

    player: str
    zone: str
    kind: _Kind


def _match(name: str, clips: int, rng: np.random.Generator, elements: int) -> Iterator[Clip]:
    hands = ["LH" if left else "RH" for left in rng.random(2) < _LEFT_HANDED]
    fps = float(rng.choice([25.0, 29.0], p=[0.68, 0.32]))
    start = int(rng.integers(1000, 90000))
    for _ in range(clips):
        near, far = hands if rng.random() < 0.5 else hands[::-1]
        events = _rally(rng, {"near": near, "far": far}, elements)
        frames = int(events[-1]["frame"] + _drawn(_TAIL, rng))
        yield {
            "video": f"{name}_{start}_{start + frames}",
            "num_frames": frames,
            "fps": fps,
            "height": IMAGE[0],
            "width": IMAGE[1],
            "events": events,
            "near_hand": near,
            "far_hand": far,
        }
        start += frames + int(rng.integers(200, 2000))


def _rally(
    rng: np.random.Generator, hands: Mapping[str, str], elements: int
) -> list[dict[str, Any]]:
    frame = _drawn(_LEAD, rng)
    events: list[dict[str, Any]] = []
    player = "near" if rng.random() < 0.5 else "far"
    hit = _Hit(player, "deuce" if rng.random() < 0.5 else "ad", "serve")
    while True:
        goes_on = len(events) < _LONGEST - 1 and rng.random() < _GOES_ON[hit.kind]
        target = _one_of(_TARGETS[hit.zone], rng)
        if hit.kind == "serve":
            target = "middle" if rng.random() < _SERVES["T"] else hit.zone
        tokens = _tokens(hit, target, goes_on, hands[hit.player], rng)
        if elements == 14:
            tokens = [tokens[slot] for slot in _SLOTS_OF_14]
        events.append({"frame": int(frame), "label": "_".join(tokens)})
        if not goes_on:
            return events
        frame += _drawn(_GAPS[hit.kind], rng)
        other = "far" if hit.player == "near" else "near"
        hit = _Hit(other, target, "return" if hit.kind == "serve" else "stroke")


def _tokens(
    hit: _Hit, target: str, goes_on: bool, hand: str, rng: np.random.Generator
) -> list[str]:
    """Player, zone, kind, side, shot, direction, approach, outcome; ``-`` for none."""
    outcome = "in" if goes_on else _one_of(_LAST_SHOT[hit.kind], rng)
    approach = "approach" if rng.random() < _APPROACH[hit.kind] else "-"
    if hit.kind == "serve":
        side = shot = "-"
        wide = {name: share for name, share in _SERVES.items() if name != "T"}
        direction = "T" if target == "middle" else _one_of(wide, rng)
    else:
        shot = _one_of(_SHOT[hit.kind], rng)
        side = "fh" if shot == "smash" else _side(hit.zone, hand, rng)
        direction = _direction(hit.zone, side, hand, target)
    return [hit.player, hit.zone, hit.kind, side, shot, direction, approach, outcome]


def _forehand_zone(hand: str) -> str:
    return "deuce" if hand == "RH" else "ad"


def _side(zone: str, hand: str, rng: np.random.Generator) -> str:
    natural = "natural" if zone == _forehand_zone(hand) else "other"
    share = _FOREHAND["middle" if zone == "middle" else natural]
    return "fh" if rng.random() < share else "bh"


def _direction(zone: str, side: str, hand: str, target: str) -> str:
    """Down the middle, cross court, down the line, inside in or inside out."""
    if target == "middle":
        return "DM"
    natural = _forehand_zone(hand)
    if side == "bh":
        natural = "ad" if natural == "deuce" else "deuce"
    if zone == "middle":
        return "CC" if target == natural else "IO"
    if zone == natural:
        return "CC" if target == zone else "DL"
    return "IO" if target == zone else "II"


def _drawn(values: Sequence[float], rng: np.random.Generator) -> int:
    """A whole number from the distribution with these quantiles."""
    return round(float(np.interp(rng.random(), _QUANTILES, values)))


def _one_of(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))
