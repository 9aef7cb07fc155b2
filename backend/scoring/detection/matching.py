"""Detections matched to ground truth by pycocotools, class by class, as small arrays.

pycocotools keeps a dictionary for each image, class and size; a class at a time, thousands of
images take megabytes and not gigabytes. The flags are its own.
"""

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params

from backend.scoring.detection.average_precision import Bits, Ints, Ranked
from backend.scoring.detection.coco import Boxes, Truth

THRESHOLDS: NDArray[np.float64] = Params("bbox").iouThrs
SIZES: NDArray[np.float64] = np.array(Params("bbox").areaRng)  # all, small, medium, large
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class Matching:
    """What pycocotools made of each prediction that it looked at.

    ``ranked`` has a group for each of ``SIZES`` and a rule for each of ``THRESHOLDS``;
    ``places`` and ``ranks`` (0 is the most confident of its image and class) are of the same
    detections, ``matches`` the ground-truth boxes they got at IoU 0.5 over all sizes, or -1.
    """

    ranked: Ranked
    places: NDArray[np.intp]
    ranks: Ints
    matches: Ints


def match_boxes(truth: Truth, boxes: Boxes) -> Matching:
    """Match predictions to ground truth at ten IoU thresholds and in four ranges of size."""
    parts = [_match_class(truth.boxes, boxes, label) for label in range(len(truth.names))]
    places, ranks, matches = (
        np.concatenate([part[name] for part in parts]) for name in ("places", "ranks", "matches")
    )
    hits, counted = (
        np.concatenate([part[name] for part in parts], axis=1) for name in ("hits", "counted")
    )
    ranked = Ranked(
        boxes.labels[places], boxes.images[places], boxes.scores[places], hits, counted
    )
    return Matching(ranked, places, ranks, matches)


def counted_truths(boxes: Boxes) -> NDArray[np.bool_]:
    """Which ground-truth boxes each range of size looks for, (sizes, boxes)."""
    low, high = SIZES[:, :1], SIZES[:, 1:]
    return np.asarray((boxes.areas >= low) & (boxes.areas <= high) & ~boxes.crowds)


def _match_class(truths: Boxes, boxes: Boxes, label: int) -> dict[str, NDArray[Any]]:
    """Places, ranks, matches, hits and counted flags of one class, by falling score."""
    wanted, found = (np.flatnonzero(b.labels == label) for b in (truths, boxes))
    if not found.size:
        none = np.zeros((len(SIZES), 0), dtype=np.uint16)
        nothing = np.zeros(0, dtype=np.int32)
        return {"places": found, "ranks": nothing, "matches": nothing, "hits": none,
                "counted": none}  # fmt: skip
    results = _judged(truths, wanted, boxes, found)
    whole = results[0]
    places = np.concatenate([np.array(r["dtIds"], dtype=np.intp) for r in whole]) - 1
    ranks = np.concatenate([np.arange(len(r["dtIds"]), dtype=np.int32) for r in whole])
    matches = np.concatenate([r["dtMatches"][0] for r in whole]).astype(np.int32) - 1
    flags = [_flags(size) for size in results]
    order = np.argsort(-boxes.scores[places], kind="stable")
    return {
        "places": places[order],
        "ranks": ranks[order],
        "matches": matches[order],
        "hits": np.stack([hits for hits, _ in flags])[:, order],
        "counted": np.stack([counted for _, counted in flags])[:, order],
    }


def _judged(
    truths: Boxes, wanted: NDArray[np.intp], boxes: Boxes, found: NDArray[np.intp]
) -> list[list[dict[str, Any]]]:
    """pycocotools' results, for each size those of the images with detections."""
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(_coco(truths, wanted), _coco(boxes, found), "bbox")
        judge.params.imgIds = np.unique(boxes.images[found]).tolist()
        judge.params.catIds = [0]
        judge.evaluate()
    images = len(judge.params.imgIds)
    return [judge.evalImgs[size * images :][:images] for size in range(len(SIZES))]


def _coco(boxes: Boxes, places: NDArray[np.intp]) -> Any:
    """Boxes of one class; ids count from 1, for pycocotools takes 0 for no match."""
    images = boxes.images[places].tolist()
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in set(images)],
        "categories": [{"id": 0}],
        "annotations": [
            {"id": place + 1, "image_id": image, "category_id": 0, "bbox": bbox, "area": area,
             "iscrowd": crowd, "score": score}
            for place, image, bbox, area, crowd, score in zip(
                places.tolist(), images, boxes.corners[places].tolist(),
                boxes.areas[places].tolist(), boxes.crowds[places].astype(int).tolist(),
                boxes.scores[places].tolist(), strict=True,
            )
        ],
    }  # fmt: skip
    coco.createIndex()
    return coco


def _flags(results: list[dict[str, Any]]) -> tuple[Bits, Bits]:
    """True positives and counted detections, a bit for each IoU threshold."""
    matched = np.concatenate([r["dtMatches"] for r in results], axis=1) > 0
    counted = ~np.concatenate([r["dtIgnore"] for r in results], axis=1).astype(np.bool_)
    return _packed(matched & counted), _packed(counted)


def _packed(flags: NDArray[np.bool_]) -> Bits:
    powers = 1 << np.arange(len(flags), dtype=np.uint16)
    return np.asarray(powers @ flags.astype(np.uint16), dtype=np.uint16)
