"""Two detectors of actions in three videos, with known matches, as evaluations leave them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.analysis.comparison import ComparisonSettings, compare
from backend.config.schema import Section
from backend.core.comparisons import Comparison, Contender
from backend.core.records import EvalReport
from backend.scoring.files import evaluate_files
from backend.scoring.temporal.task import TASK, TemporalOptions
from tests.support import videos_made
from tests.support.detections import contender

Rows = Sequence[tuple[Any, ...]]
TRUTH: Mapping[str, Rows] = {
    "dive": [("jump", 1.0, 3.0), ("jump", 5.0, 7.0), ("run", 10.0, 14.0), ("run", 10.5, 12.0)],
    "track": [("run", 2.0, 4.0)],
    "empty": [],
}
OLD: Mapping[str, Rows] = {
    "dive": [("jump", 1.0, 3.0, 0.9), ("jump", 5.0, 6.2, 0.8), ("run", 10.0, 14.0, 0.7),
             ("jump", 16.0, 18.0, 0.6)],
    "track": [],
    "empty": [("run", 1.0, 2.0, 0.5)],
}  # fmt: skip
NEW: Mapping[str, Rows] = {
    "dive": [("jump", 1.0, 3.0, 0.9), ("jump", 5.0, 7.0, 0.85), ("run", 10.6, 12.0, 0.8)],
    "track": [("run", 2.0, 4.0, 0.2)],
    "empty": [],
}


def write_evaluation(folder: Path, found: Mapping[str, Rows]) -> Path:
    """``ground_truth.json``, ``predictions.json`` and ``videos.json``; "dive" has a file."""
    folder.mkdir(parents=True, exist_ok=True)
    videos = folder.parent / "films"
    if not videos.exists():
        videos.mkdir()
        videos_made.write(videos / "dive.mp4", 60, codec="mpeg4")
    database = {
        name: {"subset": "test", "duration": 20.0,
               "annotations": [{"label": label, "segment": [s, e]} for label, s, e in rows]}
        for name, rows in TRUTH.items()
    }  # fmt: skip
    results = {
        name: [{"label": label, "segment": [s, e], "score": score} for label, s, e, score in rows]
        for name, rows in found.items()
    }
    listed = {name: {"path": f"{name}.mp4", "fps": 30.0, "duration": 20.0, "size": [64, 64]}
              for name in TRUTH}  # fmt: skip
    files = {
        "ground_truth.json": {"database": database},
        "predictions.json": {"results": results},
        "videos.json": {"root": str(videos), "subset": "test", "classes": ["jump", "run"],
                        "videos": listed},
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def evaluated(folder: Path, found: Mapping[str, Rows]) -> EvalReport:
    """The report of such an evaluation, with its evidence."""
    write_evaluation(folder, found)
    options: Section = TemporalOptions()
    truth, predictions = folder / "ground_truth.json", folder / "predictions.json"
    return evaluate_files(TASK, truth, predictions, options, folder)


def action_comparison(
    root: Path,
    key: str = "acted",
    sides: tuple[Contender, Contender] | None = None,
) -> Comparison:
    """Both detectors compared; ``sides`` are their names and checkpoints."""
    return compare(
        key=key,
        created=0.0,
        contenders=sides or (contender("before"), contender("after")),
        target=(evaluated(root / "old", OLD), evaluated(root / "new", NEW)),
        settings=ComparisonSettings(replicates=100),
    )
