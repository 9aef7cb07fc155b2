"""What happens around an optimizer step, as hooks of the Runner."""

from typing import Any

from backend.core.trainer import StopSignal
from backend.runner.checkpoints import Keeper, Measured
from backend.runner.mm import Hook, Runner
from backend.runner.recorder import Recorder
from backend.runner.session import Session
from backend.runner.training import Validated


class StepHook(Hook):
    """Tells who watches, and averages the weights."""

    priority = "NORMAL"

    def __init__(self, session: Session, recorder: Recorder) -> None:
        self._session = session
        self._recorder = recorder

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The step begins."""
        self._recorder.stepping()
        self._session.training.watch.stepping(self._session.point)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """The weights have moved: what follows them, then their average."""
        session = self._session
        session.training.watch.stepped(session.point)
        if session.ema:
            session.ema.update(session.model)


class BorderHook(Hook):
    """Logs, validates, saves and stops where that is due; after the schedules have moved."""

    priority = "VERY_LOW"

    def __init__(
        self, session: Session, recorder: Recorder, keeper: Keeper, stop: StopSignal
    ) -> None:
        self._session = session
        self._recorder = recorder
        self._keeper = keeper
        self._stop = stop
        self.asked: str | None = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """A step is done: what is due now?"""
        session, config = self._session, self._session.training.runner
        step, due = session.step, session.length.due
        last = step == session.length.steps
        validation = config.validation
        validates = last or due(step, validation.interval, validation.begin)
        border = validates or due(step, 1)
        wanted = due(step, config.checkpoints.interval)
        resumable = border or wanted or due(step, config.checkpoints.resume_interval)
        measured: dict[str, float] = {}
        if border or wanted or step == 1 or step % config.log_interval == 0:
            measured = self._log(validates)
        if resumable:
            session.costs.pause()
            self._ask(measured)
        if due(step, 1):
            session.costs.end(session.point.epoch)
        if session.ranks.first and (validates or wanted or self.asked):
            self._checkpoint(measured, wanted)
        if resumable:
            self._recorder.settle()
            keeps = wanted and config.checkpoints.keep_states and due(step, 1)
            session.save(self._keeper.files if keeps else None)
            self._keeper.prune()
        session.costs.go_on()
        runner.train_loop.stop_training = bool(self.asked or session.ended)

    def _log(self, validates: bool) -> dict[str, float]:
        """Losses are checked before anything is validated or saved."""
        ranks = self._session.ranks
        losses = self._recorder.settle()
        validated = Validated({})
        if validates and ranks.first:
            self._session.costs.pause()
            validated = self._recorder.validate(losses)
        self._recorder.log(losses, validated)
        return ranks.agree(dict(validated.metrics)) if validates else {}

    def _ask(self, measured: dict[str, float]) -> None:
        """Are we to stop, or is there no use in going on? The first process decides."""
        session = self._session
        if session.ranks.first:
            self.asked = self._stop.reason()
            if measured:
                self._wait(measured)
        self.asked, session.ended = session.ranks.agree((self.asked, session.ended))

    def _wait(self, measured: dict[str, float]) -> None:
        session, patience = self._session, self._session.training.runner.validation.patience
        session.waited = 0 if self._keeper.improves(measured) else session.waited + 1
        if patience and session.waited >= patience and session.step < session.length.steps:
            headline = session.training.spec.headline
            session.ended = f"no better {headline} in {patience} validations"

    def _checkpoint(self, measured: dict[str, float], wanted: bool) -> None:
        session = self._session
        point = session.point
        facts = Measured(
            step=point.step, epoch=point.epoch, metrics=measured, ema=session.ema is not None
        )
        weights = session.saved_model.state_dict()
        self._keeper.save(weights, session.training.facts, facts, wanted)
