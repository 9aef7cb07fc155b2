"""How a comparison is judged."""

from typing import Annotated

from pydantic import Field

from backend.analysis.intervals import Method
from backend.config.schema import Section
from backend.scoring.evidence import Task


class ComparisonSettings(Section):
    """How a comparison is judged.

    ``margin`` is the half-width of the zone in which two models count as equivalent, for
    metrics that are shares; one that is out of 100 takes a hundred times it, and counts (of
    identity switches, of pixels) take none. ``margins`` sets a metric's own, in its units.
    ``primary`` is the metric that decides; empty: the task's. ``permutations`` 0: no p-values;
    there is none either where fewer than 20 units carry ground truth, since a reader takes a
    p-value for more than so few can say.
    """

    confidence: float = Field(0.95, ge=0.5, lt=1)
    replicates: int = Field(1000, ge=100)
    permutations: int = Field(999, ge=0)
    seed: int = Field(0, ge=0)
    margin: float = Field(0.01, ge=0, allow_inf_nan=False)
    margins: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field({})
    primary: str = ""
    interval: Method = "bca"

    def margin_of(self, task: Task, metric: str) -> float:
        """Half-width of the zone of equivalence, in the metric's own units."""
        if metric in self.margins:
            return self.margins[metric]
        unit = next((spec.unit for spec in task.metrics if spec.name == metric), "")
        return self.margin * {"": 1.0, "%": 100.0}.get(unit, 0.0)


DEFAULTS = ComparisonSettings()
