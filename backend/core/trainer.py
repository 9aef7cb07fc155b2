"""What a trainer is: two methods over a config and a work directory, and a predictor.

Built as ``Entry(config, work_dir)``. It turns the config into a stream of events, scores a
checkpoint when asked, and knows nobody else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import BaseModel

from backend.core.events import Event
from backend.core.records import EvalReport, MetricSpec, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Emit = Callable[[Event], None]


class StopSignal(Protocol):
    """Asked at each validation; a reason ends the run after its checkpoint is saved."""

    def reason(self) -> str | None: ...


class TrainOutcome(Record):
    """How ``fit`` ended. ``best`` is the best checkpoint's path in the work directory."""

    status: Literal["finished", "stopped"]
    best: str | None
    reason: str = ""


class EvalRequest(Record):
    """Score ``checkpoint`` on ``split`` of the dataset file ``data``; write beside ``out``.

    ``out`` is a folder for predictions and ground truth.
    """

    checkpoint: str
    data: str
    split: str
    out: str


class Detection(Record):
    """One predicted box: corner coordinates in pixels of the image as given."""

    box: tuple[float, float, float, float]
    score: float
    label: str


class Predictor(Protocol):
    """Images in, boxes out. Images are uint8 arrays (height, width, 3) in RGB order."""

    def predict(
        self, images: "Sequence[NDArray[np.uint8]]", conf: float = 0.25
    ) -> list[list[Detection]]: ...


class Trainer(Protocol):
    """Fits, evaluates and predicts.

    ``fit`` emits ``RunStarted`` first and never ``RunFinished``: its caller adds that one. It
    raises DataError, CheckpointError or ConfigError before anything is trained.
    """

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome: ...

    def evaluate(self, request: EvalRequest) -> EvalReport: ...

    def predictor(self, checkpoint: Path) -> Predictor: ...


@dataclass(frozen=True)
class TrainerSpec:
    """A trainer as the catalog lists it; importing it loads no training stack.

    ``entry`` is ``module:Class`` of the trainer; ``preload`` the modules that make its start
    slow; ``strategies`` maps each freezing strategy to what it trains; ``headline`` is the
    metric name that ranks checkpoints, ``primary`` the one that decides a comparison.
    """

    kind: str
    title: str
    task: str
    config: type[BaseModel]
    entry: str
    metrics: tuple[MetricSpec, ...]
    headline: str
    primary: str
    strategies: dict[str, str]
    preload: tuple[str, ...] = ()
    checkpoint_suffixes: tuple[str, ...] = (".safetensors",)
    pip_requirements: tuple[str, ...] = ()
