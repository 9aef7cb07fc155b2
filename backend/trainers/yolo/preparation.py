"""Everything that is read and checked before anything is trained."""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from backend.core.events import Event, Noted, RunStarted
from backend.core.evidence import DataSurvey, TrainingPlan
from backend.core.exporting import require_packages
from backend.core.records import DatasetInput
from backend.core.trainer import StopSignal
from backend.datasets.pasting import Pasting
from backend.hardware.attempts import ALONE, Part, Where
from backend.nn.finetune.freezing import Snapshot
from backend.scoring.detection.yolo_datafile import read_datafile
from backend.trainers.yolo.dataset import Split, load_split
from backend.trainers.yolo.device import environment, resolve_device
from backend.trainers.yolo.engine import Job
from backend.trainers.yolo.freeze import Plan, declared, make_plan
from backend.trainers.yolo.model import Facts, Prepared, prepare
from backend.trainers.yolo.observing import Observing
from backend.trainers.yolo.pasting import pasting_of, why_off
from backend.trainers.yolo.plan import plan_of, survey_of
from backend.trainers.yolo.progress import FOLDER, Identity, check_same, read_progress
from backend.trainers.yolo.recorder import Recorder
from backend.trainers.yolo.sources import find_model
from backend.trainers.yolo.spec import SPEC, YoloConfig
from backend.trainers.yolo.view import build_view

VIEW = "view"


@dataclass(frozen=True)
class Checked:
    """All that was read and found good. ``state`` is that of an interrupted run; ``notes`` are
    what a person should mend or know, ``remarks`` what is as it should be."""

    config: YoloConfig
    work_dir: Path
    train: Split
    val: Split
    source: Split | None
    prepared: Prepared
    plan: Plan
    identity: Identity
    part: Part
    state: dict[str, Any] | None
    pasting: Pasting | None
    notes: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def view(self) -> Path:
        """The private folder that Ultralytics reads the data from."""
        return self.work_dir / FOLDER / VIEW

    @property
    def images(self) -> int:
        """Images of an epoch."""
        return _images(self.train, self.pasting)

    @property
    def planned(self) -> TrainingPlan:
        """In optimizer steps."""
        shape = "dfl_loss" if self.prepared.network.model[-1].reg_max > 1 else "l1_loss"
        return plan_of(
            self.config,
            self.images,
            _nominal_batch(self.config, self.train),
            ("box_loss", "cls_loss", shape),
            (self.state["epoch"], self.state["step"]) if self.state else (0, 0),
        )

    def survey(self) -> DataSurvey:
        """What the data is."""
        head = self.prepared.network.model[-1].nc
        return survey_of((self.train, self.val), head, self.pasting)

    def started(self) -> RunStarted:
        """The first event."""
        inputs: list[DatasetInput] = [self.train.as_input(), self.val.as_input()]
        if self.source is not None:
            inputs.append(self.source.as_input())
        if self.pasting is not None:
            inputs.extend(self.pasting.inputs)
        return RunStarted(
            trainer=SPEC.kind,
            epochs=self.config.epochs,
            headline=SPEC.headline,
            metrics=SPEC.metrics,
            data=tuple(inputs),
            environment=environment(self.config, resolve_device(self.config.device))
            | ({"tier": self.part.tier} if self.part.tier else {}),
            resumed_from=self.state["epoch"] if self.state else None,
            plan=self.planned,
        )

    def opening(self) -> Iterator[Event]:
        """What is told before anything is trained, but for the data."""
        yield self.started()
        yield from self.part.events
        for note in self.notes:
            yield Noted(level="warning", message=note)
        for remark in self.remarks:
            yield Noted(level="info", message=remark)
        yield declared(self.plan, self.config.optimizer)

    def facts(self) -> Facts:
        """What the run's checkpoints say of themselves, but for epoch, step and metrics."""
        return Facts(
            architecture=self.prepared.source.architecture,
            names=self.train.names,
            nc=len(self.train.names),
            base=self.prepared.base,
            imgsz=self.config.imgsz,
            epoch=0,
            step=0,
            ultralytics=importlib.metadata.version("ultralytics"),
            source=self.prepared.source.sha256,
        )

    def job(self, recorder: Recorder, where: Where, stop: StopSignal, before: Snapshot) -> Job:
        """What the engine needs; builds the view. ``before`` is the network as it came."""
        planned = self.planned.steps
        watching = self.config.diagnostics.observe
        return Job(
            config=self.config,
            work_dir=self.work_dir,
            device=resolve_device(self.config.device),
            network=self.prepared.network,
            data=build_view(self.view, self.train, self.val),
            plan=self.plan,
            before=before,
            identity=self.identity,
            recorder=recorder,
            where=where,
            stop=stop,
            nominal_batch=_nominal_batch(self.config, self.train),
            pasting=self.pasting,
            observing=Observing(recorder, before, planned) if watching else None,
            state=self.state,
        )


