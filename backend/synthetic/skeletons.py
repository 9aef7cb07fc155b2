"""Made skeletons of tennis players who play what an annotation says, in F3Set's pickle layout.

Two persons per clip, far and near, whose feet go from hit to hit and whose hands swing at each
event as its elements tell (specs/mdfed.md, 10). What the elements do not tell (the zone with 14 of
them, the style of a backhand) is drawn. A clip depends on the seed and its own name only.

These bodies are easier to read than real ones: a score on them says nothing about F3Set's.
"""

import pickle
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.errors import ConfigError
from backend.synthetic._once import write_json, write_once
from backend.synthetic._skeleton_body import FLIPPED, JOINTS, Motion, body
from backend.synthetic._skeleton_court import FAR, IMAGE, NEAR, Floats, Hit, walk
from backend.synthetic.rallies import (
    ELEMENTS,
    SHOTS,
    ZONES,
    Clip,
    element_groups,
    make_rallies,
    matches_of,
)

VERSION = 1  # rises when the same seed gives other files
PERSONS: Mapping[str, int] = {"far": FAR, "near": NEAR}
TWO_HANDED = 0.8  # of the players' backhands
JITTER = 0.012  # of the body's height, per coordinate
OUTLIERS, OUTLIER_SCORE, OUTLIER_REACH = 0.02, 0.1, 0.25
DROPPED = 0.01  # of the frames, for each person
HARDEST = 10.0
FPS = 25.0  # of a clip that does not tell


def make_skeleton(
    clip: Mapping[str, Any], seed: int = 0, difficulty: float = 1.0
) -> dict[str, Any]:
    """The skeleton file of a clip of an annotation, as ``pickle`` is to write it.

    ``keypoint`` is float32 (2, T, 17, 2), ``keypoint_score`` float32 (2, T, 17). ``difficulty``
    multiplies jitter, wrong joints and dropped frames, and above 1 makes the strokes smaller; 0 is
    without noise.
    """
    rng = np.random.default_rng([seed, zlib.crc32(str(clip["video"]).encode()), VERSION])
    times = np.arange(int(clip["num_frames"])) / float(clip.get("fps") or FPS)
    image = (int(clip.get("height") or IMAGE[0]), int(clip.get("width") or IMAGE[1]))
    hits = _hits(clip, rng)
    keypoint = np.zeros((2, len(times), JOINTS, 2))
    score = rng.uniform(0.7, 0.98, (2, len(times), JOINTS))
    for person in (FAR, NEAR):
        ground = walk(person, hits[person], times, rng)
        motion = Motion(
            hits=hits[person],
            opposed=[hit.time for hit in hits[1 - person]],
            speed=ground.speed,
            amplitude=1 / max(1.0, difficulty) ** 0.5,
            two_handed=bool(rng.random() < TWO_HANDED),
        )
        height = ground.height[:, None, None]
        joints = _turned(body(motion, times, rng), person, clip)
        keypoint[person] = ground.pixels[:, None] + height * joints
        _disturb(keypoint[person], score[person], height, difficulty, rng)
    keypoint *= (image[1] / IMAGE[1], image[0] / IMAGE[0])
    return {
        "frame_dir": str(clip["video"]),
        "total_frames": len(times),
        "img_shape": image,
        "keypoint": keypoint.astype(np.float32),
        "keypoint_score": score.astype(np.float32),
    }


