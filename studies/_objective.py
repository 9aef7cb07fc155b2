"""One trial: suggestions to overrides, a run, and what it reached."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import optuna

from backend import launch
from backend.catalog import CATALOG, Catalog, kept
from backend.config.compose import flatten
from backend.config.schema import TrainConfig
from backend.core.errors import TrainingError
from backend.core.events import Envelope, RunFinished, RunStarted
from backend.core.sinks import EventSink
from backend.core.trainer import TrainerSpec
from backend.core.workdir import WorkDir
from backend.keeping import keepers
from backend.tracking.home import Home
from studies import _storage
from studies._costs import CostSink
from studies._findings import Doctor, curable
from studies._interrupt import Interrupt
from studies._pruning import PruningSink
from studies._reached import CheckpointSink
from studies._spec import Params, StudySpec

FEATURES = "reuse.folder"
Watch = Callable[[int, dict[str, object], WorkDir], Sequence[EventSink]]


def no_watch(number: int, overrides: dict[str, object], work: WorkDir) -> Sequence[EventSink]:
    """Nobody looks on."""
    return ()


class Started:
    """Tells once that the training has really begun."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def receive(self, envelope: Envelope) -> None:
        if isinstance(envelope.event, RunStarted):
            self._tell()

    def close(self) -> None:
        """Nothing to release."""


def shared_features(base: TrainConfig, home: Home, study: str) -> Params:
    """Where features are kept that several trials would compute alike, if the trainer keeps any
    and the config does not say where. It is no part of the base, for a home may be moved."""
    if base.flat().get(FEATURES) != "":
        return {}
    return {FEATURES: str(_storage.features_folder(home, study))}


class TrialInterruptedError(TrainingError):
    """The training was stopped or killed; the trial is worth trying again."""


class TrialRefusedError(TrainingError):
    """The input is wrong, and would be for every other trial; nothing was trained.

    ``kept``: its run tells why.
    """

    kept = False


class TrialHopelessError(TrialRefusedError):
    """A rule ended the trial before its first step, and would end every other one."""

    kept = True


@dataclass(frozen=True)
class Objective:
    """Trains one trial and returns its value of each objective.

    Of one objective that is the best value seen; of several those of the best checkpoint.
    Raises TrialPruned, TrialInterruptedError, TrialRefusedError, or TrainingError with the
    training's own reason.
    """

    home: Home
    study: str
    spec: StudySpec
    base: TrainConfig
    trainer: TrainerSpec
    metrics: tuple[str, ...]
    workers: launch.Workers
    interrupt: Interrupt
    catalog: Catalog = field(default_factory=lambda: CATALOG)
    watch: Watch = no_watch
    started: Callable[[], None] = lambda: None

    def __call__(self, trial: optuna.Trial) -> tuple[float, ...]:
        overrides = self.spec.suggest(trial, self.trainer, self.base)
        name = f"{self.study}/{trial.number}"
        shared = shared_features(self.base, self.home, self.study)
        config = self.base.replace({**shared, **overrides, "name": name})
        config = kept(config, self.trainer, flatten(overrides))
        tags = {"study": self.study, "trial": str(trial.number)}
        work = launch.prepare(self.home, config, self.trainer, tags=tags, parent=self.study)
        reached, doctor, took = self._reader(trial, work), Doctor(), CostSink()

        def sinks() -> list[EventSink]:
            looking_on = self.watch(trial.number, overrides, work)
            return [
                reached,
                doctor,
                took,
                *looking_on,
                *keepers(self.home, work),
                Started(self.started),
            ]

        trial.set_user_attr(_storage.RUN, work.path.name)
        with self.interrupt.covers(work):
            finished = launch.supervise(work, sinks, self.workers)
        trial.set_user_attr(_storage.COSTS, took.costs.model_dump())
        self._diagnose(trial, doctor, finished, overrides)
        if finished.status == "pruned":
            raise optuna.TrialPruned(finished.reason)
        if finished.status == "stopped":
            raise TrialInterruptedError(f"trial {trial.number}: {finished.reason}")
        if finished.refused:
            raise TrialRefusedError(finished.reason)
        if finished.status == "failed":
            trial.set_user_attr("note", finished.reason[:500])
            error = TrialInterruptedError if finished.interrupted else TrainingError
            raise error(f"trial {trial.number}: {finished.reason}")
        if reached.values is None:
            missing = " and ".join(reached.missing)
            raise TrainingError(f"trial {trial.number} never reported {missing}")
        return reached.values

    def _reader(self, trial: optuna.Trial, work: WorkDir) -> PruningSink | CheckpointSink:
        if len(self.metrics) > 1:
            return CheckpointSink(trial, self.metrics)
        return PruningSink(trial, self.metrics[0], work)

    def _diagnose(
        self, trial: optuna.Trial, doctor: Doctor, finished: RunFinished, overrides: Params
    ) -> None:
        """Remember what was wrong. Raises TrialPruned or TrialHopelessError if it ended it."""
        helpless = not curable(overrides, self.trainer)
        if helpless and (cause := doctor.blind_cause()):
            trial.set_user_attr(_storage.CAUSE, cause)
        if not finished.finding:
            return
        named = doctor.named(finished.finding)
        trial.set_user_attr(_storage.FINDING, named)
        trial.set_user_attr("note", finished.reason[:500])
        if finished.finding.startswith("D") and helpless:
            raise TrialHopelessError(
                f"no trial can help: {finished.reason.rstrip('.')}; nothing that study "
                f"'{self.study}' searches changes the data, so correct it, then the same command "
                "continues the study"
            )
        raise optuna.TrialPruned(finished.reason)
