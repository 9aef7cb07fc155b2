"""Made sequences with a made tracker, and trackeval used by its manual."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from trackeval.datasets._base_dataset import _BaseDataset
from trackeval.metrics import CLEAR, HOTA, Identity

Rows = NDArray[np.float64]
"""frame, id, x, y, w, h, score or mark, class."""


def made_sequence(
    seed: int, frames: int = 12, objects: int = 4, classes: Sequence[int] = (1,)
) -> tuple[Rows, Rows]:
    """Ground truth and predictions: objects on straight lines; jitter, gaps, false positives,
    changed identities and, for several classes, changed classes."""
    chance = np.random.default_rng(seed)
    truth, found = [], []
    start, speed = chance.uniform(0, 300, (objects, 2)), chance.uniform(-4, 4, (objects, 2))
    labels = chance.choice(classes, objects)
    ids = np.arange(objects) + 10
    for frame in range(1, frames + 1):
        for number in range(objects):
            box = np.array([*(start[number] + speed[number] * frame), 40, 60])
            if chance.random() < 0.9:
                truth.append([frame, number + 1, *box, 1, labels[number]])
            if chance.random() < 0.05:
                ids[number] = ids.max() + 1
            label = chance.choice(classes) if chance.random() < 0.1 else labels[number]
            if chance.random() < 0.85:
                found.append([frame, ids[number], *(box + chance.normal(0, 4, 4)), 0.9, label])
        if chance.random() < 0.3:
            box = [*chance.uniform(0, 300, 2), 40, 60]
            found.append([frame, 1000 + frame, *box, 0.5, chance.choice(classes)])
    return np.array(truth).reshape(-1, 8), np.array(found).reshape(-1, 8)


def write_sequence(
    root: Path, name: str, truth: Rows, found: Rows, length: int | None = 12
) -> tuple[Path, Path]:
    """MOT files below ``root``; the folders of ground truth and predictions."""
    gt, pred = root / "gt", root / "pred"
    (gt / name / "gt").mkdir(parents=True)
    pred.mkdir(exist_ok=True)
    np.savetxt(gt / name / "gt" / "gt.txt", truth, delimiter=",", fmt="%.17g")
    np.savetxt(pred / f"{name}.txt", found, delimiter=",", fmt="%.17g")
    if length is not None:
        (gt / name / "seqinfo.ini").write_text(f"[Sequence]\nname={name}\nseqLength={length}\n")
    return gt, pred


class Judge:
    """trackeval's three metric classes on rows in memory, and its own combination of results."""

    def __init__(self, threshold: float = 0.5) -> None:
        settings = {"THRESHOLD": threshold, "PRINT_CONFIG": False}
        self.metrics = (HOTA(), CLEAR(dict(settings)), Identity(dict(settings)))

    def result(self, truth: Rows, found: Rows, length: int = 12) -> dict[str, Any]:
        return self.evaluated(self.data(truth, found, length))

    def evaluated(self, data: dict[str, Any]) -> dict[str, Any]:
        results = {type(metric).__name__: metric.eval_sequence(data) for metric in self.metrics}
        counts = {name: data[name] for name in data if name.startswith("num_")}
        return results | {"counts": counts}

    def combined(self, results: Iterable[dict[str, Any]]) -> dict[str, float]:
        """Of any multiset of sequences, under the names that we use."""
        parts = {str(number): result for number, result in enumerate(results)}
        merged = {
            type(metric).__name__: metric.combine_sequences(
                {key: part[type(metric).__name__] for key, part in parts.items()}
            )
            for metric in self.metrics
        }
        counts = {
            name: sum(part["counts"][name] for part in parts.values())
            for name in next(iter(parts.values()))["counts"]
        }
        return self.named(merged | {"counts": counts})

    def named(self, result: dict[str, Any]) -> dict[str, float]:
        hota, clear, identity = (result[name] for name in ("HOTA", "CLEAR", "Identity"))
        curves = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA")
        counts = result["counts"]
        return {
            **{name: float(np.mean(hota[name])) for name in curves},
            "HOTA_0": float(hota["HOTA(0)"]),
            **{n: float(clear[n]) for n in ("MOTA", "MOTP", "IDSW", "Frag", "MT", "PT", "ML")},
            **{name: float(clear[f"CLR_{name}"]) for name in ("TP", "FP", "FN")},
            **{n: float(identity[n]) for n in ("IDF1", "IDP", "IDR", "IDTP", "IDFP", "IDFN")},
            "gt_dets": float(counts["num_gt_dets"]),
            "pred_dets": float(counts["num_tracker_dets"]),
            "gt_ids": float(counts["num_gt_ids"]),
            "pred_ids": float(counts["num_tracker_ids"]),
        }

    def data(self, truth: Rows, found: Rows, length: int) -> dict[str, Any]:
        data: dict[str, Any] = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
        numbers = {}
        for key, rows in (("gt_ids", truth), ("tracker_ids", found)):
            known = {label: number for number, label in enumerate(sorted(set(rows[:, 1])))}
            numbers[key] = len(known)
            for frame in range(1, length + 1):
                ids = [known[label] for label in rows[rows[:, 0] == frame, 1]]
                data[key].append(np.array(ids, dtype=int))
        for frame in range(1, length + 1):
            boxes = (rows[rows[:, 0] == frame, 2:6] for rows in (truth, found))
            data["similarity_scores"].append(_BaseDataset._calculate_box_ious(*boxes))
        return data | {
            "num_gt_dets": len(truth),
            "num_tracker_dets": len(found),
            "num_gt_ids": numbers["gt_ids"],
            "num_tracker_ids": numbers["tracker_ids"],
            "num_timesteps": length,
            "seq": "made",
        }
