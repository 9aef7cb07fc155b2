"""What a trainer's author hands to ``fit``: objects and functions, no class to inherit from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer

from backend.config.schema import TrainConfig
from backend.core.events import Event, FileSaved
from backend.core.evidence import DataSurvey
from backend.core.records import DatasetInput, EvalReport
from backend.core.trainer import Emit, TrainerSpec
from backend.runner.config import RunnerConfig
from backend.runner.data import Order, Samples


@dataclass(frozen=True)
class Point:
    """Where training stands: optimizer steps done of ``steps``, and the epoch they lie in."""

    step: int
    steps: int
    epoch: int
    epochs: int


class Watch(Protocol):
    """Looks on and may move buffers; what it does may depend on the point and the model only, or
    a resumed run would differ."""

    def began(self, optimizer: Optimizer) -> None:
        """The optimizer is ready; its hooks see gradients and updates."""

    def stepping(self, point: Point) -> None:
        """The step after ``point`` begins: the place to set a weight that changes with time."""

    def stepped(self, point: Point) -> None:
        """The optimizer has moved the weights, the average has not followed yet."""


class NoWatch:
    """Looks away."""

    def began(self, optimizer: Optimizer) -> None:
        """Nothing."""

    def stepping(self, point: Point) -> None:
        """Nothing."""

    def stepped(self, point: Point) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Data:
    """Training samples (a map-style dataset), how a batch is made of them, and what they are.

    ``order`` gives an epoch's sample indices; None: each once, shuffled.
    """

    samples: Samples
    collate: Callable[[list[Any]], Any]
    inputs: tuple[DatasetInput, ...]
    order: Order | None = None


@dataclass(frozen=True)
class Parts:
    """What trains and how fast, by parameter name.

    ``frozen`` are exact names; parameters that came without ``requires_grad`` stay frozen too,
    and are reported apart. ``part_of`` names the part of the network in reports, by
    default the first word of the name; ``group_of`` the entry of ``optimizer.lr``;
    ``scale_of`` is a factor on that rate.
    """

    frozen: frozenset[str] = frozenset()
    part_of: Callable[[str], str] = lambda name: name.partition(".")[0]
    group_of: Callable[[str], str] = lambda name: "all"
    scale_of: Callable[[str], float] = lambda name: 1.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Validated:
    """Metrics by ``split/name``, and events told after them (what the experts did)."""

    metrics: Mapping[str, float]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Probed:
    """Losses on ``samples`` by part, as they are and with the inputs permuted across samples."""

    split: str
    samples: int
    losses: Mapping[str, float]
    permuted: Mapping[str, float]


@dataclass(frozen=True)
class Training:
    """One training.

    ``model`` is a plain ``nn.Module`` with ``loss(batch)`` (see ``module.Learner``), its
    pretrained weights already in it. ``validate`` gets the model whose checkpoint will be saved
    (the average, if there is one), in evaluation mode and without gradients, and the mean losses
    of the epoch so far; it returns metrics with the spec's headline among them. ``evaluate``
    scores the best checkpoint at the end; its events are told after ``Evaluated``. ``notes``
    are warnings, ``remarks`` are not. ``measured`` are metrics of step 0, such as what the
    network costs. ``facts`` go into each checkpoint and must be JSON; ``source`` tells pretrained
    weights apart when a run is continued.

    For the diagnostics: ``survey`` looks at the data before the first step of a new run;
    ``losses`` and ``loaders`` are told with the plan (``TrainingPlan``); ``probe`` gets the model
    that is saved, in evaluation mode, and how many samples, and takes the validation's loss on
    them as they are and with the inputs permuted.

    ``held`` gets the first point and tells in how many steps only a part of what trains does, as
    its ``watch`` has it; ``settling`` in how many the losses have another scale than later.
    ``refuse`` raises what forbids to train on this data, after the survey was told. ``prepare``
    then makes what must be there before the first step, in every process and again when a run is
    continued; it tells of it, asks whether it is to stop, and returns the reason if so. ``files``
    are what ``build`` left in the work directory. ``prove`` gets every set of weights that
    training moved and the best checkpoint, before it is scored; it leaves proofs for people, told
    as the events that it returns, and raises TrainingError if one fails.

    ``tie`` is a metric key, the lower the better, that decides between checkpoints of the same
    headline value. ``may_change`` are config keys of the trainer's own (sections end in a dot)
    that change no result, so that a continued run may have others.
    """

    spec: TrainerSpec
    config: TrainConfig
    runner: RunnerConfig
    model: nn.Module
    data: Data
    validate: Callable[[nn.Module, Point, Mapping[str, float]], Validated]
    evaluate: Callable[[Path], tuple[EvalReport, tuple[Event, ...]]]
    parts: Parts = field(default_factory=Parts)
    measured: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    source: str = ""
    packages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    watch: Watch = field(default_factory=NoWatch)
    survey: Callable[[], DataSurvey] | None = None
    losses: tuple[str, ...] = ()
    loaders: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    probe: Callable[[nn.Module, int], Probed | None] | None = None
    tie: str = ""
    held: Callable[[Point], int] = lambda first: 0
    refuse: Callable[[], None] | None = None
    prepare: Callable[[Emit, Callable[[], str | None]], str | None] | None = None
    files: tuple[FileSaved, ...] = ()
    prove: Callable[[Mapping[str, nn.Module], Path], tuple[Event, ...]] | None = None
    may_change: tuple[str, ...] = ()
    settling: int = 0
