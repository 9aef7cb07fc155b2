"""Everything that a training can say, and its one-line JSON form.

A worker writes one envelope per line to ``events.jsonl``; the file is the durable truth, and
MLflow, pruning and the console are readers of it.
"""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, field_validator

from backend.core.diagnosis import Diagnosis
from backend.core.evidence import (
    DataSurvey,
    GroupMovement,
    PredictionHistogram,
    TracksSeen,
    TrainingPlan,
)
from backend.core.experts import ExpertReport
from backend.core.records import (
    Checkpoint,
    DatasetInput,
    EvalReport,
    MemoryKind,
    MetricSpec,
    Record,
)

Setting = bool | int | str | tuple[int, ...]
"""A value of a config: a number, a switch, a name, or the sides of an image."""

Order = Literal["batch", "cache"]
"""What memory's ladder gives up first: the batch, or what holds images in the host's memory."""

METRIC_KEY = re.compile(r"[a-z]+(/[A-Za-z0-9_.\-]+)+")


class RunStarted(Record):
    """The first event. ``epochs`` is what was planned; ``headline`` the key that ranks
    checkpoints; ``environment`` maps a package or fact to its version."""

    type: Literal["RunStarted"] = "RunStarted"
    trainer: str
    epochs: int
    headline: str
    metrics: tuple[MetricSpec, ...]
    data: tuple[DatasetInput, ...]
    environment: dict[str, str]
    resumed_from: int | None = None
    plan: TrainingPlan | None = None


class MetricsLogged(Record):
    """Values at an optimizer step. Keys are ``split/name``, split in lower case.

    ``ends``: the epoch is over with this step, and these are its last values.
    """

    type: Literal["MetricsLogged"] = "MetricsLogged"
    step: int
    epoch: int
    metrics: dict[str, float]
    ends: bool = False

    @field_validator("metrics")
    @classmethod
    def _keys_follow_the_grammar(cls, metrics: dict[str, float]) -> dict[str, float]:
        for key in metrics:
            if not METRIC_KEY.fullmatch(key):
                raise ValueError(f"metric key '{key}' is not 'split/name' with a lower-case split")
        return metrics

    def finite(self) -> dict[str, float]:
        """The metrics whose value is a number."""
        return {k: v for k, v in self.metrics.items() if math.isfinite(v)}


class FreezeGroup(Record):
    """Parameters of one named part of the model. ``always_frozen`` are frozen whatever the
    strategy (a fixed layer of the architecture) and counted nowhere else."""

    name: str
    trainable: int
    frozen: int
    always_frozen: int = 0
    lr: float | None = None


class FreezeReported(Record):
    """What a strategy freezes, as ``declared`` before training and ``verified`` after it.

    ``violations`` names each frozen tensor or buffer that changed by a bit while it was frozen.
    ``until``: the epoch after which nothing is frozen any more, and at whose end it is verified;
    None: to the end.
    """

    type: Literal["FreezeReported"] = "FreezeReported"
    phase: Literal["declared", "verified"]
    strategy: str
    groups: tuple[FreezeGroup, ...]
    frozen_tensors: int
    changed_tensors: int | None = None
    violations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    until: int | None = None


class CheckpointSaved(Record):
    """A checkpoint is complete on disk. ``best`` if it is the best so far."""

    type: Literal["CheckpointSaved"] = "CheckpointSaved"
    checkpoint: Checkpoint
    best: bool


class ExpertsObserved(Record):
    """What the experts did in a validation, or in the final evaluation of the best checkpoint.

    It comes after the metrics of its step and before the checkpoint of its step, except
    ``final``, which comes with ``Evaluated``.
    """

    type: Literal["ExpertsObserved"] = "ExpertsObserved"
    report: ExpertReport
    final: bool = False


class DataSurveyed(Record):
    """What the data is, told before the first step of a new run."""

    type: Literal["DataSurveyed"] = "DataSurveyed"
    survey: DataSurvey


