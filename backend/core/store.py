"""What the dashboard and the command line may ask about the past."""

from collections.abc import Sequence
from typing import Protocol

from backend.core.comparisons import Comparison
from backend.core.diagnosis import Diagnosis
from backend.core.events import Event
from backend.core.experts import ExpertReport
from backend.core.records import (
    Checkpoint,
    PromotionDecision,
    Run,
    Series,
    StudyRecord,
)


class RunStore(Protocol):
    """Reads records. Every method raises StoreError if the database cannot be read."""

    def change_token(self) -> str:
        """A cheap text that differs whenever anything below may have changed."""

    def runs(self) -> list[Run]:
        """All trainings, newest first."""

    def run(self, key: str) -> Run:
        """One training by its key, its unique prefix, its name or its MLflow id.

        Raises StoreError if none or several match.
        """

    def metric_names(self, keys: Sequence[str]) -> list[str]:
        """The metric keys that any of these runs has logged, sorted."""

    def series(self, keys: Sequence[str], metrics: Sequence[str]) -> dict[tuple[str, str], Series]:
        """Curves by (run key, metric), complete, in step order; absent ones are left out."""

    def checkpoints(self, key: str) -> list[Checkpoint]:
        """The checkpoints of a run that still exist, in step order; paths are absolute."""

    def experts(self, key: str) -> list[ExpertReport]:
        """What a run's experts did at each validation, in step order; the one of the final
        evaluation, if there is one, last. Empty for a run without experts."""

    def diagnosis(self, key: str) -> Diagnosis | None:
        """What the rules said of a run last; None if they never looked at it."""

    def evidence(self, key: str) -> tuple[Event, ...]:
        """What a run told of itself beside metrics, checkpoints and experts, in order: its start,
        its data, what moved, what was predicted, recoveries, its end."""

    def studies(self) -> list[StudyRecord]:
        """All studies, newest first."""

    def comparisons(self) -> list[Comparison]:
        """All comparisons, newest first."""

    def promotions(self, model: str | None = None) -> list[PromotionDecision]:
        """All decisions of the gate, newest first."""

    def champions(self) -> dict[str, Checkpoint]:
        """Registered model name to the checkpoint behind its ``champion`` alias."""
