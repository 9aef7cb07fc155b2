"""HOTA, CLEAR and Identity of one sequence, kept as sums from which any combination follows.

trackeval's metric classes match and count. What it adds up over sequences is kept, and its
closing arithmetic (``combine_sequences``) is done here for many multisets of sequences at once.
Sources: Luiten et al. 2021 (HOTA), Bernardin and Stiefelhagen 2008 (CLEAR), Ristani et al.
2016 (Identity).
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from trackeval.metrics import CLEAR, HOTA, Identity

from backend.core.errors import DataError
from backend.core.records import Direction, MetricSpec
from backend.scoring.tracking.boxes import iou
from backend.scoring.tracking.motchallenge import Tracks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RATES = (
    *("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "HOTA_0"),
    *("MOTA", "MOTP", "IDF1", "IDP", "IDR"),
)
COUNTS = (
    *("IDSW", "Frag", "MT", "PT", "ML", "TP", "FP", "FN", "IDTP", "IDFP", "IDFN"),
    *("gt_dets", "pred_dets", "gt_ids", "pred_ids"),
)
_SUMMED = (*COUNTS, "MOTP_sum")
_CURVES = ("AssA", "AssRe", "AssPr", "LocA")  # weighted with the true positives, per threshold
_ALPHAS = 19
_CURVED = (1 + len(_CURVES)) * _ALPHAS
WIDTH = _CURVED + len(_SUMMED)
"""How many sums one sequence has in one view."""

_HELD = 32_000_000  # IoUs of one sequence held at once: 256 MB
_TABLES = 27  # dense tables of (true ids, predicted ids) that HOTA holds at once, measured
_SQUARES = 5  # of (all ids, all ids) that Identity holds after it: 3.3 measured, and the solver's


def sums(truth: Tracks, predictions: Tracks, threshold: float) -> Floats:
    """What one sequence adds to a combination, (WIDTH,).

    ``threshold`` is the IoU from which CLEAR and Identity count a match. Raises DataError if
    there are more identities than memory can hold.
    """
    data = _judged(truth, predictions)
    settings = {"THRESHOLD": threshold, "PRINT_CONFIG": False}
    hota = HOTA().eval_sequence(data)
    clear = CLEAR(dict(settings)).eval_sequence(data)
    identity = Identity(dict(settings)).eval_sequence(data)
    right = np.asarray(hota["HOTA_TP"])
    found = {
        **{name: clear[name] for name in ("IDSW", "Frag", "MT", "PT", "ML", "MOTP_sum")},
        **{name: clear[f"CLR_{name}"] for name in ("TP", "FP", "FN")},
        **{name: identity[name] for name in ("IDTP", "IDFP", "IDFN")},
        "gt_dets": data["num_gt_dets"],
        "pred_dets": data["num_tracker_dets"],
        "gt_ids": data["num_gt_ids"],
        "pred_ids": data["num_tracker_ids"],
    }
    return np.concatenate(
        [
            right,
            *(hota[name] * right for name in _CURVES),
            np.array([found[name] for name in _SUMMED], dtype=np.float64),
        ]
    )


def true_boxes(summed: Floats) -> Floats:
    """How many ground-truth boxes there are, (...,), in (..., WIDTH) sums."""
    boxes: Floats = summed[..., _CURVED + _SUMMED.index("gt_dets")]
    return boxes


def metrics(summed: Floats) -> dict[str, Floats]:
    """The metrics of combinations, from (..., WIDTH) sums; each is (...,).

    They are trackeval's, its conventions for the empty included: without ground truth or
    without predictions rates are 0 and LocA is 1; without ground truth MOTA is minus the
    number of false positives.
    """
    curves = summed[..., :_CURVED].reshape(*summed.shape[:-1], 1 + len(_CURVES), _ALPHAS)
    right = curves[..., 0, :]
    ass_a, ass_re, ass_pr = (curves[..., at, :] / np.maximum(1, right) for at in (1, 2, 3))
    loc_a = np.maximum(1e-10, curves[..., 4, :]) / np.maximum(1e-10, right)
    n = {name: summed[..., _CURVED + at] for at, name in enumerate(_SUMMED)}
    true, predicted = n["gt_dets"][..., None], n["pred_dets"][..., None]
    det_a = right / np.maximum(1, true + predicted - right)
    hota = np.sqrt(det_a * ass_a)
    boxes = np.maximum(1, n["gt_dets"])
    rates = {
        "HOTA": hota.mean(axis=-1),
        "DetA": det_a.mean(axis=-1),
        "AssA": ass_a.mean(axis=-1),
        "DetRe": (right / np.maximum(1, true)).mean(axis=-1),
        "DetPr": (right / np.maximum(1, predicted)).mean(axis=-1),
        "AssRe": ass_re.mean(axis=-1),
        "AssPr": ass_pr.mean(axis=-1),
        "LocA": loc_a.mean(axis=-1),
        "HOTA_0": hota[..., 0],
        "MOTA": (n["TP"] - n["FP"] - n["IDSW"]) / boxes,
        "MOTP": n["MOTP_sum"] / np.maximum(1, n["TP"]),
        "IDF1": n["IDTP"] / np.maximum(1, n["IDTP"] + 0.5 * n["IDFP"] + 0.5 * n["IDFN"]),
        "IDP": n["IDTP"] / np.maximum(1, n["IDTP"] + n["IDFP"]),
        "IDR": n["IDTP"] / np.maximum(1, n["IDTP"] + n["IDFN"]),
    }
    return rates | {name: n[name] for name in COUNTS}


class _Overlaps(Sequence[Floats]):
    """IoU of each frame as (true, predicted), made each time it is asked for."""

    def __init__(self, truth: list[Floats], predictions: list[Floats]) -> None:
        self._truth, self._predictions = truth, predictions

    def __len__(self) -> int:
        return len(self._truth)

    def __getitem__(self, frame: Any) -> Any:
        return iou(self._truth[frame], self._predictions[frame])


def _overlaps(truth: list[Floats], predictions: list[Floats]) -> Sequence[Floats]:
    """IoU of each frame; crowded sequences, which would fill the memory, make them as needed."""
    pairs = sum(len(a) * len(b) for a, b in zip(truth, predictions, strict=True))
    found = _Overlaps(truth, predictions)
    return found if pairs > _HELD else list(found)


def _judged(truth: Tracks, predictions: Tracks) -> dict[str, Any]:
    """A sequence as trackeval takes it. Frames without any box are left out: they add nothing."""
    frames = np.union1d(truth.frames, predictions.frames)
    true_ids, true_boxes, true_number = _by_frame(truth, frames)
    ids, boxes, number = _by_frame(predictions, frames)
    _refuse_too_many(true_number, number, predictions)
    return {
        "gt_ids": true_ids,
        "tracker_ids": ids,
        "similarity_scores": _overlaps(true_boxes, boxes),
        "num_gt_dets": len(truth.frames),
        "num_tracker_dets": len(predictions.frames),
        "num_gt_ids": true_number,
        "num_tracker_ids": number,
        "num_timesteps": len(frames),
    }


def _by_frame(found: Tracks, frames: Ints) -> tuple[list[Ints], list[Floats], int]:
    """Ids (numbered from 0) and boxes, frame by frame, and how many ids there are."""
    known, ids = np.unique(found.ids, return_inverse=True)
    order = np.argsort(found.frames, kind="stable")
    ends = np.searchsorted(found.frames[order], frames, side="right")[:-1]
    return np.split(ids[order], ends), np.split(found.boxes[order], ends), len(known)


def _refuse_too_many(true: int, predicted: int, predictions: Tracks) -> None:
    needed = 8.0 * max(_TABLES * true * predicted, _SQUARES * (true + predicted) ** 2)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if true and predicted and needed > memory:
        raise DataError(
            f"{predictions.source}: {predicted:,} identities against {true:,} true ones need "
            f"{needed / 2**30:,.0f} GB to match; does every box have an id of its own?"
        )


_MEANINGS: dict[str, tuple[Direction | None, str]] = {
    "HOTA": ("maximize", "Higher-order tracking accuracy, mean over IoU 0.05 to 0.95"),
    "DetA": ("maximize", "Detection accuracy of HOTA"),
    "AssA": ("maximize", "Association accuracy of HOTA"),
    "DetRe": ("maximize", "Detection recall of HOTA"),
    "DetPr": ("maximize", "Detection precision of HOTA"),
    "AssRe": ("maximize", "Association recall of HOTA"),
    "AssPr": ("maximize", "Association precision of HOTA"),
    "LocA": ("maximize", "Mean IoU of HOTA's matches; 1 where there are none"),
    "HOTA_0": ("maximize", "HOTA at IoU 0.05"),
    "MOTA": ("maximize", "1 - (FN + FP + IDSW) / true boxes"),
    "MOTP": ("maximize", "Mean IoU of matched boxes"),
    "IDF1": ("maximize", "F1 of boxes under the best one-to-one assignment of identities"),
    "IDP": ("maximize", "Precision under that assignment"),
    "IDR": ("maximize", "Recall under that assignment"),
    "IDSW": ("minimize", "Identity switches"),
    "Frag": ("minimize", "Interruptions of tracks"),
    "MT": ("maximize", "Objects tracked in more than 80 % of their frames"),
    "PT": (None, "Objects tracked in 20 to 80 % of their frames"),
    "ML": ("minimize", "Objects tracked in less than 20 % of their frames"),
    "TP": ("maximize", "Matched boxes"),
    "FP": ("minimize", "Predicted boxes without a match"),
    "FN": ("minimize", "True boxes without a match"),
    "IDTP": ("maximize", "Boxes matched under the assignment of identities"),
    "IDFP": ("minimize", "Predicted boxes left by that assignment"),
    "IDFN": ("minimize", "True boxes left by that assignment"),
    "gt_dets": (None, "True boxes"),
    "pred_dets": (None, "Predicted boxes"),
    "gt_ids": (None, "True identities"),
    "pred_ids": (None, "Predicted identities"),
}

SPECS = tuple(
    MetricSpec(
        name=f"{prefix}{name}",
        direction=direction,
        unit="" if name in RATES else "count",
        description=f"{meaning}{suffix}",
    )
    for prefix, suffix in (
        ("", ""),
        ("cls_", "; mean (counts: sum) over the classes with ground truth"),
        ("det_", "; all classes' boxes pooled"),
    )
    for name, (direction, meaning) in _MEANINGS.items()
    if prefix != "det_" or name in RATES
)
"""Each metric, class-agnostic and in the two combinations of classes."""
