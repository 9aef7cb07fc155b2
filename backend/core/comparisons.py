"""What is said of two or more models: differences, their intervals and verdicts; frozen."""

from typing import Literal

from pydantic import Field

from backend.core.records import Checkpoint, Direction, EvalReport, Record

Verdict = Literal["better", "worse", "equivalent", "undecided"]


class MetricDelta(Record):
    """Candidate minus baseline for one metric, with a paired bootstrap interval.

    ``wins`` is the share of replicates in which the candidate is strictly better (ties count
    half). ``low`` and ``high`` bound the difference at the comparison's confidence, by the
    method that ``interval`` names. ``p_value`` is of the two-sided paired permutation test.
    ``needed`` is about how many units would decide, at the spread seen here; None if these do.
    Fields are None where a metric is undefined (a class without ground truth). ``unit`` is that
    of the metric: empty for a share.
    """

    name: str
    direction: Direction
    baseline: float | None
    candidate: float | None
    delta: float | None
    low: float | None
    high: float | None
    wins: float | None
    verdict: Verdict
    margin: float | None = None
    interval: str = ""
    p_value: float | None = None
    needed: int | None = None
    unit: str = ""


class UnitDelta(Record):
    """One unit (image, sequence, video, clip) under both models."""

    unit: str
    baseline: float | None
    candidate: float | None
    delta: float


class Picture(Record):
    """A drawing of one unit under both models. ``path`` is an image file; ``key`` its place
    among all, such as ``gallery/03.jpg``."""

    unit: UnitDelta
    key: str
    path: str


class Change(Record):
    """Something besides the weights that differs between both sides; None: not set or unknown."""

    kind: Literal["config", "data", "code", "environment"]
    name: str
    baseline: str | None
    candidate: str | None


class LayerChange(Record):
    """How far one layer's weights moved.

    ``relative`` is ``|new - old|_2 / |old|_2`` over the layer's tensors of equal shape;
    None where nothing could be compared. ``buffers`` is the number of tensors that are kept
    without being trained (batch norm's running mean), ``buffers_moved`` the names of those that
    differ. ``identical``: every weight and buffer is equal to the bit.
    """

    layer: str
    parameters: int
    relative: float | None
    note: str = ""
    buffers: int = 0
    buffers_moved: tuple[str, ...] = ()
    identical: bool = False


class Selection(Record):
    """How a checkpoint was picked: as the best of ``trials`` trials of ``study``."""

    study: str
    trials: int
    metric: str


class Contender(Record):
    """One side of a comparison: a checkpoint, or a file of predictions in its place.

    ``data`` are the digests of what it was trained and validated on, by split; ``environment``
    holds package versions and ``code`` the commit. ``steps`` are the optimizer steps that it was
    trained for, also after it was best; None if not known.
    """

    label: str
    checkpoint: Checkpoint
    trainer: str
    params: dict[str, str] = Field(default_factory=dict)
    data: dict[str, str] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)
    code: str = ""
    selection: Selection | None = None
    steps: int | None = None


class DataComparison(Record):
    """Both sides scored on one split of one dataset.

    ``per_class`` is of ``class_metric``. ``errors`` is what each kind of error costs either
    side in AP at IoU 0.5; ``per_unit`` holds the units that got better or worse most, by
    ``unit_metric``, best first.
    """

    role: Literal["target", "source"]
    data: str
    split: str
    data_digest: str
    evaluator: str
    unit: str
    units: int
    metrics: tuple[MetricDelta, ...]
    per_class: tuple[MetricDelta, ...] = ()
    class_metric: str = ""
    errors: tuple[MetricDelta, ...] = ()
    per_unit: tuple[UnitDelta, ...] = ()
    unit_metric: str = ""
    pictures: tuple[Picture, ...] = ()
    baseline_report: EvalReport
    candidate_report: EvalReport


class Comparison(Record):
    """Old versus new on the same data, by the same code, today.

    ``target`` decides; ``source`` (optional) measures forgetting. ``margin`` is the half-width
    of the zone in which two models count as equivalent, in units of the metric. ``family``
    holds all candidates where the baseline was compared with several at once.
    """

    key: str
    created: float
    baseline: Contender
    candidate: Contender
    primary: str
    confidence: float
    margin: float
    replicates: int
    permutations: int = 0
    seed: int
    target: DataComparison
    source: DataComparison | None = None
    weights: tuple[LayerChange, ...] = ()
    changes: tuple[Change, ...] = ()
    family: "Family | None" = None
    warnings: tuple[str, ...] = ()

    @property
    def headline(self) -> MetricDelta:
        """The primary metric on the target data."""
        return next(m for m in self.target.metrics if m.name == self.primary)


class FamilyMember(Record):
    """One of several candidates against the baseline.

    ``low`` and ``high`` hold for all members at once, and ``p_value`` is adjusted for their
    number; all are None where there is no spread to go by.
    """

    label: str
    value: float | None
    delta: float | None
    low: float | None
    high: float | None
    p_value: float | None
    verdict: Verdict


class Family(Record):
    """Several candidates against one baseline in one metric, from shared resamples.

    ``baseline_value`` is the baseline's metric; ``margin`` is in units of the metric.
    """

    task: str
    metric: str
    direction: Direction
    baseline: str
    baseline_value: float | None
    confidence: float
    margin: float
    replicates: int
    seed: int
    units: int
    members: tuple[FamilyMember, ...]
    warnings: tuple[str, ...] = ()


class RecipeSide(Record):
    """The runs of one recipe: the metric of each seed, and their interquartile mean.

    ``low`` and ``high`` hold for other seeds and other units; None where seeds are too few.
    """

    values: tuple[float, ...]
    iqm: float
    low: float | None
    high: float | None


class RecipeComparison(Record):
    """Two ways to train, each run with several seeds, scored on the same units.

    ``delta`` is candidate minus baseline of the interquartile means; ``improvement`` is the
    chance that a run of the candidate beats one of the baseline (ties count half). Bounds hold
    for other seeds and other units; None where seeds are too few.
    """

    task: str
    metric: str
    direction: Direction
    baseline: RecipeSide
    candidate: RecipeSide
    delta: float
    low: float | None
    high: float | None
    improvement: float
    improvement_low: float | None
    improvement_high: float | None
    verdict: Verdict
    confidence: float
    margin: float
    replicates: int
    seed: int
    units: int
    warnings: tuple[str, ...] = ()
