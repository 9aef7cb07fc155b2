"""What 1,000 bootstrap replicates of COCO mAP cost, beside one evaluation by pycocotools.

Made data: 5,000 images, 80 classes, about 36,000 boxes and 100 detections per image, written
nowhere. Four contestants, each in a process of its own, one after the other (Linux only, for
the peak of memory is read from ``/proc``; times are the processor's, not the clock's):

* pycocotools as its manual uses it (``evaluate`` and ``accumulate``; reading is not counted);
* Assay matching the same boxes once, by pycocotools too, into evidence;
* 1,000 replicates of every column of that evidence (AP by size, AR, F1, AP per class);
* pycocotools' ``accumulate`` on a few resampled sets of images, matched only once: what a
  bootstrap without evidence would do for each replicate (extrapolated to all replicates).

    python benchmarks/bench_detection_bootstrap.py [--images 5000] [--replicates 1000]
"""

import argparse
import contextlib
import gc
import io
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 80
BOXES = 7.2  # per image; COCO val2017 has 36,335 in 5,000 images
DETECTIONS = 100  # per image
NAIVE = 3  # replicates that are really recomputed


@dataclass(frozen=True)
class Cost:
    """Seconds of the processor, and MB at the peak beyond what the process held before."""

    seconds: float
    peak: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--replicates", type=int, default=1000)
    options = parser.parse_args()
    images, number = options.images, options.replicates
    once = alone(judge, images)
    matched, arrays = alone(matching, images)
    costs = {
        "pycocotools, one evaluation": once,
        "Assay: matching once": matched,
        f"Assay: {number} replicates, all columns": alone(replicates, arrays, number),
        f"accumulate again, {NAIVE} replicates": alone(naive, images),
    }
    report(costs, number)


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run in a fresh process, so that the peak of memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def judge(images: int) -> Cost:
    truth, predictions = made(images)
    return measured(lambda: pycocotools(truth, predictions))


def matching(images: int) -> tuple[Cost, dict[str, Any]]:
    from backend.scoring.detection.task import evaluate

    evidence: list[Any] = []
    truth, predictions = made(images)
    cost = measured(lambda: evidence.append(evaluate(truth, predictions)))
    return cost, evidence[0].arrays()


def replicates(arrays: dict[str, Any], number: int) -> Cost:
    from backend.scoring.detection.task import TASK

    evidence = TASK.restore(arrays)
    counts = drawn(len(evidence.units), number)
    return measured(lambda: evidence.table(counts))


def naive(images: int) -> Cost:
    result = pycocotools(*made(images))
    every = list(result.evalImgs)
    sizes = len(result.params.areaRng)

    def again() -> None:
        for row in drawn(images, NAIVE):
            places = np.repeat(np.arange(images), row)
            picked = [every[block * images + place]
                      for block in range(CLASSES * sizes) for place in places]  # fmt: skip
            result.evalImgs = picked
            with contextlib.redirect_stdout(io.StringIO()):
                result.accumulate()

    return measured(again)


def pycocotools(truth: dict[str, Any], predictions: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        result = COCOeval(coco, coco.loadRes(predictions), "bbox")
        result.evaluate()
        result.accumulate()
    return result


def measured(work: Callable[[], object]) -> Cost:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = peak()
    start = time.process_time()
    work()
    return Cost(time.process_time() - start, peak() - before)


def peak() -> float:
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


def drawn(images: int, number: int) -> Any:
    rng = np.random.default_rng(1)
    counts = np.empty((number, images), dtype=np.uint16)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, images, images), minlength=images)
    return counts


def made(images: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth, and a detector that finds eight of ten boxes among much else.

    A tenth of the classes holds half of the boxes. False positives are as in real results:
    most are of classes that the image shows.
    """
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(CLASSES, 0.5))
    annotations: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []
    for image in range(images):
        count = rng.poisson(BOXES)
        labels = rng.choice(CLASSES, count, p=shares)
        truths = boxes(rng, count)
        annotations += [
            {"id": len(annotations) + number, "image_id": image, "category_id": int(label),
             "bbox": box.tolist(), "area": float(box[2] * box[3]), "iscrowd": 0}
            for number, (label, box) in enumerate(zip(labels, truths, strict=True), start=1)
        ]  # fmt: skip
        found = rng.random(count) < 0.8
        hits = truths[found] * np.exp(rng.normal(0, 0.05, (found.sum(), 4)))
        others = DETECTIONS - len(hits)
        shown = labels if count else np.arange(CLASSES)
        kinds = np.where(rng.random(others) < 0.7, rng.choice(shown, others),
                         rng.integers(0, CLASSES, others))  # fmt: skip
        scores = np.concatenate([rng.beta(4, 2, len(hits)), rng.beta(1, 6, others)])
        predictions += [
            {"image_id": image, "category_id": int(label), "bbox": box.tolist(), "score": score}
            for label, box, score in zip(
                np.concatenate([labels[found], kinds]),
                np.concatenate([hits, boxes(rng, others)]), scores.tolist(), strict=True,
            )
        ]  # fmt: skip
    truth = {
        "info": {},
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": label, "name": str(label)} for label in range(CLASSES)],
        "annotations": annotations,
    }
    return truth, predictions


def boxes(rng: np.random.Generator, number: int) -> Any:
    size = np.exp(rng.normal(4, 0.9, (number, 2))).clip(4, 400)
    corner = rng.uniform(0, 1, (number, 2)) * (640 - size)
    return np.hstack([corner, size])


def report(costs: dict[str, Cost], number: int) -> None:
    once, match, bootstrap, few = costs.values()
    print(f"{'contestant':42} {'CPU s':>9} {'of one evaluation':>18} {'peak MB':>9}")
    for name, cost in costs.items():
        ratio = cost.seconds / once.seconds
        print(f"{name:42} {cost.seconds:9.1f} {ratio:17.2f}x {cost.peak:9.0f}")
    every = few.seconds / NAIVE * number
    print(f"ratio {number} replicates / one evaluation: {bootstrap.seconds / once.seconds:.2f}")
    print(f"ratio matching into evidence / one evaluation: {match.seconds / once.seconds:.2f}")
    print(
        f"ratio accumulating anew for {number} replicates (extrapolated from {NAIVE}) / ours: "
        f"{every / bootstrap.seconds:.0f}"
    )


if __name__ == "__main__":
    main()
