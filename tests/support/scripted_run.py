"""A run's work directory with every kind of event, written as a worker would."""

import hashlib
from collections.abc import Sequence

import yaml

from backend.core.events import (
    CheckpointRemoved,
    CheckpointSaved,
    Envelope,
    Evaluated,
    Event,
    ExpertsObserved,
    FreezeGroup,
    FreezeReported,
    MetricsLogged,
    Noted,
    RunFinished,
    RunStarted,
)
from backend.core.records import Checkpoint, DatasetInput, EvalReport, MetricSpec
from backend.core.sinks import JsonlSink
from backend.core.workdir import RunFile, WorkDir, write_atomic, write_json
from backend.tracking.home import Home
from tests.support.expert_reports import report

START = 1_700_000_000.25
STEPS_PER_EPOCH = 5
CONFIG: dict[str, object] = {
    "kind": "toy",
    "name": "scripted",
    "experiment": "assay",
    "epochs": 3,
    "source": None,
    "freeze": {"strategy": "head-only"},
    "optimizer": {"lr0": 1e-05},
}


def make_work(
    home: Home, key: str, *, parent: str = "", tags: dict[str, str] | None = None
) -> WorkDir:
    """A work directory as the launcher prepares it."""
    work = WorkDir(home.work_dir(key))
    work.path.mkdir(parents=True)
    write_atomic(work.config, yaml.safe_dump(CONFIG, sort_keys=False))
    run = RunFile(
        key=key, name="scripted", trainer="toy", trainer_entry="toy:T", config_class="toy:C",
        created=START - 1, tags={"git_sha": "abc123", **(tags or {})}, parent=parent,
    )  # fmt: skip
    write_json(work.run, run.model_dump(mode="json"))
    return work


def save_checkpoint(work: WorkDir, epoch: int, value: float) -> Checkpoint:
    """A weight file (any bytes) and the record of it."""
    path = work.path / "checkpoints" / f"epoch-{epoch}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(f"weights {epoch} {value}".encode())
    return Checkpoint(
        path=f"checkpoints/{path.name}",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        step=epoch * STEPS_PER_EPOCH,
        epoch=epoch,
        metrics={"val/mAP50-95": value, "val/loss": 1 - value},
    )


def started(resumed_from: int | None = None) -> RunStarted:
    """The first event."""
    data = [
        DatasetInput(name="squares", path="/data/squares.yaml", split=split, digest=digest * 64,
                     images=24, instances=48)
        for split, digest in (("train", "a"), ("val", "b"))
    ]  # fmt: skip
    return RunStarted(
        trainer="toy", epochs=3, headline="val/mAP50-95",
        metrics=(MetricSpec(name="mAP50-95", direction="maximize"),), data=tuple(data),
        environment={"python": "3.11", "device": "cpu"}, resumed_from=resumed_from,
    )  # fmt: skip


def frozen(phase: str) -> FreezeReported:
    """Declared and verified, without a violation."""
    groups = (
        FreezeGroup(name="backbone", trainable=0, frozen=90),
        FreezeGroup(name="head", trainable=10, frozen=0, always_frozen=2, lr=0.1),
    )
    return FreezeReported.model_validate(
        {"phase": phase, "strategy": "head-only", "groups": groups, "frozen_tensors": 3}
    )


def epoch_events(work: WorkDir, epoch: int, value: float, best: bool) -> list[Event]:
    """Training steps, a validation, what its experts did, and its checkpoint."""
    first = (epoch - 1) * STEPS_PER_EPOCH
    steps: list[Event] = [
        MetricsLogged(step=first + i, epoch=epoch, metrics={"train/loss": 1 / (first + i)})
        for i in range(1, STEPS_PER_EPOCH + 1)
    ]
    checkpoint = save_checkpoint(work, epoch, value)
    return [
        *steps,
        MetricsLogged(step=checkpoint.step, epoch=epoch, metrics=dict(checkpoint.metrics)),
        ExpertsObserved(report=report(step=checkpoint.step, epoch=epoch)),
        CheckpointSaved(checkpoint=checkpoint, best=best),
    ]


def evaluated(work: WorkDir, epoch: int) -> Evaluated:
    """The final evaluation of an epoch's checkpoint."""
    path = work.path / "checkpoints" / f"epoch-{epoch}.safetensors"
    return Evaluated(
        report=EvalReport(
            task="detection", trainer="toy", data="/data/squares.yaml", split="val",
            checkpoint=hashlib.sha256(path.read_bytes()).hexdigest(), data_digest="b" * 64,
            evaluator="toy 1", units=24, metrics={"mAP50-95": 0.75, "mAP-small": None},
            per_class={"square": {"AP": 0.75}},
        )
    )  # fmt: skip


def all_events(work: WorkDir) -> list[Event]:
    """A whole run: three epochs of which the second is the best and the first is deleted."""
    first, second, third = (
        epoch_events(work, 1, 0.5, best=True),
        epoch_events(work, 2, 0.7, best=True),
        epoch_events(work, 3, 0.6, best=False),
    )
    doomed = work.path / "checkpoints" / "epoch-1.safetensors"
    removed = CheckpointRemoved(
        path="checkpoints/epoch-1.safetensors",
        sha256=hashlib.sha256(doomed.read_bytes()).hexdigest(),
    )
    doomed.unlink()
    odd = {"train/odd": float("nan"), "train/up": float("inf"), "train/down": float("-inf")}
    return [
        started(),
        frozen("declared"),
        Noted(level="warning", message="3 images skipped"),
        *first,
        *second,
        removed,
        MetricsLogged(step=11, epoch=3, metrics=odd),
        *third,
        frozen("verified"),
        evaluated(work, 2),
        ExpertsObserved(report=report(step=10, epoch=2), final=True),
        RunFinished(status="finished", best="checkpoints/epoch-2.safetensors"),
    ]


def write_events(work: WorkDir, events: Sequence[Event], first: int = 0) -> list[Envelope]:
    """Append events to the work directory's file; the envelopes."""
    sink = JsonlSink(work.events)
    envelopes = [
        Envelope(seq=first + i, time=START + (first + i) * 0.125, event=event)
        for i, event in enumerate(events)
    ]
    for envelope in envelopes:
        sink.receive(envelope)
    sink.close()
    work.output.write_text("epoch 1 ...\n", encoding="utf-8")
    return envelopes


def log_run(home: Home, key: str, **facts: str) -> WorkDir:
    """A whole run in its work directory and in MLflow."""
    work = make_work(home, key, **facts)  # type: ignore[arg-type]
    return log_events(home, work, all_events(work))


def log_events(home: Home, work: WorkDir, events: Sequence[Event]) -> WorkDir:
    """These events in a work directory and in MLflow."""
    from backend.tracking.writer import MlflowSink

    sink = MlflowSink(home, work.path)
    for envelope in write_events(work, events):
        sink.receive(envelope)
    sink.close()
    return work
