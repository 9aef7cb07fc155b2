"""The toy trainer on two domains: the more it moves its weights, the more it forgets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.records import MetricSpec
from tests.support import toy
from tests.support.toy import ToyConfig, ToyTrainer

NAMES = ("backbone.weight", "head.weight")


class ForgetfulToy(ToyTrainer):
    """Forgetting is how far its weights are from those that it began with.

    It is measured where the config names a source domain.
    """

    def __init__(self, config: ToyConfig, work_dir: Path) -> None:
        super().__init__(config, work_dir)
        rng = np.random.default_rng(config.seed)
        self.began = [rng.normal(0, 0.3, 3), rng.normal(0, 0.3, 1)]

    def _validate(
        self, state: dict[str, NDArray[np.float32]], data: dict[str, list[dict[str, object]]]
    ) -> dict[str, float]:
        metrics = super()._validate(state, data)
        if self.config.source is not None:
            moved = [
                np.abs(state[name] - value).mean()
                for name, value in zip(NAMES, self.began, strict=True)
            ]
            metrics["source/forgetting"] = float(np.mean(moved))
        return metrics


SPEC = replace(
    toy.SPEC,
    entry="tests.support.forgetful_toy:ForgetfulToy",
    metrics=(*toy.SPEC.metrics, MetricSpec(name="forgetting", direction="minimize")),
)
CATALOG = {"toy": SPEC}
