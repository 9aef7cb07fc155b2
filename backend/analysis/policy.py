"""What a gate asks of a checkpoint, as it is written in YAML."""

from typing import Annotated, Literal

from pydantic import Field

from backend.analysis.settings import ComparisonSettings
from backend.config.schema import Section
from backend.core.comparisons import MetricDelta, Verdict


class Guard(Section):
    """A metric that must not get worse by more than ``max_drop``, whichever way is worse.

    ``metric`` None: the one that decides. ``max_drop`` None: the policy's margin for the metric.
    ``use`` point looks at the measured difference; interval asks that the whole interval lies
    on the good side of the limit, so a drop that the data cannot exclude fails too; verdict
    refuses only what is shown to be worse, which suits classes with few examples. ``per_class``
    guards every class that occurs. ``if_absent`` says what happens where this metric or data
    was not compared.
    """

    metric: str | None = None
    data: Literal["target", "source"] = "target"
    max_drop: float | None = Field(None, ge=0)
    use: Literal["point", "interval", "verdict"] = "point"
    per_class: bool = False
    if_absent: Literal["refuse", "skip"] = "refuse"


class FirstVersion(Section):
    """The rule while a model has no champion. ``minimum`` is of the primary metric."""

    rule: Literal["allow", "refuse"] = "allow"
    minimum: float | None = None


class Policy(Section):
    """What a checkpoint must show to become the champion.

    ``primary`` None: the metric by which the trainer decides. ``margins`` gives a metric a zone
    of equivalence of its own, in its units. A verdict that the permutation test clearly does not
    confirm is refused. ``require_unseen`` asks that no run of the study
    that picked the candidate was trained or validated on the data that the gate scores by;
    if-known refuses only where it is known to be so. ``findings`` refuse: no error-level finding
    in the candidate's run. ``require_frozen_intact`` asks for the run's own proof that frozen
    layers did not change.
    """

    primary: str | None = None
    accept: tuple[Verdict, ...] = Field(("better",), min_length=1)
    min_delta: float | None = Field(None, description="Least measured gain in the primary metric.")
    confidence: float = Field(0.95, ge=0.5, lt=1)
    margin: float = Field(0.01, ge=0)
    margins: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    replicates: int = Field(1000, ge=100)
    seed: int = Field(0, ge=0)
    require_split: str | None = Field("holdout", description="None: any split will do.")
    require_unseen: Literal["always", "if-known", "never"] = "if-known"
    min_units: int = Field(20, ge=1)
    findings: Literal["refuse", "ignore"] = "refuse"
    require_frozen_intact: Literal["always", "if-reported", "never"] = "if-reported"
    guards: tuple[Guard, ...] = (
        Guard(metric="mAP50", max_drop=0.02, if_absent="skip"),
        Guard(data="source", max_drop=0.05, if_absent="skip"),
    )
    first: FirstVersion = FirstVersion()

    def settings(self, primary: str) -> ComparisonSettings:
        """How a comparison for this policy is made; ``primary`` is the trainer's metric."""
        return ComparisonSettings(
            confidence=self.confidence,
            replicates=self.replicates,
            seed=self.seed,
            margin=self.margin,
            margins=self.margins,
            primary=self.primary or primary,
        )

    def margin_of(self, metric: str, delta: MetricDelta) -> float:
        """Half-width of the zone of equivalence; the comparison knows the metric's units."""
        if metric in self.margins:
            return self.margins[metric]
        return self.margin if delta.margin is None else delta.margin
