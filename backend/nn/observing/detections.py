"""What a detector says in a validation, beside the truth."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backend.core.evidence import PredictionHistogram

NOTHING = "background"
QUANTILES = (0.5, 0.9, 0.99, 1.0)


def detection_histogram(
    truth: Mapping[str, int],
    images: NDArray[np.int64],
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    count: int,
) -> PredictionHistogram:
    """Classes of the most certain boxes, as many as there are objects; what lacks to that number
    is ``NOTHING``. So no threshold decides what counts as said.

    ``truth`` has the objects of each class in the model's order, the arrays one entry per box,
    ``count`` is the number of images. Quantiles are of each image's highest score.
    """
    objects = sum(truth.values())
    kept = np.argsort(-scores, kind="stable")[:objects]
    said = np.bincount(labels[kept], minlength=len(truth)).tolist()
    highest = np.zeros(count)
    _, places = np.unique(images, return_inverse=True)
    np.maximum.at(highest, places, scores)
    return PredictionHistogram(
        output="classes",
        truth={**truth, NOTHING: 0},
        predicted={**dict(zip(truth, said, strict=True)), NOTHING: objects - len(kept)},
        background=NOTHING,
        quantiles=_quantiles(highest),
    )


def _quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    if not len(values):
        return {}
    found: Sequence[float] = np.quantile(values, QUANTILES).tolist()
    return {f"{share:g}": value for share, value in zip(QUANTILES, found, strict=True)}