def write_skeletons(
    folder: Path, clips: Sequence[Mapping[str, Any]], seed: int = 0, difficulty: float = 1.0
) -> None:
    """``<video>.pkl`` of each clip in ``folder``. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        skeleton = make_skeleton(clip, seed, difficulty)
        (folder / f"{clip['video']}.pkl").write_bytes(pickle.dumps(skeleton, protocol=4))


def write_spotting(  # noqa: PLR0913 (a number of clips for each split)
    folder: Path,
    *,
    train: int = 160,
    val: int = 40,
    holdout: int = 40,
    seed: int = 0,
    difficulty: float = 1.0,
    elements: int = 14,
) -> Path:
    """A whole dataset in ``folder``, made unless it is there already; returns the folder.

    ``<split>.json``, ``elements.txt``, ``groups.json`` and ``skeletons/<video>.pkl``; no match is
    in two splits. The folder appears whole or not at all.

    Raises:
        ConfigError: an empty split, another number of elements, or a negative difficulty.
        DataError: ``folder`` holds something else or cannot be written.
    """
    counts = {"train": train, "val": val, "holdout": holdout}
    if min(counts.values()) < 1:
        raise ConfigError(f"clips {counts}: every split needs at least one")
    if not 0 <= difficulty <= HARDEST:
        raise ConfigError(f"difficulty {difficulty:g}: must be from 0 to {HARDEST:g}")
    stamp = {"generator": "backend.synthetic.skeletons", "version": VERSION, "seed": seed,
             "clips": counts, "difficulty": difficulty, "elements": elements}  # fmt: skip

    def write(making: Path) -> None:
        splits = _splits(counts, seed, elements)
        _write(making, splits, elements)
        for clips in splits.values():
            write_skeletons(making / "skeletons", clips, seed, difficulty)

    write_once(folder, stamp, "tennis", write, drawn="seed, size or difficulty")
    return folder


def _splits(counts: Mapping[str, int], seed: int, elements: int) -> dict[str, list[Clip]]:
    made, match = {}, 1
    for split, clips in counts.items():
        made[split] = make_rallies(clips, seed, elements, first_match=match)
        match += matches_of(clips)
    return made


def _write(folder: Path, splits: Mapping[str, list[Clip]], elements: int) -> None:
    for split, clips in splits.items():
        write_json(folder / f"{split}.json", clips)
    names = "".join(f"{name}\n" for name in ELEMENTS[elements])
    (folder / "elements.txt").write_text(names, encoding="utf-8")
    write_json(folder / "groups.json", element_groups(elements))


def _hits(clip: Mapping[str, Any], rng: np.random.Generator) -> tuple[list[Hit], list[Hit]]:
    """The hits of the far and of the near player; events of nobody are left out."""
    hits: tuple[list[Hit], list[Hit]] = ([], [])
    for event in clip["events"]:
        words = str(event["label"]).split("_")
        for name, person in PERSONS.items():
            if name in words:
                time = event["frame"] / float(clip.get("fps") or FPS)
                hits[person].append(_hit(words, time, rng))
    for own in hits:
        own.sort(key=lambda hit: hit.time)
    return hits


def _hit(words: Sequence[str], time: float, rng: np.random.Generator) -> Hit:
    def told(choices: Sequence[str], otherwise: str) -> str:
        return next((word for word in words if word in choices), otherwise)

    anywhere = str(rng.choice(ZONES))
    return Hit(
        time=time,
        zone=told(ZONES, anywhere),
        kind=told(("serve", "return", "stroke"), "stroke"),
        side=told(("fh", "bh"), "fh"),
        shot=told(SHOTS, "gs"),
        approach="approach" in words,
    )


def _turned(joints: Floats, person: int, clip: Mapping[str, Any]) -> Floats:
    """A right-hander's body seen from behind as the one that is seen, in the image's rows."""
    joints = joints * (1, -1)
    if clip.get("near_hand" if person == NEAR else "far_hand") == "LH":
        joints = joints[:, FLIPPED] * (-1, 1)
    return joints * (-1, 1) if person == FAR else joints  # who faces the camera


def _disturb(
    keypoint: Floats, score: Floats, height: Floats, difficulty: float, rng: np.random.Generator
) -> None:
    """Jitter, wrong joints that the detector doubts, and frames in which nobody was found."""
    keypoint += height * rng.normal(0, JITTER * difficulty, keypoint.shape)
    wrong = rng.random(score.shape) < OUTLIERS * difficulty
    keypoint[wrong] += (height * rng.normal(0, OUTLIER_REACH, keypoint.shape))[wrong]
    score[wrong] = OUTLIER_SCORE
    lost = rng.random(len(score)) < DROPPED * difficulty
    keypoint[lost], score[lost] = 0, 0
