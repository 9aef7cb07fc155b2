import random

import numpy as np
import pytest
import torch

from backend.core.evidence import PredictionHistogram
from backend.nn.observing.detections import detection_histogram
from backend.nn.observing.probing import probe_due, spread, undisturbed

CPU = torch.device("cpu")


def said(boxes: list[tuple[int, int, float]], images: int = 4) -> PredictionHistogram:
    columns = zip(*boxes, strict=True) if boxes else ([], [], [])
    at, labels, scores = (np.array(column) for column in columns)
    truth = {"car": 3, "bus": 1, "cow": 0}
    return detection_histogram(
        truth, at.astype(np.int64), labels.astype(np.int64), scores.astype(np.float64), images
    )


def test_as_many_boxes_are_counted_as_there_are_objects() -> None:
    found = said([(0, 0, 0.9), (0, 1, 0.1), (7, 1, 0.8), (7, 1, 0.7), (9, 0, 0.6), (9, 2, 0.2)])
    assert found.truth == {"car": 3, "bus": 1, "cow": 0, "background": 0}
    assert found.predicted == {"car": 2, "bus": 2, "cow": 0, "background": 0}
    assert found.quantiles["0.5"] == pytest.approx(np.median([0.9, 0.8, 0.6, 0.0]))
    assert found.quantiles["1"] == 0.9


def test_what_was_not_said_is_background() -> None:
    assert said([(1, 0, 0.3)]).predicted == {"car": 1, "bus": 0, "cow": 0, "background": 3}
    nothing = said([])
    assert nothing.predicted["background"] == 4
    assert nothing.quantiles == {"0.5": 0, "0.9": 0, "0.99": 0, "1": 0}


def test_the_probe_is_due_once_early_and_at_the_end() -> None:
    steps, probed = [], False
    for step in range(10, 101, 10):
        if probe_due(step, 100, probed):
            steps.append(step)
            probed = True
    assert steps == [30, 100]


def test_samples_are_spread_over_the_whole() -> None:
    assert spread(3, 200) == [0, 1, 2]
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(1000, 200)[-1] == 995


def test_generators_are_left_as_they_were_even_after_an_error() -> None:
    def state() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    seed()
    expected = state()
    seed()
    with pytest.raises(ZeroDivisionError), undisturbed(CPU):
        sum((*state(), 1 / 0))
    assert state() == expected
