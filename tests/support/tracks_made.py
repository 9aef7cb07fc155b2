"""Made evidence of a tracker: a sound fine-tuning to eight classes, and what can be wrong with it.

``tracker`` gives a ``Made`` as ``tests.support.evidence_made`` does; ``seeing`` is what it does in
a validation, of which a test changes what it needs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from backend.core.events import TracksObserved
from backend.core.evidence import (
    DataFinding,
    DataSurvey,
    ThresholdSwept,
    TrackCensus,
    TracksSeen,
    TrainingPlan,
)
from backend.core.records import MetricSpec
from tests.support.evidence_made import Made

CLASSES = ("Volleyball-Players", "Defense-Move", "Attack", "Block", "Reception", "Service",
           "Setting", "Stand")  # fmt: skip
FRAMES, EACH = 160, 90
SPECS = tuple(
    MetricSpec(name=name, direction="maximize") for name in ("cls_HOTA", "HOTA", "class_accuracy")
)
Seeing = Callable[[float], TracksSeen]
"""Share of the training that is done to what is seen then."""


def tracker(
    saw: Seeing | None = None, count: int = 10, every: int = 40, end: str = "finished"
) -> Made:
    """A fine-tuning whose scores rise from 0.01 to 0.8, or that sees what ``saw`` says."""
    t = np.arange(1, count + 1) / count
    look = saw or (lambda share: seeing(top=0.05 + 0.8 * min(1.0, 2 * share)))
    hota = np.clip(0.5 * (t - 0.1), 0, None)
    loss = 4 * np.exp(-2 * t) + 2
    steps = tuple(every * place for place in range(1, count + 1))
    return Made(
        steps=steps, per_epoch=every, trainer="motrv2", headline="val/cls_HOTA", metrics=SPECS,
        curves={
            "train/loss": loss, "val/loss": loss * 1.05, "val/HOTA": hota,
            "val/cls_HOTA": hota * 0.8, "val/class_accuracy": np.clip(1.5 * t, 0, 0.92),
        },
        plan=TrainingPlan(steps=steps[-1], steps_per_epoch=every, validations=count,
                          first_validation=every),
        survey=tracking_survey(), end=end,
        observers=(lambda place, step: told(step, look(step / steps[-1])),),
    )  # fmt: skip


def always(**changes: Any) -> Made:
    """A run that sees the same at each validation, with losses that stand and a HOTA of zero."""
    zero = np.zeros(10)
    return tracker(lambda share: seeing(**changes)).with_curves(
        val_HOTA=zero, val_cls_HOTA=zero, val_class_accuracy=np.full(10, 0.91),
        train_loss=np.full(10, 3.0), val_loss=np.full(10, 3.2),
    )  # fmt: skip


def told(
    step: int, seen: TracksSeen, split: str = "val", *, final: bool = False
) -> TracksObserved:
    return TracksObserved(step=step, split=split, seen=seen, final=final)


def seeing(top: float = 0.8, threshold: float = 0.5, **changes: Any) -> TracksSeen:
    """Scores up to ``top``: the frames' highest are at the median 0.9 of it. Four sequences of 40
    frames with some five players each are tracked if that is over the threshold."""
    tracks = 22 if top >= threshold else 0
    facts: dict[str, Any] = {
        "frames": FRAMES, "proposals": 900, "targets": dict.fromkeys(CLASSES, EACH),
        "threshold": threshold, "first_class": 0.9 * top,
        "scores": {"0.5": 0.1 * top, "0.99": 0.9 * top, "0.999": top, "1": 1.02 * top},
        "highest": {"0.5": 0.9 * top, "0.99": top, "0.999": 1.01 * top, "1": 1.02 * top},
        "histogram": (1500, *([20] * 19)),
        "births": tracks, "short": tracks // 10,
        "lengths": {"0.5": 31.0, "1": 40.0} if tracks else {}, "swept": swept(top),
    }  # fmt: skip
    return TracksSeen(**(facts | changes))


def fresh(**changes: Any) -> Made:
    """A head that was not trained: scores of 0.02, and 0.04 at most."""
    return always(top=0.04, **changes)


def swept(top: float) -> tuple[ThresholdSwept, ...]:
    """Tracks at 0.1 to 0.9, best at the highest threshold that shows any."""
    levels = [round(0.1 * place, 1) for place in range(1, 10)]
    return tuple(
        ThresholdSwept(threshold=level, boxes=600 if level < top else 0,
                       tracks=round(25 / level) if level < top else 0,
                       hota=level / 2 if level < top else 0.0,
                       cls_hota=level / 3 if level < top else 0.0)
        for level in levels
    )  # fmt: skip


def tracking_survey(**changes: Any) -> DataSurvey:
    """Two splits as they were counted, with a database."""
    facts: dict[str, Any] = {"tracks": (counted("train", 4), counted("val"))}
    return DataSurvey(**(facts | changes))


def counted(split: str, times: int = 1, **changes: Any) -> TrackCensus:
    """A split of so many times four sequences."""
    facts: dict[str, Any] = {
        "split": split, "sequences": 4 * times, "frames": FRAMES * times, "images": FRAMES * times,
        "boxes": 8 * EACH * times, "targets": 8 * EACH * times, "ids": 20 * times,
        "counts": dict.fromkeys(CLASSES, EACH * times), "empty_frames": 0, "track_length": 36.0,
        "fields": "xywhcs", "proposals": 900 * times, "proposals_per_frame": 900 / FRAMES,
        "without_proposals": 3, "recall": 0.92, "sampled": FRAMES,
    }  # fmt: skip
    return TrackCensus(**(facts | changes))


def refused(code: str, sentence: str = "It is wrong.", split: str = "train", **numbers: float
            ) -> DataFinding:  # fmt: skip
    """An error of the data's validation."""
    return DataFinding(code=code, level="error", split=split, sentence=sentence, numbers=numbers)


def warned(code: str, sentence: str = "It is odd.", split: str = "train", **numbers: float
           ) -> DataFinding:  # fmt: skip
    """A warning of it."""
    return DataFinding(code=code, level="warning", split=split, sentence=sentence, numbers=numbers)