class MovementObserved(Record):
    """What moved since step ``since``, and what did not; told at each validation.

    ``thawed``: tensors and buffers that are planned frozen and changed by a bit. ``training``:
    modules that are frozen as a whole and stand in training mode.
    """

    type: Literal["MovementObserved"] = "MovementObserved"
    step: int
    since: int
    groups: tuple[GroupMovement, ...]
    thawed: tuple[str, ...] = ()
    training: tuple[str, ...] = ()


class PredictionsObserved(Record):
    """What the network says in a validation; it comes after the metrics of its step."""

    type: Literal["PredictionsObserved"] = "PredictionsObserved"
    step: int
    split: str
    histograms: tuple[PredictionHistogram, ...]


class TracksObserved(Record):
    """What a tracker does in a validation (after the metrics of its step), or, ``final``, in the
    evaluation of the best checkpoint (with ``Evaluated``)."""

    type: Literal["TracksObserved"] = "TracksObserved"
    step: int
    split: str
    seen: TracksSeen
    final: bool = False


class InputProbed(Record):
    """The loss on ``samples`` of a split, and the same with the inputs permuted across samples
    while the labels stay: equal losses mean that the input is not used. By part of the loss."""

    type: Literal["InputProbed"] = "InputProbed"
    step: int
    split: str
    samples: int
    losses: dict[str, float]
    permuted: dict[str, float]


class NonfiniteSeen(Record):
    """The first value that is no number: where it was, and in which samples' step."""

    type: Literal["NonfiniteSeen"] = "NonfiniteSeen"
    step: int
    where: Literal["input", "loss", "gradient", "parameter", "metric"]
    name: str
    samples: tuple[str, ...] = ()


class Diagnosed(Record):
    """What the rules said at a validation, told when it differs from what they said before."""

    type: Literal["Diagnosed"] = "Diagnosed"
    diagnosis: Diagnosis


class CheckpointRemoved(Record):
    """An earlier checkpoint was deleted, because better ones are kept."""

    type: Literal["CheckpointRemoved"] = "CheckpointRemoved"
    path: str
    sha256: str


class Evaluated(Record):
    """The final evaluation of a checkpoint."""

    type: Literal["Evaluated"] = "Evaluated"
    report: EvalReport


class Noted(Record):
    """Something that a person should know: a setting without effect, a skipped image."""

    type: Literal["Noted"] = "Noted"
    level: Literal["info", "warning"]
    message: str


class Prepared(Record):
    """How much there is of ``what`` must be there before the first step; ``total`` is None if
    that is not known."""

    type: Literal["Prepared"] = "Prepared"
    what: str
    done: int = 0
    total: int | None = None


class Recovered(Record):
    """Memory ran out, and the run goes on one step lower; told when the next attempt begins.

    ``attempt`` counts from 1, the one that was given up; ``step`` is how many optimizer steps
    it had done, or had told of before its process died without a word (None: of none). ``kind``
    is the memory: of the device or the host. ``requested`` and ``effective`` have the same config
    keys: what was asked for, and what is trained with from here. ``skipped`` names the rungs with
    nothing to give; ``order`` is what was given up first.
    """

    type: Literal["Recovered"] = "Recovered"
    attempt: int
    step: int | None
    phase: Literal["setup", "train", "val", "evaluation", "unknown"]
    kind: MemoryKind
    cause: str
    action: str
    requested: dict[str, Setting]
    effective: dict[str, Setting]
    skipped: tuple[str, ...] = ()
    order: Order = "batch"


class GpuSample(Record):
    """A GPU over a window of time: mean ``utilization`` (percent) and ``power`` (watts), highest
    ``memory`` in use and its ``total`` (bytes), highest ``temperature`` (degrees Celsius). What
    the card does not tell is None, never 0. ``index`` counts the GPUs that the run may use, as
    CUDA_VISIBLE_DEVICES orders them."""

    index: int
    name: str | None = None
    utilization: float | None = None
    memory: int | None = None
    total: int | None = None
    power: float | None = None
    temperature: float | None = None


