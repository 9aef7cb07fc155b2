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
from backend.nn.device import facts_of
from backend.nn.finetune.freezing import Snapshot
from backend.scoring.detection.yolo_datafile import read_datafile
from backend.trainers.yolo.dataset import Split, load_split
from backend.trainers.yolo.device import resolve_device
from backend.trainers.yolo.engine import Job
from backend.trainers.yolo.freeze import Plan, declared, make_plan
from backend.trainers.yolo.model import Facts, Prepared, prepare
from backend.trainers.yolo.observing import Observing
from backend.trainers.yolo.pasting import pasting_of, why_off
from backend.trainers.yolo.plan import nominal_batch, plan_of, survey_of, without_effect
from backend.trainers.yolo.progress import FOLDER, Identity, check_same, read_progress
from backend.trainers.yolo.recorder import Recorder
from backend.trainers.yolo.sources import find_model
from backend.trainers.yolo.spec import SPEC, YoloConfig
from backend.trainers.yolo.view import build_view

VIEW = "view"
PACKAGES = ("torch", "torchvision", "ultralytics", "numpy", "pycocotools")


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
        real = len(self.train.examples)
        return real + (self.pasting.made(real) if self.pasting else 0)

    @property
    def planned(self) -> TrainingPlan:
        """In optimizer steps."""
        shape = "dfl_loss" if self.prepared.network.model[-1].reg_max > 1 else "l1_loss"
        return plan_of(
            self.config,
            self.images,
            nominal_batch(self.config, self.train),
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
            environment=self._environment(),
            resumed_from=self.state["epoch"] if self.state else None,
            plan=self.planned,
        )

    def _environment(self) -> dict[str, str]:
        device = resolve_device(self.config.device)
        tier = {"tier": self.part.tier} if self.part.tier else {}
        return facts_of(device, PACKAGES, self.config.threads) | tier

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
            nominal_batch=nominal_batch(self.config, self.train),
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
    notes.extend(without_effect(config, train))
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
