"""How an epoch is validated, and how long training waits for a better one."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.trainers.yolo.observing import Said
from backend.trainers.yolo.predictor import NO_LIMIT

from ultralytics.models.yolo.detect import DetectionValidator  # isort: skip
from ultralytics.utils.nms import non_max_suppression  # isort: skip
from ultralytics.utils.torch_utils import EarlyStopping  # isort: skip


class Patience(EarlyStopping):
    """Early stopping that counts epochs but judges those only of which ``validated`` says that
    they were validated."""

    def __init__(self, patience: int, validated: Callable[[], bool]) -> None:
        super().__init__(patience)
        self._validated = validated

    def __call__(self, epoch: int, fitness: float | None) -> bool:
        if not self._validated():
            return False
        exhausted = bool(super().__call__(epoch, fitness))
        self.possible_stop = False  # would force a validation of every epoch
        return exhausted


class SteadyValidator(DetectionValidator):
    """Validation whose non-maximum suppression does not give up on a busy machine, and which keeps
    what was predicted: a class and a score for each box of each image."""

    def init_metrics(self, model: Any) -> None:
        super().init_metrics(model)
        self.said = Said()

    def update_metrics(self, preds: list[dict[str, Tensor]], batch: dict[str, Any]) -> None:
        super().update_metrics(preds, batch)
        self.said.add(preds)

    def postprocess(self, preds: Any) -> list[dict[str, Tensor]]:
        found = non_max_suppression(
            preds,
            self.args.conf,
            self.args.iou,
            multi_label=True,
            max_det=self.args.max_det,
            max_time_img=NO_LIMIT,
            end2end=self.end2end,
        )
        return [
            {"bboxes": x[:, :4], "conf": x[:, 4], "cls": x[:, 5], "extra": x[:, 6:]} for x in found
        ]
