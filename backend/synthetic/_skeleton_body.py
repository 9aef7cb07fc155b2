"""A player's body over time: COCO's 17 joints, standing, running and hitting.

The body is a right-hander's seen from behind, in body heights: x to the right of the middle
between the feet, y up from the ground. The racket hand is drawn back, passes the ball and comes
back to where it waits; elbows and knees follow from hands, shoulders, hips and feet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from backend.synthetic._skeleton_court import Hit

Floats = NDArray[np.float64]
_Pose = tuple[float, float]

JOINTS = 17
FLIPPED = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""The joint of the other side, for each joint."""
_SHOULDER, _ELBOW, _WRIST, _HIP, _KNEE, _ANKLE = 5, 7, 9, 11, 13, 15  # left; right is the next
_SIDES = ((0, -1), (1, 1))  # left and right: the joint's offset, the sign of x

_BACK_SWING, _PASSAGE, _RECOVERY = -0.55, 0.035, 0.2  # seconds from contact
_SHORT_BACK_SWING = -0.3
_TOSS = -0.45
_SPLIT_STEP = 0.08
_CROUCH = 0.06  # of whoever does not serve
_UPPER_ARM, _REACH = 0.19, 0.37
_WAITING: Mapping[str, _Pose] = {"racket": (0.07, 0.55), "other": (-0.05, 0.56)}
_SECOND_HAND = np.array((0.02, 0.03))  # from the racket hand of a two-handed backhand
_BALANCE_HIGH, _BALANCE_LOW = np.array((-0.23, 0.22)), np.array((0.02, -0.12))
_TOSSED: _Pose = (-0.12, 1.15)
_SWINGS: Mapping[str, tuple[_Pose, _Pose, _Pose]] = {
    "gs": ((0.44, 0.42), (0.38, 0.55), (-0.16, 0.88)),
    "slice": ((0.36, 0.88), (0.38, 0.58), (0.02, 0.36)),
    "volley": ((0.32, 0.76), (0.36, 0.68), (0.26, 0.58)),
    "lob": ((0.38, 0.32), (0.36, 0.50), (0.14, 1.10)),
    "drop": ((0.34, 0.76), (0.36, 0.58), (0.26, 0.46)),
    "smash": ((0.26, 0.96), (0.14, 1.20), (-0.14, 0.45)),
}
"""The racket hand of a forehand: drawn back, at contact, at the end."""


@dataclass(frozen=True)
class Motion:
    """What a body does: its contacts and the times of the opponent's, and ``speed`` (T,) over the
    ground in body heights per second. ``amplitude`` scales the strokes."""

    hits: Sequence[Hit]
    opposed: Sequence[float]
    speed: Floats
    amplitude: float
    two_handed: bool


@dataclass(frozen=True)
class _Stroke:
    """A hit over time: ``weight`` (T,) rises with the back-swing and falls with the recovery,
    ``passed`` (T,) from 0 to 1 at contact, ``hand`` (T, 2) is the racket hand's path."""

    hit: Hit
    weight: Floats
    passed: Floats
    hand: Floats

    @property
    def turn(self) -> Floats:
        """Of the shoulders, from 1 to -0.5; positive to the racket's side."""
        side = -1 if self.hit.side == "bh" else 1
        return self.weight * (1 - 1.5 * self.passed) * side


def body(motion: Motion, times: Floats, rng: np.random.Generator) -> Floats:
    """Joints (T, 17, 2) at ``times``, in seconds."""
    strokes = [_stroke(hit, motion.amplitude, times, rng) for hit in motion.hits]
    split = _sum([_bump(times, at + _SPLIT_STEP, 0.06) for at in motion.opposed], times)
    turn = _sum([stroke.turn for stroke in strokes], times)
    joints = np.zeros((len(times), JOINTS, 2))
    _set_legs(joints, times, motion.speed, split, rng)
    _set_trunk(joints, turn)
    racket, other = _hands(strokes, motion, times)
    _set_arm(joints, 1, racket)
    _set_arm(joints, 0, other)
    overhead = [_bump(times, s.hit.time, 0.09) for s in strokes if s.hit.overhead]
    upright = [_bump(times, s.hit.time + _TOSS, 0.5) for s in strokes if s.hit.kind == "serve"]
    joints[:, :_KNEE, 1] -= (_CROUCH * (1 - _sum(upright, times)))[:, None]
    joints[..., 1] += (0.03 * split + 0.08 * _sum(overhead, times))[:, None]
    return joints


