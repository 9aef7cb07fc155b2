"""Ask, train, tell, until a study has its number of trials."""

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import optuna
from optuna.trial import TrialState

from backend.analysis.findings import rule_last
from backend.core.errors import StudyError, StudyStoppedError, TrainingError
from studies import _storage
from studies._interrupt import Interrupt
from studies._objective import Objective, TrialInterruptedError, TrialRefusedError

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
MAX_FAILURES = 3
ENOUGH_ALIKE = 3


class Driver:
    """Keeps so many trials running that the study ends with just its number.

    Threads only wait here: each trial trains in a process of its own. Asking and telling is
    done by one thread at a time, because on SQLite two could be given the same queued trial.
    An interrupted trial goes back to the queue; MAX_FAILURES trials that fail one after the
    other by their own fault end the study with StudyError, and so do ENOUGH_ALIKE first ones that
    end by a cause that no trial changes.
    """

    def __init__(
        self, study: optuna.Study, objective: Objective, target: int, after: Callable[[], None]
    ) -> None:
        self._study = study
        self._objective = objective
        self._target = target
        self._after = after
        self._lock = threading.Lock()
        self._running = 0
        self._failures = 0
        self._fatal = ""

    @property
    def _interrupt(self) -> Interrupt:
        return self._objective.interrupt

    def run(self, concurrent: int) -> None:
        """Run to the end. Raises StudyStoppedError, or StudyError if it cannot go on."""
        with self._interrupt.armed(), ThreadPoolExecutor(concurrent) as pool:
            loops = [pool.submit(self._loop) for _ in range(concurrent)]
            try:
                for loop in loops:
                    loop.result()
            except BaseException:
                for training in multiprocessing.active_children():
                    training.kill()
                raise
        if self._fatal:
            raise StudyError(self._fatal)
        if self._interrupt.requested:
            name = self._study.study_name
            raise StudyStoppedError(f"study '{name}' was stopped; the same command continues it")

    def _loop(self) -> None:
        while (trial := self._ask()) is not None:
            state, values, error = TrialState.FAIL, None, None
            try:
                values = self._objective(trial)
                state = TrialState.COMPLETE
            except optuna.TrialPruned:
                state = TrialState.PRUNED
            except TrainingError as raised:
                error = raised
            except BaseException as fatal:
                self._fatal = str(fatal) or type(fatal).__name__
                raise
            finally:
                self._tell(trial, state, values, error)

    def _ask(self) -> optuna.Trial | None:
        with self._lock:
            counted = len(self._study.get_trials(deepcopy=False, states=COUNTED))
            enough = counted + self._running >= self._target or self._exhausted()
            if enough or self._fatal or self._interrupt.requested:
                return None
            self._running += 1
            return self._study.ask()

    def _exhausted(self) -> bool:
        """Is all tried that there is to try?"""
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return self._objective.spec.listed and not waiting

    def _hopeless(self) -> str:
        """Why no trial can help: all so far ended alike, by what no trial changes."""
        counted = self._study.get_trials(deepcopy=False, states=COUNTED)
        causes = {str(trial.user_attrs.get(_storage.CAUSE, "")) for trial in counted}
        if len(counted) < ENOUGH_ALIKE or len(causes) > 1 or causes == {""}:
            return ""
        return (
            f"no trial can help: all {len(counted)} so far end with the same cause, "
            f"{rule_last(causes.pop())}, and nothing that this study searches changes it; correct "
            "it, then the same command continues the study"
        )

    def _tell(
        self, trial: optuna.Trial, state: TrialState, values: Sequence[float] | None,
        error: TrainingError | None,
    ) -> None:  # fmt: skip
        with self._lock:
            self._running -= 1
            told = self._study.tell(trial, values, state=state)
            if isinstance(error, TrialInterruptedError | TrialRefusedError):
                _storage.retry(self._study, told)
            self._failures = self._failures + 1 if state is TrialState.FAIL else 0
            if isinstance(error, TrialRefusedError):
                self._fatal = str(error)
                if not error.kept:
                    return
            self._fatal = self._fatal or self._hopeless()
            if self._failures >= MAX_FAILURES and not self._interrupt.requested:
                self._fatal = f"{MAX_FAILURES} trials in a row failed; the last: {error}"
            self._after()
