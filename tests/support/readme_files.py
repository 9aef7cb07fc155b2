"""The files that the README's examples name, small and made."""

import json
from pathlib import Path

from tests.support.detections import detector, ground_truth
from tests.support.event_files import scalar, write_events
from tests.support.foreign_runs import (
    LOSS_TABLE,
    VALIDATION_TABLE,
    mmengine_run,
    ultralytics_run,
)
from tests.support.segments import dataset
from tests.support.tracks import made_sequence, write_sequence

ELEMENTS = ("near", "far", "serve", "return")


def write_foreign_files(folder: Path) -> None:
    """Ground truth, predictions and work directories of others below ``folder``."""
    truth = ground_truth(images=24, classes=2, seed=1)
    _json(folder / "coco.json", truth)
    _json(folder / "boxes.json", detector(truth, seed=2, found=0.8, jitter=0.1))
    for number in range(2):
        gt, pred = write_sequence(folder / "made", f"seq-{number}", *made_sequence(number))
    gt.rename(folder / "MOT17-train")
    (folder / "MOT17").mkdir()
    (folder / "MOT17-train").rename(folder / "MOT17" / "train")
    pred.rename(folder / "tracks")
    segments, found = dataset(videos=24, classes=2, seed=3)
    _json(folder / "thumos14.json", segments)
    _json(folder / "old.json", dataset(videos=24, classes=2, seed=4)[1])
    _json(folder / "new.json", found)
    _json(folder / "val.json", [_clip(number) for number in range(6)])
    (folder / "elements.txt").write_text("\n".join(ELEMENTS) + "\n")
    events = {f"clip {n}": [{"frame": 5, "elements": ["near", "serve"]}] for n in range(6)}
    _json(folder / "events.json", events)
    ultralytics_run(folder / "runs" / "detect" / "train", epochs=3)
    mmengine_run(folder / "work_dirs" / "rtmdet", epochs=3)
    points = [scalar("train/loss", step, 1 / step, 1.0 + step) for step in (1, 2, 3)]
    write_events(folder / "logs" / "events.out.tfevents.1", points)
    rows = dict(line.split(",") for line in VALIDATION_TABLE.splitlines())
    lines = LOSS_TABLE.splitlines()
    table = [f"{line},{rows.get(line.split(',')[0], '')}" for line in lines]
    (folder / "epochs.csv").write_text("\n".join(table) + "\n")
    losses = [{"epoch": n, "train_loss": 1 / n, "val_f1": 0.1 * n} for n in range(1, 4)]
    _json(folder / "loss.json", losses)


def _clip(number: int) -> dict[str, object]:
    events = [{"frame": 10, "label": "near_serve"}, {"frame": 40, "label": "far_return"}]
    return {"video": f"clip {number}", "fps": 25.0, "num_frames": 80, "events": events}


def _json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data))
