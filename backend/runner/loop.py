"""The loop that the Runner runs: epochs of optimizer steps, continued at any step."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from backend.core.errors import TrainingError
from backend.runner.mm import BaseLoop, Runner
from backend.runner.module import train_mode
from backend.runner.recorder import Recorder
from backend.runner.seeds import STEP, seed_all
from backend.runner.session import Session


class TrainLoop(BaseLoop):
    """One ``iter`` of the Runner is one optimizer step, so its hooks and schedules count those.

    mmengine's own loops count batches, start a resumed epoch anew and draw other random
    numbers then.
    """

    def __init__(self, session: Session, recorder: Recorder) -> None:
        super().__init__(None, session.stream)
        self._session = session
        self._recorder = recorder
        self.stop_training = False

    @property
    def iter(self) -> int:
        """Optimizer steps done."""
        return self._session.step

    @property
    def max_iters(self) -> int:
        """Optimizer steps in all."""
        return self._session.length.steps

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 1."""
        return self._session.point.epoch

    @property
    def max_epochs(self) -> int:
        """Epochs in all."""
        return self._session.length.epochs

    def attach(self, runner: Runner) -> None:
        """The Runner wants its loop before it is itself."""
        self._runner = runner

    def run(self) -> nn.Module:
        """Train to the end, or until a hook sets ``stop_training``."""
        session, runner = self._session, self._runner
        runner.call_hook("before_train")
        train_mode(session.model)
        while not session.over and not self.stop_training:
            self._run_epoch()
        runner.call_hook("after_train")
        return session.model

    def _run_epoch(self) -> None:
        session = self._session
        done = session.step % session.length.steps_per_epoch
        epoch = session.length.epoch(session.step + 1)
        session.costs.begin(whole=done == 0)
        self._runner.call_hook("before_train_epoch")
        batches = session.stream.iterate(epoch, done, session.device)
        for window in session.stream.windows[done:]:
            self._run_step(batches, window)
            if self.stop_training:
                break
        self._runner.call_hook("after_train_epoch")

    def _run_step(self, batches: Iterator[Any], window: int) -> None:
        session, runner = self._session, self._runner
        session.where.phase, session.where.step = "train", session.step
        runner.call_hook("before_train_iter", batch_idx=session.step)
        session.optimization.begin(window)
        seed = session.training.config.seed
        for place in range(window):
            batch = next(batches)
            self._recorder.feed(batch)
            seed_all(STEP, seed, session.step, place, session.ranks.rank)
            try:
                losses = runner.model.train_step(batch, session.optimization)
            except TrainingError:
                self._recorder.failed()
                raise
            self._recorder.add(losses)
        if session.optimization.left_out:
            self._recorder.forget(window)
        session.step += 1
        runner.call_hook("after_train_iter", batch_idx=session.step - 1)
