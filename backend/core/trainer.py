"""What a trainer is: two methods over a config and a work directory, and a predictor.

Built as ``Entry(config, work_dir)``. It turns the config into a stream of events, scores a
checkpoint when asked, and knows nobody else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, Field

from backend.core.events import Event
from backend.core.knobs import Knobs
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

    ``out`` is a folder for predictions, ground truth and evidence. ``known`` are earlier
    evaluations of these very weights: one made under the same conditions is the answer.
    """

    checkpoint: str
    data: str
    split: str
    out: str
    known: tuple[EvalReport, ...] = ()


class ExportRequest(Record):
    """Write ``checkpoint`` as ``format`` to the file ``out``. ``data`` is the dataset file on
    whose ``val`` split both are scored; empty: only their outputs are compared. ``dynamic``: the
    file takes any batch and image size, where its format knows fixed ones."""

    checkpoint: str
    format: str
    out: str
    data: str = ""
    dynamic: bool = False


class ExportReport(Record):
    """A checkpoint in another format, and how far it answers alike.

    ``difference`` is the highest absolute difference of the raw outputs on the same input;
    ``metrics`` those of the exported file and ``reference`` those of the checkpoint, both scored
    now (empty without data). ``facts`` are the format's own: opset, input and output shapes.
    """

    checkpoint: str
    format: str
    path: str
    sha256: str
    bytes: int
    difference: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    reference: dict[str, float] = Field(default_factory=dict)
    facts: dict[str, bool | int | float | str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Conditions(Record):
    """What decides an evaluation's numbers besides the weights (see ``EvalReport``)."""

    data_digest: str
    evaluator: str
    settings: dict[str, str] = Field(default_factory=dict)

    def of(self, report: EvalReport) -> bool:
        """Was this report made under these conditions?"""
        return all(getattr(report, name) == value for name, value in self)


class Detection(Record):
    """One predicted box: corner coordinates in pixels of the image as given."""

    box: tuple[float, float, float, float]
    score: float
    label: str


class Track(Record):
    """One tracked box: its frame (counted from zero), identity, and place in pixels.

    ``box`` is x and y of the upper left corner, width and height, as the MOT format has it.
    """

    frame: int
    id: int
    box: tuple[float, float, float, float]
    score: float
    label: str


class Segment(Record):
    """One action of a video; ``start`` and ``end`` in seconds."""

    start: float
    end: float
    label: str
    score: float


class Spot(Record):
    """One event of a clip at a frame (counted from zero); F3Set joins its elements by ``_``."""

    frame: int
    label: str
    score: float


class Predictor(Protocol):
    """Images in, boxes out. Images are uint8 arrays (height, width, 3) in RGB order."""

    def predict(
        self, images: "Sequence[NDArray[np.uint8]]", conf: float = 0.25
    ) -> list[list[Detection]]: ...


class ClipPredictor(Protocol):
    """Videos in; tracks, segments or spots out: one list per video, in order.

    A video is a path, which the trainer decodes, or a uint8 array (frames, height, width, 3).
    """

    def predict(
        self, clips: "Sequence[Path | NDArray[np.uint8]]", conf: float = 0.25
    ) -> list[list[Track]] | list[list[Segment]] | list[list[Spot]]: ...


class Trainer(Protocol):
    """Fits, evaluates and predicts.

    ``fit`` emits ``RunStarted`` first and never ``RunFinished``: its caller adds that one. It
    raises DataError, CheckpointError or ConfigError before anything is trained.
    ``conditions`` tells what ``evaluate`` would say of itself, without running the model.
    """

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome: ...

    def evaluate(self, request: EvalRequest) -> EvalReport: ...

    def conditions(self, request: EvalRequest) -> Conditions: ...

    def predictor(self, checkpoint: Path) -> Predictor | ClipPredictor: ...


class Exporter(Protocol):
    """A trainer whose ``TrainerSpec.exports`` is not empty."""

    def export(self, request: ExportRequest) -> ExportReport: ...


Role = Literal[
    "lr",
    "warmup",
    "clip",
    "epochs",
    "weight_decay",
    "dropout",
    "positive_weight",
    "bias_init",
    "balance",
    "top_k",
    "missing",
    "separator",
    "pose_dir",
    "stride",
    "threshold",
    "train_new",
    "validation_interval",
    "validation_begin",
]
"""What a config key is for: how a finding proposes a change without knowing the trainer."""


@dataclass(frozen=True)
class TrainerSpec:
    """A trainer as the catalog lists it; importing it loads no training stack.

    ``levers`` maps a role to the config keys that play it, those that a config does not have
    left out when they are used. ``entry`` is ``module:Class`` of the trainer; ``preload`` the
    modules that make its start slow; ``strategies`` maps each freezing strategy to what it
    trains; ``headline`` is the metric name that ranks checkpoints, ``primary`` the one that
    decides a comparison. ``knobs`` are the keys that the machine may change; ``licenses`` the
    terms of what it is built on, where they reach further than ours; ``columns`` are those of
    ``results.csv`` after ``epoch``, each with the metric key that it holds.
    ``exports`` are the formats that ``export`` writes, each with the packages that it needs;
    ``fast`` makes of a config (dotted keys) and a tier what a short first training changes;
    ``ready`` raises an AssayError for a file that a config lacks, before anything is loaded.
    ``describe`` is ``module:function``, which says in tables (``description.Described``) what a
    config comes to, for the report.
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
    levers: Mapping[Role, tuple[str, ...]] = field(default_factory=dict)
    knobs: Knobs | None = None
    licenses: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    exports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fast: Callable[[Mapping[str, str], str], dict[str, object]] | None = None
    ready: Callable[[Any], None] | None = None
    describe: str = ""