def _stroke(hit: Hit, amplitude: float, times: Floats, rng: np.random.Generator) -> _Stroke:
    swing = _SWINGS["smash" if hit.overhead else hit.shot] + rng.normal(0, 0.02, (3, 2))
    if hit.side == "bh":
        swing = swing * (-1, 1)
    waiting = np.array(_WAITING["racket"])
    back, contact, end = waiting + amplitude * (swing - waiting)
    since = times - hit.time
    start = _SHORT_BACK_SWING if hit.shot == "volley" else _BACK_SWING
    weight = expit((since - start) / 0.07) * expit((_RECOVERY - since) / 0.06)
    passed = expit(since / _PASSAGE)
    p = passed[:, None]
    hand = back + p * (end - back) + 4 * p * (1 - p) * (contact - (back + end) / 2)
    return _Stroke(hit, weight, passed, hand)


def _hands(strokes: Sequence[_Stroke], motion: Motion, times: Floats) -> tuple[Floats, Floats]:
    """The racket hand and the other one: waiting, except where a stroke leads them."""
    waiting = np.array(_WAITING["racket"]), np.array(_WAITING["other"])
    racket, other = (np.broadcast_to(pose, (len(times), 2)) for pose in waiting)
    for stroke in strokes:
        weight = stroke.weight[:, None]
        racket = racket + weight * (stroke.hand - waiting[0])
        if stroke.hit.kind == "serve":
            toss = _bump(times, stroke.hit.time + _TOSS, 0.2)[:, None]
            other = other + motion.amplitude * toss * (np.array(_TOSSED) - waiting[1])
        else:
            other = other + weight * (_other_hand(stroke, motion) - waiting[1])
    return racket, other


def _other_hand(stroke: _Stroke, motion: Motion) -> Floats:
    """On the racket, or out for balance: high in a forehand, low in a backhand of one hand."""
    if stroke.hit.side == "bh" and motion.two_handed and stroke.hit.shot in ("gs", "lob"):
        second: Floats = stroke.hand + _SECOND_HAND
        return second
    out = _BALANCE_LOW if stroke.hit.side == "bh" else _BALANCE_HIGH
    balanced: Floats = np.array(_WAITING["other"]) + motion.amplitude * out
    return balanced


def _set_legs(
    joints: Floats, times: Floats, speed: Floats, split: Floats, rng: np.random.Generator
) -> None:
    """Feet apart, in steps whose pace and length follow the speed; the split step widens them."""
    step = np.diff(times, prepend=times[:1])
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.cumsum((0.8 + 0.7 * speed) * step)
    stride = 0.1 * np.clip(speed / 1.5, 0, 1)
    for offset, sign in _SIDES:
        swing = phase + np.pi * offset
        ankle, hip = joints[:, _ANKLE + offset], joints[:, _HIP + offset]
        ankle[:, 0] = sign * (0.12 + 0.04 * split) + stride * np.sin(swing)
        ankle[:, 1] = 0.04 + 0.6 * stride * np.clip(np.cos(swing), 0, None)
        hip[:] = (sign * 0.08, 0.5)
        joints[:, _KNEE + offset] = (ankle + hip) / 2 + (sign * 0.02, 0.01)


def _set_trunk(joints: Floats, turn: Floats) -> None:
    """Shoulders seem narrower as they turn; the head stays towards the ball."""
    width = 0.12 * (1 - 0.45 * np.abs(turn))
    for offset, sign in _SIDES:
        joints[:, _SHOULDER + offset, 0] = sign * width + 0.08 * turn
        joints[:, _SHOULDER + offset, 1] = 0.8 - sign * 0.03 * turn
    head = np.array([(0, 0.91), (-0.02, 0.93), (0.02, 0.93), (-0.045, 0.92), (0.045, 0.92)])
    joints[:, :5] = head
    joints[:, :5, 0] += 0.04 * turn[:, None]


def _set_arm(joints: Floats, offset: int, hand: Floats) -> None:
    """The hand no further than the arm reaches, the elbow below the line to it."""
    shoulder = joints[:, _SHOULDER + offset]
    away = hand - shoulder
    length = np.linalg.norm(away, axis=-1, keepdims=True)
    away = away * np.minimum(1, _REACH / np.maximum(length, 1e-6))
    half = np.linalg.norm(away, axis=-1, keepdims=True) / 2
    bend = np.sqrt(np.clip(_UPPER_ARM**2 - half**2, 0, None))
    across = np.stack([-away[:, 1], away[:, 0]], axis=-1) / np.maximum(2 * half, 1e-6)
    down = np.where(across[:, 1:] > 0, -across, across)
    joints[:, _WRIST + offset] = shoulder + away
    joints[:, _ELBOW + offset] = shoulder + away / 2 + bend * down


def _sum(parts: Sequence[Floats], times: Floats) -> Floats:
    return np.sum(parts, axis=0) if parts else np.zeros(len(times))


def _bump(times: Floats, at: float, width: float) -> Floats:
    """A bell of height 1."""
    bell: Floats = np.exp(-0.5 * ((times - at) / width) ** 2)
    return bell
