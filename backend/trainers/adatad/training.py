"""A config made into what the Runner trains."""

import json
import math
from functools import partial
from pathlib import Path

from backend.core.digest import sha256
from backend.core.errors import DataError
from backend.core.events import Event, FileSaved
from backend.core.records import EvalReport
from backend.core.trainer import EvalRequest
from backend.core.workdir import write_atomic
from backend.datasets.temporal import TemporalData
from backend.runner.device import resolve_device
from backend.runner.distributed import world_size
from backend.runner.seeds import seed_model
from backend.runner.training import Data, Training
from backend.trainers.adatad.batch import collate
from backend.trainers.adatad.checkpoint import facts_of, read_checkpoint
from backend.trainers.adatad.data import DrawnWindows, read_data
from backend.trainers.adatad.data_survey import survey
from backend.trainers.adatad.evaluation import EVALUATION, evaluate
from backend.trainers.adatad.evidence import Probe
from backend.trainers.adatad.loading import LoadReport
from backend.trainers.adatad.model.losses import MOMENTUM
from backend.trainers.adatad.parts import parts_of
from backend.trainers.adatad.reuse import Reuse, fill, reuse_of
from backend.trainers.adatad.spec import SPEC, AdaTadConfig
from backend.trainers.adatad.validation import Validation
from backend.trainers.adatad.weights import start

LOAD_REPORT = "load_report.json"
SETTLING = math.ceil(math.log(0.005) / math.log(MOMENTUM))
"""Steps after which the normaliser's start, 100, is a two-hundredth of it."""


def build(config: AdaTadConfig, work_dir: Path) -> Training:
    """The training that a config asks for. ``load_report.json`` in the work directory tells what
    became of each tensor of the pretrained file.

    Raises DataError, CheckpointError or ConfigError. What is wrong with data that can be read is
    raised by ``refuse``, after it was told.
    """
    data = read_data(config, ("train", "val"))
    train, _ = data.splits
    seed_model(config.seed)
    begun = start(config, train.classes)
    network = begun.network.to(resolve_device(config.device, world_size()))
    reuse = reuse_of(config, network.geometry)
    samples, validation = _windows(config, data, reuse)
    return Training(
        spec=SPEC,
        config=config,
        runner=config.runner,
        model=network,
        data=Data(samples, collate, tuple(split.as_input() for split in data.splits)),
        parts=parts_of(begun, config),
        validate=validation,
        evaluate=partial(_evaluate_best, config, work_dir),
        facts=facts_of(config, network.geometry, train.classes),
        source=begun.source,
        packages=("torchvision", "transformers", "av"),
        notes=begun.notes,
        remarks=(*begun.remarks, *(reuse.remarks if reuse else ())),
        survey=partial(survey, data, samples, validation.windows, network.geometry, config),
        refuse=data.refuse,
        prepare=partial(fill, reuse, config, network, data.splits) if reuse else None,
        losses=("cls_loss", "reg_loss"),
        loaders=_loaders(),
        probe=Probe(validation.windows, config.runner.workers),
        tie="val/loss",
        files=_load_report(begun.report, work_dir),
        may_change=("videos.threads", "reuse."),
        settling=SETTLING,
    )


def _windows(
    config: AdaTadConfig, data: TemporalData, reuse: Reuse | None
) -> tuple[DrawnWindows, Validation]:
    """What is trained on and what is validated on. Raises DataError if there is nothing, with its
    cause if that was found."""
    train, val = data.splits
    try:
        return DrawnWindows(train, config, reuse), Validation(val, config, reuse)
    except DataError:
        data.refuse()
        raise


def _loaders() -> dict[str, dict[str, str]]:
    """How both losses are taken; in training they are divided by a running mean of what
    validation counts."""
    alike = {"reduction": "sum over points, per positive point"}
    return {"train": alike, "val": alike}


def _load_report(report: LoadReport | None, work_dir: Path) -> tuple[FileSaved, ...]:
    """Write what became of the pretrained file, if there is one."""
    if report is None:
        return ()
    path = work_dir / LOAD_REPORT
    write_atomic(path, json.dumps(report.as_json(), indent=1) + "\n")
    facts: dict[str, bool | int | float | str] = {
        "loaded": len(report.loaded),
        "missing": len(report.missing),
        "replaced": len(report.replaced),
        "unexpected": len(report.unexpected),
    }
    return (FileSaved(path=LOAD_REPORT, kind="load_report", sha256=sha256(path), facts=facts),)


def _evaluate_best(
    config: AdaTadConfig, work_dir: Path, best: Path
) -> tuple[EvalReport, tuple[Event, ...]]:
    """The final evaluation of a run."""
    request = EvalRequest(
        checkpoint=str(best), data=str(config.data), split="val", out=str(work_dir / EVALUATION)
    )
    return evaluate(read_checkpoint(best), request, config), ()
