"""A config made into what the Runner trains."""

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from backend.core.digest import sha256
from backend.core.events import Event, FileSaved
from backend.core.records import EvalReport
from backend.core.trainer import EvalRequest
from backend.core.workdir import write_atomic
from backend.datasets.tracking import survey_tracking
from backend.runner.config import RunnerConfig
from backend.runner.device import resolve_device
from backend.runner.distributed import local_rank, world_size
from backend.runner.seeds import seed_model
from backend.runner.training import Data, Training
from backend.trainers.motrv2 import forgetting
from backend.trainers.motrv2.checkpoint import facts_of, read_checkpoint
from backend.trainers.motrv2.data import ClipSamples, ValidationClips, collate
from backend.trainers.motrv2.data_reading import as_input, read_data
from backend.trainers.motrv2.evaluation import EVALUATION, evaluate, final_events
from backend.trainers.motrv2.evidence import Probe
from backend.trainers.motrv2.freeze_report import Proof, summary_line
from backend.trainers.motrv2.parts import parts_of, rate_notes
from backend.trainers.motrv2.spec import SPEC, Motrv2Config
from backend.trainers.motrv2.validation import Validation
from backend.trainers.motrv2.warmup import Warmup
from backend.trainers.motrv2.weights import Start, confidence_steps, start

LOAD_REPORT = "load_report.json"


def build(config: Motrv2Config, work_dir: Path) -> Training:
    """The training that a config asks for. ``load_report.json`` in the work directory tells what
    became of each tensor of the pretrained file.

    Raises DataError, CheckpointError or ConfigError. What is wrong with data that can be read is
    raised by ``refuse``, after it was told.
    """
    data = read_data(config, ("train", "val"))
    train, val = data.splits
    seed_model(config.seed)
    begun = start(config, train.classes)
    samples = ClipSamples(train, config)
    clips = ValidationClips(val, config)
    learner = begun.learner.to(resolve_device(config.device, world_size()))
    source = None
    if local_rank() == 0:  # the others do not validate
        source = forgetting.before(learner, config, begun.previous_classes, work_dir)
    warmup = Warmup(learner, begun.selection.forced, config.learning.head_warmup_steps)
    return Training(
        spec=SPEC,
        config=config,
        runner=runner_of(config),
        model=learner,
        data=Data(samples, collate, tuple(as_input(split) for split in data.splits)),
        parts=parts_of(begun, config),
        validate=Validation(val, config, clips, source, begun.untrained),
        evaluate=partial(_evaluate_best, config, work_dir),
        facts=facts_of(config, begun.facts, train),
        source=begun.source,
        packages=("torchvision", "scipy"),
        notes=(
            *(note for split in data.splits for note in split.notes),
            *begun.notes,
            *rate_notes(begun, config),
            *_confidence_notes(begun, config, len(samples)),
        ),
        remarks=(*begun.remarks, summary_line(begun, config.freeze.strategy)),
        measured=source.measured if source else {},
        watch=warmup,
        held=warmup.steps,
        survey=partial(survey_tracking, data, len(train.classes)),
        refuse=data.refuse,
        losses=_losses(config),
        loaders=_loaders(),
        probe=Probe(clips),
        tie="val/loss",
        files=_load_report(begun, work_dir),
        prove=Proof(begun, config, work_dir),
    )


def runner_of(config: Motrv2Config) -> RunnerConfig:
    """``config.runner``; several processes must know that a step without tracks or proposals
    gives some parameters no gradient."""
    return config.runner.model_copy(
        update={"unused_parameters": config.runner.unused_parameters or world_size() > 1}
    )


def _losses(config: Motrv2Config) -> tuple[str, ...]:
    parts = ("loss_ce", "loss_bbox", "loss_giou")
    return (*parts, "loss_dn") if config.model.denoising > 0 else parts


def _loaders() -> dict[str, dict[str, str]]:
    """How both losses are taken: alike, but that training draws its clips and what it sees."""
    alike = {"reduction": "sum over frames and layers, per box of the clip; mean over clips"}
    return {"train": alike, "val": alike}


def _load_report(begun: Start, work_dir: Path) -> tuple[FileSaved, ...]:
    """Write what became of the pretrained file, if there is one."""
    report = begun.report
    if report is None:
        return ()
    path = work_dir / LOAD_REPORT
    write_atomic(path, json.dumps(report.as_json(), indent=1) + "\n")
    facts: dict[str, bool | int | float | str] = {
        "loaded": len(report.loaded),
        "mismatched": len(report.mismatched),
        "missing": len(report.missing),
        "unexpected": len(report.unexpected),
    }
    return (FileSaved(path=LOAD_REPORT, kind="load_report", sha256=sha256(path), facts=facts),)


def _confidence_notes(begun: Start, config: Motrv2Config, samples: int) -> Iterator[str]:
    """A warning, if new class heads cannot be sure of anything by the end."""
    runner = config.runner
    together = runner.batch * runner.accumulate * runner.processes
    steps, needed = config.epochs * math.ceil(samples / together), confidence_steps(begun, config)
    if needed > steps:
        yield (
            f"the class heads are new, and need at least {needed:,} steps, all in one direction, "
            f"until a score passes 0.5 and anything is tracked, but there are {steps:,}; raise "
            "runner.optimizer.lr.all, learning.new_lr_mult or epochs"
        )


def _evaluate_best(
    config: Motrv2Config, work_dir: Path, best: Path
) -> tuple[EvalReport, tuple[Event, ...]]:
    """The final evaluation of a run."""
    request = EvalRequest(
        checkpoint=str(best), data=str(config.data), split="val", out=str(work_dir / EVALUATION)
    )
    saved = read_checkpoint(best)
    report = evaluate(saved, request, config, saved.untrained)
    return report, final_events(report, saved.step)
