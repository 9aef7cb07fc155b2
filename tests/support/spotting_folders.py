"""Small event spotting datasets in F3Set's layout, with skeletons of standing people."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ELEMENTS = ("near", "far", "serve", "return", "gs")
REAL = Path("../shared/data")

Entry = dict[str, Any]


def clip(name: str, frames: int = 100, *events: tuple[int, str], **about: Any) -> Entry:
    """An annotated clip."""
    told = [{"frame": frame, "label": label} for frame, label in events]
    return {"video": name, "num_frames": frames, "fps": 25, "events": told} | about


def write_folder(
    folder: Path, splits: Mapping[str, object], elements: Sequence[str] = ELEMENTS
) -> Path:
    """``<split>.json`` of each split, and ``elements.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "elements.txt").write_text("\n".join(elements) + "\n")
    for split, content in splits.items():
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


def standing(frames: int = 100, seed: int = 0, **other: Any) -> Entry:
    """A skeleton file's content: far and near person, 75 and 190 pixels tall, who sway."""
    rng = np.random.default_rng(seed)
    rows = np.array([0, 0, 0, 0, 0, 0.2, 0.2, 0.4, 0.4, 0.5, 0.5, 0.5, 0.5, 0.75, 0.75, 1, 1])
    sides = np.array([0, -1, 1, -1, 1, -2, 2, -3, 3, -3, 3, -1, 1, -1, 1, -1, 1]) * 0.05
    body = np.stack([sides, rows - 0.5], axis=-1)
    size, root = np.array([75.0, 190.0]), np.array([[600.0, 200.0], [660.0, 500.0]])
    keypoint = root[:, None, None] + size[:, None, None, None] * body
    keypoint = keypoint + rng.normal(0, 1, (2, frames, 1, 2)).cumsum(axis=1)
    keypoint = keypoint + rng.normal(0, 0.5, (2, frames, 17, 2))
    return {
        "frame_dir": "clip",
        "total_frames": frames,
        "img_shape": (720, 1280),
        "keypoint": keypoint.astype(np.float32),
        "keypoint_score": rng.uniform(0.5, 1, (2, frames, 17)).astype(np.float32),
    } | other


def write_skeleton(path: Path, content: object, protocol: int = 4) -> Path:
    """A pickle as pose extractors write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_standing(folder: Path, clips: Sequence[Entry]) -> Path:
    """A skeleton file of each clip in ``folder/skeletons``."""
    for number, entry in enumerate(clips):
        path = folder / "skeletons" / f"{entry['video']}.pkl"
        write_skeleton(path, standing(entry["num_frames"], number))
    return folder