def check(config: YoloConfig, work_dir: Path, part: Part = ALONE) -> Checked:
    """Read data, model and interrupted run.

    Raises DataError, CheckpointError, ConfigError or, for a finished run, TrainingError.
    """
    require_packages(SPEC.exports, config.export)
    find_model(config)
    resolve_device(config.device)
    state = read_progress(work_dir)
    data = read_datafile(config.data)
    train, val = load_split(data, "train"), load_split(data, "val")
    source = load_split(read_datafile(config.source), "val") if config.source else None
    prepared = prepare(config, train.names)
    fresh = prepared.report.fresh if prepared.report else ()
    pasting = pasting_of(config, data, train, (val, source) if source else (val,))
    pasted = pasting.digest if pasting else ""
    asked = cast(YoloConfig, part.requested or config)
    identity = Identity(asked, prepared.source.sha256, train.digest, pasted)
    notes = [*train.notes, *val.notes, *prepared.notes]
    notes.extend(_without_effect(config, train))
    notes.extend(pasting.warnings if pasting else ())
    if state is not None:
        notes.extend(check_same(work_dir, state, identity))
    return Checked(
        config=config,
        work_dir=work_dir,
        train=train,
        val=val,
        source=source,
        prepared=prepared,
        plan=make_plan(prepared.network, config.freeze, fresh),
        identity=identity,
        part=part,
        state=state,
        pasting=pasting,
        notes=tuple(notes),
        remarks=pasting.remarks if pasting else tuple(why_off(config)),
    )


def _images(train: Split, pasting: Pasting | None) -> int:
    real = len(train.examples)
    return real + (pasting.made(real) if pasting else 0)


def _without_effect(config: YoloConfig, train: Split) -> list[str]:
    """Settings that do not do what a reader would expect."""
    notes = []
    if config.augment.mosaic > 0 and config.augment.close_mosaic >= config.epochs:
        notes.append(
            f"mosaic is off in every epoch: close_mosaic ({config.augment.close_mosaic}) covers "
            f"all {config.epochs} epochs"
        )
    until = config.freeze.unfreeze_at
    if until is not None and until >= config.epochs:
        notes.append(
            f"freeze.unfreeze_at {until} is not reached in {config.epochs} epochs: what is frozen "
            "stays frozen"
        )
    if config.synthetic.active and config.synthetic.close >= config.epochs:
        notes.append(
            f"nothing is pasted: synthetic.close ({config.synthetic.close}) covers all "
            f"{config.epochs} epochs"
        )
    if _nominal_batch(config, train) < config.optimizer.nbs:
        notes.append(
            f"optimizer.nbs {config.optimizer.nbs} is more than an epoch has images "
            f"({len(train.examples)}); an optimizer step is taken every epoch"
        )
    return notes


def _nominal_batch(config: YoloConfig, train: Split) -> int:
    """At most an epoch's real images, so that every epoch takes an optimizer step, and a step as
    many images whatever is pasted."""
    batches = -(-len(train.examples) // config.batch)
    return min(config.optimizer.nbs, batches * config.batch)
