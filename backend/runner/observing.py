"""What a training shows of itself besides its metrics, by ``config.diagnostics``.

Only the first process looks on, and nothing in here is done by several together. What is seen is
not part of the run's state: after a resume it starts anew.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from backend.core.events import InputProbed, MovementObserved, NonfiniteSeen
from backend.core.trainer import Emit
from backend.nn.finetune.freezing import Snapshot
from backend.nn.observing.gradients import CLIPPED, GLOBAL, StepObserver
from backend.nn.observing.movement import Movement
from backend.nn.observing.nonfinite import (
    lost_gradient,
    lost_input,
    lost_parameter,
    lost_part,
    names_of,
)
from backend.nn.observing.probing import affordable, probe_due, undisturbed
from backend.runner.module import TOTAL, train_mode
from backend.runner.session import Session

Where = Literal["input", "loss", "gradient", "parameter", "metric"]


class Observing:
    """Looks on while a session trains.

    On the CPU each loss is checked at once, so that the input, the parameter or the gradient that
    was lost first can still be found; on a GPU, which that would hold up, the part of the loss
    and the samples are known all the same.
    """

    def __init__(self, session: Session, emit: Emit, start: Snapshot) -> None:
        self._session = session
        self._emit = emit
        self._seen: MovementObserved | None = None
        self._lost: NonfiniteSeen | None = None
        self._searched = False
        self._told = False
        self._probed = False
        self._batch: Any = None
        self._names: tuple[str, ...] = ()
        self._names_before: tuple[str, ...] = ()
        diagnostics = session.training.config.diagnostics
        self.on = diagnostics.observe and session.ranks.first
        if not self.on:
            return
        model, optimizer = session.model, session.optimization.optimizer
        part_of = session.training.parts.part_of
        self._steps = StepObserver(model, optimizer, part_of, diagnostics.every)
        self._movement = Movement(
            model, optimizer, session.frozen, part_of, start, since=session.step
        )
        session.optimization.onlooker = self

    def stepping(self) -> None:
        """A step begins."""
        if self.on:
            self._steps.begin(self._session.step + 1)
            self._names, self._names_before = (), self._names

    def feed(self, batch: Any) -> tuple[str, ...]:
        """A batch comes next; the names of its samples, if it has any."""
        if not self.on:
            return ()
        names = names_of(batch)
        self._batch, self._names = batch, self._names + names
        return names

    def loss(self, loss: Tensor) -> None:
        """A batch's loss, before its gradient is taken."""
        if loss.device.type != "cpu" or self._searched or math.isfinite(loss):
            return
        self._search()

    def gradients(self, norm: Tensor | None) -> None:
        """The gradient is complete and not yet clipped. In float16 one that overflows is no
        matter: the step is left out."""
        self._steps.gradients()
        amp = self._session.training.runner.amp
        if norm is None or norm.device.type != "cpu" or amp == "float16" or self._searched:
            return
        if not math.isfinite(norm):
            self._searched = True
            name = lost_gradient(self._session.model) or "all"
            self._note("gradient", name, self._names)

    def metrics(self) -> dict[str, float]:
        """Gradients and updates since the last call."""
        if not self.on:
            return {}
        found = self._steps.collect()
        optimization = self._session.optimization
        if optimization.norm is not None:
            found.pop(GLOBAL, None)  # the newest step's is known
        if optimization.clipped:
            found[CLIPPED] = float(torch.stack(optimization.clipped).double().mean())
        optimization.clipped.clear()
        return found

    def validating(self) -> None:
        """A validation begins: what moved by now, and in which mode?"""
        if self.on:
            self._seen = self._movement.look(self._session.step)

    def validated(self, metrics: Mapping[str, float]) -> None:
        """A validation is over, its metrics are told: what moved, and is the input used?"""
        if not self.on:
            return
        for key, value in metrics.items():
            if not math.isfinite(value):
                self._tell(NonfiniteSeen(step=self._session.step, where="metric", name=key))
        if self._seen:
            self._emit(self._seen)
        self._probe()

    def forgive(self) -> None:
        """A step whose gradient is no number was left out, as the config allows."""
        self._lost, self._searched = None, False

    def lost(self, losses: Mapping[str, Tensor] | None, step: int, names: tuple[str, ...]) -> None:
        """Training ends because a number was lost: tell where. ``losses`` are those of the first
        batch whose loss is none, if this process has it."""
        if not self.on:
            return
        part = lost_part(losses, TOTAL) if losses else None
        self._tell(
            self._lost or NonfiniteSeen(step=step, where="loss", name=part or TOTAL, samples=names)
        )

    def failed(self) -> None:
        """A batch ended the run with an error: was that for a number that was lost before?"""
        if self.on and not self._searched:
            self._search()
        if self._lost:
            self._tell(self._lost)

    def _search(self) -> None:
        self._searched = True
        if name := lost_input(self._batch):
            self._note("input", name, names_of(self._batch))
        elif name := lost_parameter(self._session.model):
            self._note("parameter", name, self._names_before)

    def _note(self, where: Where, name: str, samples: tuple[str, ...]) -> None:
        step = self._session.step + 1
        self._lost = NonfiniteSeen(step=step, where=where, name=name, samples=samples)

    def _tell(self, seen: NonfiniteSeen) -> None:
        if not self._told:
            self._emit(seen)
        self._told = True

    @torch.no_grad()
    def _probe(self) -> None:
        session = self._session
        probe, samples = session.training.probe, session.training.config.diagnostics.probe
        due = probe_due(session.step, session.length.steps, self._probed)
        if probe is None or samples == 0 or not due:
            return
        self._probed = True
        runner = session.training.runner
        trained = session.length.steps * runner.batch * runner.accumulate
        model = session.saved_model
        with undisturbed(session.device):
            model.eval()
            seen = probe(model, affordable(samples, trained))
            if model is session.model:
                train_mode(model)
        if seen is not None:
            self._emit(
                InputProbed(
                    step=session.step,
                    split=seen.split,
                    samples=seen.samples,
                    losses=dict(seen.losses),
                    permuted=dict(seen.permuted),
                )
            )
