"""``fit``: a Training in, events and checkpoints out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from backend.core.events import (
    DataSurveyed,
    Evaluated,
    Event,
    FreezeGroup,
    FreezeReported,
    MetricsLogged,
    Noted,
    RunStarted,
)
from backend.core.evidence import TrainingPlan
from backend.core.records import Direction
from backend.core.trainer import Emit, StopSignal, TrainOutcome
from backend.hardware.attempts import ALONE, Part, Where, noticing
from backend.nn.finetune.freezing import Snapshot
from backend.nn.finetune.resuming import full_disk_explained
from backend.runner.checkpoints import Keeper
from backend.runner.device import environment, resolve_device
from backend.runner.distributed import joined, world_size
from backend.runner.hooks import BorderHook, StepHook
from backend.runner.loop import TrainLoop
from backend.runner.observing import Observing
from backend.runner.progress import check_same, identity, read_progress, read_start, write_finished
from backend.runner.quiet import QuietRunner
from backend.runner.recorder import Recorder
from backend.runner.seeds import repeatable
from backend.runner.session import Session
from backend.runner.states import START
from backend.runner.training import Point, Training


def fit(
    training: Training, emit: Emit, stop: StopSignal, work_dir: Path, part: Part = ALONE
) -> TrainOutcome:
    """Train, from another run's state if this one begins with that, or continue what was
    interrupted in this work directory.

    Under torchrun each process calls this; the first one speaks, validates and writes. Raises
    ConfigError or CheckpointError before anything is trained, and TrainingError for a finished
    run or if training cannot go on (MemoryRanOutError if it is for that).
    """
    where = Where()
    device = resolve_device(training.config.device, world_size())
    work_dir = work_dir.absolute()
    with (
        joined(device) as ranks,
        repeatable(training.runner.deterministic),
        full_disk_explained(work_dir),
        noticing(where),
    ):
        torch.set_num_threads(training.runner.threads)
        interrupted = read_progress(work_dir)
        state = interrupted or read_start(work_dir)
        now = identity(training, ranks.size, part.requested)
        notes = check_same(work_dir, state, now, training.may_change) if state else ()
        session = Session(training, work_dir, device, ranks, where, now)
        session.warnings += (*training.notes, *notes)
        session.new = interrupted is None
        return _fit(session, state, part, emit if ranks.first else _silent, stop)


def _fit(
    session: Session,
    state: dict[str, Any] | None,
    part: Part,
    emit: Emit,
    stop: StopSignal,
) -> TrainOutcome:
    training, work_dir, ranks = session.training, session.work_dir, session.ranks
    before = Snapshot(session.model, session.frozen)
    if state:
        session.restore(state)
        session.where.step = session.step
    keeper = Keeper(work_dir, emit, training.spec.headline, _direction(training), training.tie)
    for event in _opening(session, part, before, resumed=state is not None):
        emit(event)
    if ranks.first:
        keeper.find(session.step)
        if session.new and state:
            keeper.take_over(work_dir / START)
    _look_at_data(training, emit, new=ranks.first and session.new)
    if reason := _prepare(session, emit, stop):
        return TrainOutcome(status="stopped", best=None, reason=reason)
    asked = _run(session, before, emit, stop, keeper)
    emit(_report(session, "verified", before))
    best = keeper.relative(keeper.chosen.path) if keeper.chosen else None
    _prove(session, emit, best)
    if asked and not session.over:
        return TrainOutcome(status="stopped", best=best, reason=asked)
    session.where.phase = "evaluation"
    if ranks.first:
        assert best is not None  # the last step is always validated
        report, events = training.evaluate(work_dir / best)
        for event in (Evaluated(report=report), *events):
            emit(event)
        write_finished(work_dir, session.step)
    return TrainOutcome(status="finished", best=best, reason=session.ended)


def _run(
    session: Session, before: Snapshot, emit: Emit, stop: StopSignal, keeper: Keeper
) -> str | None:
    """Let the Runner train; the reason for which it was asked to stop, if it was."""
    session.training.watch.began(session.optimization.optimizer)
    recorder = Recorder(session, emit, Observing(session, emit, before))
    border = BorderHook(session, recorder, keeper, stop)
    loop = TrainLoop(session, recorder)
    QuietRunner(session, loop, [StepHook(session, recorder), border]).train()
    if took := session.costs.told(session.step):
        emit(took)
    return border.asked


def _look_at_data(training: Training, emit: Emit, new: bool) -> None:
    """Tell what the data is, if the run is ``new``, then refuse what cannot be trained on."""
    if new and training.survey:
        emit(DataSurveyed(survey=training.survey()))
    if training.refuse:
        training.refuse()


def _prepare(session: Session, emit: Emit, stop: StopSignal) -> str | None:
    """Several processes prepare at the same time, so that none could stop the others."""
    prepare, alone = session.training.prepare, session.ranks.size == 1
    return prepare(emit, stop.reason if alone else lambda: None) if prepare else None


def _prove(session: Session, emit: Emit, best: str | None) -> None:
    prove = session.training.prove
    if prove is None or best is None or not session.ranks.first:
        return
    for event in prove(session.models, session.work_dir / best):
        emit(event)


def _opening(session: Session, part: Part, before: Snapshot, resumed: bool) -> Iterator[Event]:
    """What is told before anything is trained, but for the data."""
    training = session.training
    yield _started(session, part, resumed)
    yield from part.events
    for note in (*session.notes, *training.remarks):
        yield Noted(level="info", message=note)
    for note in session.warnings:
        yield Noted(level="warning", message=note)
    yield from training.files
    if training.measured and session.new:
        epoch = session.length.epoch(session.step + 1)
        yield MetricsLogged(step=session.step, epoch=epoch, metrics=dict(training.measured))
    yield _report(session, "declared", before)


def _started(session: Session, part: Part, resumed: bool) -> RunStarted:
    training = session.training
    return RunStarted(
        trainer=training.spec.kind,
        epochs=training.config.epochs,
        headline=training.spec.headline,
        metrics=training.spec.metrics,
        data=training.data.inputs,
        environment={
            **environment(session.device, training.packages, session.ranks.size),
            **({"tier": part.tier} if part.tier else {}),
        },
        resumed_from=session.point.epoch if resumed else None,
        plan=_plan(session),
    )


def _plan(session: Session) -> TrainingPlan:
    training, length = session.training, session.length
    runner = training.runner
    whole = runner.batch * runner.accumulate * session.ranks.size * length.steps_per_epoch
    due = length.validations(runner.validation.interval, runner.validation.begin)
    return TrainingPlan(
        steps=length.steps,
        steps_per_epoch=length.steps_per_epoch,
        warmup_steps=runner.schedule.warmup(length.steps_per_epoch),
        validations=len({*due, length.steps}),
        first_validation=due[0] if due else None,
        clip=runner.clip,
        losses=training.losses,
        loaders={split: dict(how) for split, how in training.loaders.items()},
        samples_per_epoch=min(len(training.data.samples), whole),
        held=training.held(Point(0, length.steps, 1, length.epochs)),
        settling=training.settling,
    )


def _report(
    session: Session, phase: Literal["declared", "verified"], before: Snapshot
) -> FreezeReported:
    training = session.training
    after = phase == "verified"
    return FreezeReported(
        phase=phase,
        strategy=training.config.freeze.strategy,
        groups=_groups(session),
        frozen_tensors=len(before.frozen),
        changed_tensors=len(before.changed(session.model)) if after else None,
        violations=before.violations(session.models) if after else (),
        notes=training.parts.notes,
    )


def _groups(session: Session) -> tuple[FreezeGroup, ...]:
    parts, rates = session.training.parts, session.training.runner.optimizer.lr
    found: dict[str, dict[str, Any]] = {}
    for name, parameter in session.model.named_parameters():
        part = parts.part_of(name)
        group = found.setdefault(part, {"trainable": 0, "frozen": 0, "always_frozen": 0})
        if parameter.requires_grad:
            group["trainable"] += parameter.numel()
            rate = rates[parts.group_of(name)] * parts.scale_of(name)
            group["lr"] = max(rate, group.get("lr", rate))
        else:
            kind = "always_frozen" if name in session.always else "frozen"
            group[kind] += parameter.numel()
    return tuple(FreezeGroup(name=part, **group) for part, group in found.items())


def _direction(training: Training) -> Direction:
    name = training.spec.headline.partition("/")[2]
    direction = next(m.direction for m in training.spec.metrics if m.name == name)
    assert direction is not None  # the conformance suite asks for it
    return direction


def _silent(event: Event) -> None:
    """The other processes do not speak."""