class HardwareSampled(Record):
    """What the machine did since the event before, seen by the parent of the training process.

    ``step`` is the optimizer step that it had heard of last; ``samples`` how often it looked, and
    ``seconds`` what that took it, on average. ``cpu`` is the mean load of the training process
    and its loaders in percent of one core, ``host_cpu`` that of the whole machine in percent of
    all its cores; ``rss`` is their highest resident memory, ``memory`` and ``total`` the highest
    use and the size of the host's memory (of its container's, if that is limited); bytes. What is
    not known is None.
    """

    type: Literal["HardwareSampled"] = "HardwareSampled"
    step: int
    samples: int
    seconds: float
    gpus: tuple[GpuSample, ...] = ()
    cpu: float | None = None
    host_cpu: float | None = None
    rss: int | None = None
    memory: int | None = None
    total: int | None = None


class CostsMeasured(Record):
    """What training took, seen by its first process and told when it ends, however early.

    ``seconds`` are those of each epoch that was trained as a whole, by its number; validating and
    saving are left out. ``memory`` is the most until then, in bytes: of the ``device`` what torch
    allocated, of the ``host`` what the training process had resident, without its loaders.
    """

    type: Literal["CostsMeasured"] = "CostsMeasured"
    step: int
    seconds: dict[int, float]
    memory: int
    memory_of: MemoryKind


class FileSaved(Record):
    """A file that the run leaves for people and their tools; ``path`` is relative to the work
    directory. ``facts`` say what was checked of it."""

    type: Literal["FileSaved"] = "FileSaved"
    path: str
    kind: str
    sha256: str
    facts: dict[str, bool | int | float | str] = Field(default_factory=dict)


class RunFinished(Record):
    """The last event. ``best`` is the path of the best checkpoint, if one was saved.

    ``interrupted``: the process was stopped from outside, and the same run may be tried again.
    ``refused``: the input was found wrong before anything was trained, or trained further.
    ``finding`` is the rule whose finding ended it, if one did.
    """

    type: Literal["RunFinished"] = "RunFinished"
    status: Literal["finished", "stopped", "pruned", "failed"]
    reason: str = ""
    best: str | None = None
    interrupted: bool = False
    refused: bool = False
    finding: str = ""


UNFINISHED = RunFinished(
    status="failed", reason="the event stream has no end: the run was interrupted"
)
"""What is said of a run that never said its last word."""

Event = Annotated[
    RunStarted
    | MetricsLogged
    | FreezeReported
    | CheckpointSaved
    | CheckpointRemoved
    | ExpertsObserved
    | Evaluated
    | Noted
    | Prepared
    | Recovered
    | HardwareSampled
    | CostsMeasured
    | FileSaved
    | DataSurveyed
    | MovementObserved
    | PredictionsObserved
    | TracksObserved
    | InputProbed
    | NonfiniteSeen
    | Diagnosed
    | RunFinished,
    Field(discriminator="type"),
]


def best_saved(events: Iterable[Event]) -> str | None:
    """The path of the best checkpoint that they tell of, if there is one and it was kept."""
    bests: dict[str, None] = {}
    for event in events:
        if isinstance(event, CheckpointSaved) and event.best:
            bests.pop(event.checkpoint.path, None)
            bests[event.checkpoint.path] = None
        elif isinstance(event, CheckpointRemoved):
            bests.pop(event.path, None)
    return next(reversed(bests), None)


class Envelope(Record):
    """An event with its place in the stream. ``time`` is Unix seconds in the worker; what the
    parent sees (HardwareSampled) is a stream of its own, in ``hardware.jsonl``."""

    seq: int
    time: float
    event: Event
