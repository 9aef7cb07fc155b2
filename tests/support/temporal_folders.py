"""Folders of temporal action data: ActivityNet's JSON and small real videos."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import videos_made

Actions = Sequence[tuple[str, float, float]]
RUNS: Actions = [("run", 0.1 * at, 0.1 * at + 0.4) for at in range(10)]


def entry(
    subset: str, actions: Actions, duration: float = 2.0, fps: float = 30.0
) -> dict[str, object]:
    """A video as the JSON has it."""
    return {
        "subset": subset,
        "duration": duration,
        "fps": fps,
        "frame": round(duration * fps),
        "annotations": [{"label": what, "segment": [start, end]} for what, start, end in actions],
    }


def write(folder: Path, database: Mapping[str, object], videos: Mapping[str, int]) -> Path:
    """``annotations.json``, and a video of so many frames (30 per second) under each name."""
    (folder / "videos").mkdir(parents=True)
    (folder / "annotations.json").write_text(json.dumps({"database": database}), encoding="utf-8")
    for name, frames in videos.items():
        videos_made.write(folder / f"videos/{name}.mp4", frames, codec="mpeg4")
    return folder


def clean(folder: Path) -> Path:
    """Two videos of two seconds to train on, one of three to validate; nothing is wrong."""
    jump, run = [("jump", 0.1 * at, 0.1 * at + 0.5) for at in range(10)], ("run", 1.0, 1.5)
    database = {
        "a": entry("training", jump),
        "b": entry("training", RUNS),
        "c": entry("validation", [("jump", 0.5, 2.5), run], 3.0),
    }
    return write(folder, database, {"a": 60, "b": 60, "c": 90})
