"""The nouns that are read: frozen, and JSON on disk.

Non-finite numbers are written as the strings ``NaN``, ``Infinity`` and ``-Infinity``, so
every file is strict JSON.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Direction = Literal["maximize", "minimize"]
RunStatus = Literal["running", "finished", "stopped", "pruned", "failed"]
MemoryKind = Literal["device", "host"]


class Record(BaseModel):
    """A frozen value with a JSON form."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class MetricSpec(Record):
    """A metric that a trainer reports. ``name`` is the key without its split.

    ``direction`` None: neither higher nor lower is better. ``unit`` is empty for a share.
    """

    name: str
    direction: Direction | None
    unit: str = ""
    description: str = ""


class DatasetInput(Record):
    """One split of a dataset as a run saw it. ``digest``: sha256 over images and labels."""

    name: str
    path: str
    split: str
    digest: str
    images: int
    instances: int


class Checkpoint(Record):
    """Weights without pickled code, and the facts needed to use them.

    ``path`` is relative to the run's work directory in events and absolute elsewhere;
    ``run`` is the key of the run that wrote it (empty for a file from elsewhere).
    ``metrics`` are those of the validation at ``step``.
    """

    path: str
    sha256: str
    step: int
    epoch: int
    run: str = ""
    metrics: dict[str, float] = {}
    model_id: str = ""


class Run(Record):
    """One training as the tracking store remembers it.

    ``key`` names the work directory and never changes; ``mlflow_run_id`` does when a run is
    replayed. ``metrics`` holds the last value of each key, ``best`` the value at the best
    checkpoint (keys without a split: of its final evaluation). Times are Unix seconds.
    """

    key: str
    mlflow_run_id: str
    name: str
    trainer: str
    status: RunStatus
    started: float
    ended: float | None = None
    study: str = ""
    trial: int | None = None
    params: dict[str, str] = {}
    metrics: dict[str, float] = {}
    best: dict[str, float] = {}
    best_epoch: int | None = None
    epochs: int | None = None
    headline: str = ""
    reason: str = ""
    tags: dict[str, str] = {}
    work_dir: str = ""


class Series(Record):
    """One metric of one run over its training; all tuples have the same length."""

    steps: tuple[int, ...]
    values: tuple[float, ...]
    times: tuple[float, ...]


class EvalReport(Record):
    """Scores of one checkpoint on one split.

    ``checkpoint`` is the file's path. ``predictions`` and ``ground_truth`` are files (COCO, for
    detection) that hold what the scores were computed from, so that a paired comparison can
    resample ``units``.
    ``evaluator`` names code and version; reports of different evaluators are not compared.
    ``settings`` are what else changes the numbers (image size, confidence floor ...).
    ``evidence`` is the file of matches per unit (``scoring.tasks.load_evidence``).
    """

    task: str
    trainer: str
    checkpoint: str
    data: str
    split: str
    data_digest: str
    evaluator: str
    settings: dict[str, str] = {}
    classes: tuple[str, ...] = ()
    unit: str = "image"
    units: int
    metrics: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]] = {}
    predictions: str = ""
    ground_truth: str = ""
    evidence: str = ""
    warnings: tuple[str, ...] = ()


class Finding(Record):
    """Something wrong with a run, as a rule found it. ``action`` says what to do next."""

    rule: str
    severity: Literal["info", "warning", "error"]
    message: str
    step: int | None = None
    action: str = ""


class PromotionDecision(Record):
    """What the gate said and why.

    ``evidence`` is the comparison's key, empty for a first version. ``version`` is what the
    checkpoint became, ``previous`` the champion that it was judged against. ``by`` is who asked
    (user@host) and ``because`` their reason to force it. ``digests`` are the sha256 of
    ``checkpoint`` and ``champion``, of the data judged on (``target``, ``source``), and of what
    the candidate was trained on (``train``, ``val``), as far as they are known.
    """

    key: str
    created: float
    model: str
    checkpoint: Checkpoint
    policy: dict[str, object]
    evidence: str
    promote: bool
    forced: bool = False
    reasons: tuple[str, ...]
    version: str = ""
    previous: str = ""
    by: str = ""
    because: str = ""
    digests: dict[str, str] = {}


class Costs(Record):
    """What a training took; None is not known. ``trainable`` counts parameters, ``seconds`` are
    those of an epoch (the median) without validation, ``memory`` is the most in bytes, of what
    ``memory_of`` says (see ``events.CostsMeasured``)."""

    trainable: int | None = None
    seconds: float | None = None
    memory: int | None = None
    memory_of: MemoryKind | None = None


class TrialRecord(Record):
    """One Optuna trial; ``run`` is the key of its run. ``params`` as suggested. ``finding`` is the
    rule and its title, if one ended it. ``values`` are those of all objectives if there are
    several, at the same checkpoint; ``value`` is the first. ``costs`` are of its training."""

    number: int
    state: Literal["running", "complete", "pruned", "failed", "waiting"]
    value: float | None
    values: tuple[float, ...] = ()
    params: dict[str, float | int | str | bool | None]
    run: str = ""
    started: float | None = None
    ended: float | None = None
    note: str = ""
    finding: str = ""
    costs: Costs = Costs()


class StudyObjective(Record):
    """A metric that a study searches by. ``importances`` is None until it is defined."""

    metric: str
    direction: Direction
    importances: dict[str, float] | None = None


class StudyRecord(Record):
    """An Optuna study as projected for reading. ``importances`` is None until it is defined.

    ``objectives`` are all of several ones; ``metric``, ``direction`` and ``importances`` are the
    first's. Then no trial is the best: ``front`` are the completed trials that no other one
    dominates (Pareto), the best in the first objective first.
    """

    name: str
    metric: str
    direction: Direction
    target: int
    trials: tuple[TrialRecord, ...]
    importances: dict[str, float] | None = None
    best: int | None = None
    description: str = ""
    objectives: tuple[StudyObjective, ...] = ()
    front: tuple[int, ...] = ()

    @property
    def aims(self) -> tuple[StudyObjective, ...]:
        """All objectives, also if there is only one."""
        only = StudyObjective(
            metric=self.metric, direction=self.direction, importances=self.importances
        )
        return self.objectives or (only,)

    @property
    def picked(self) -> tuple[int, ...]:
        """The trials that the study chose from all: the best one, or those on the front."""
        return self.front if self.best is None else (self.best,)
