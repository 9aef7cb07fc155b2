"""A config made into what the Runner trains."""

from functools import partial
from pathlib import Path

import torch
from torch import nn

from backend.core.errors import DataError
from backend.core.events import Event
from backend.core.evidence import DataSurvey
from backend.core.records import EvalReport
from backend.core.trainer import EvalRequest
from backend.datasets.spotting import SpottingSplit
from backend.runner.seeds import seed_model
from backend.runner.training import Data, Training
from backend.trainers.mdfed.baselines import (
    LabelTable,
    positive_weights,
    start_probabilities,
    trivial_baselines,
    trivial_metrics,
)
from backend.trainers.mdfed.checkpoint import Saved, facts_of, read_checkpoint
from backend.trainers.mdfed.data import Tiles, Windows, collate, label_stream
from backend.trainers.mdfed.data_survey import sampled_table, survey
from backend.trainers.mdfed.distillation import DISTILL, distiller
from backend.trainers.mdfed.evaluation import EVALUATION, evaluate, read_split
from backend.trainers.mdfed.evidence import Probe
from backend.trainers.mdfed.inference import decoder_of, options_of, truth_of
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.losses import Criterion
from backend.trainers.mdfed.model.network import build_network
from backend.trainers.mdfed.parts import parts_of
from backend.trainers.mdfed.spec import SPEC, MdFedConfig
from backend.trainers.mdfed.validation import Validation
from backend.trainers.mdfed.weights import identity, load, read_pretrained


def build(config: MdFedConfig, work_dir: Path) -> Training:
    """The training that a config asks for. Raises DataError, CheckpointError or ConfigError."""
    splits = [read_split(config, name) for name in ("train", "val")]
    for split in splits[1:] if config.stage == 2 else splits:  # a distillation needs no labels
        if not split.labels.labels:
            raise DataError(f"{split.source}: no event in any clip, so there is nothing to learn")
    labels = sampled_table(splits[0], config)
    tiles = Tiles(splits[1], config)
    windows = Windows(splits[0], config, others=(tiles.cutter.poses,))
    seed_model(config.seed)
    saved = read_pretrained(config)
    learner, notes = _learner(config, splits[0], labels, saved)
    validation = Validation(splits[1], tiles, config)
    return Training(
        spec=SPEC,
        config=config,
        runner=config.runner,
        model=learner,
        data=Data(windows, collate, tuple(split.as_input() for split in splits)),
        parts=parts_of(learner, config),
        validate=validation,
        evaluate=partial(_evaluate_best, config, work_dir),
        facts=facts_of(config, splits[0]),
        source=identity(saved),
        notes=(*(note for split in splits for note in split.notes), *notes),
        remarks=tuple(remark for split in splits for remark in split.remarks),
        survey=partial(_survey, config, splits, labels, tiles),
        losses=_losses(config),
        loaders=_loaders(config),
        probe=Probe(tiles, config.runner.batch, validation.losses_of),
        tie="val/loss",
    )


def _learner(
    config: MdFedConfig, train: SpottingSplit, labels: LabelTable, saved: Saved | None
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network with its loss, and what a person should know of its weights."""
    if config.stage == 2:
        assert saved is not None, "the config asks for a teacher"
        return distiller(config, saved, train.elements), ()
    network = build_network(config, len(train.elements))
    rates = labels.element_rates
    positive = positive_weights(rates, config.loss.pos_weight)
    if config.model.bias_init:
        event, elements = start_probabilities(labels, config.loss, positive)
        network.start_at(event, torch.from_numpy(elements).float())
    criterion = Criterion(config.loss, torch.from_numpy(positive))
    notes = load(network, saved, train.elements) if saved else ()
    return Learner(network, criterion), notes


def _survey(
    config: MdFedConfig, splits: list[SpottingSplit], labels: LabelTable, tiles: Tiles
) -> DataSurvey:
    """What the data is, and what a predictor gets that never looks at the skeletons; a
    distillation has no labels to guess."""
    if config.stage == 2:
        return survey(splits, config)
    val = splits[1]
    positive = positive_weights(labels.element_rates, config.loss.pos_weight)
    tiled = LabelTable.of(label_stream(tiles, len(tiles)))
    context = config.model.context
    blind = (
        trivial_baselines("train", labels, config.loss, positive, config.runner.batch, context),
        trivial_baselines("val", tiled, config.loss, positive, context=context),
    )
    metrics = trivial_metrics(
        truth_of(val),
        val.elements,
        labels.element_rates,
        decoder_of(config.inference, val),
        options_of(config.inference),
    )
    baselines = (blind[0], blind[1].model_copy(update={"metrics": metrics}))
    return survey(splits, config).model_copy(update={"baselines": baselines})


def _losses(config: MdFedConfig) -> tuple[str, ...]:
    if config.stage == 2:
        return (DISTILL,)
    return ("lcl_loss", "mlc_loss", *(("ctx_loss",) if config.model.context else ()))


def _loaders(config: MdFedConfig) -> dict[str, dict[str, str]]:
    """How both losses are taken: alike, but that training draws its windows."""
    alike = {
        "reduction": "mean over valid frames",
        "weights": f"fg_weight {config.loss.fg_weight:g}, pos_weight {config.loss.pos_weight}",
    }
    return {"train": alike, "val": alike}


def _evaluate_best(
    config: MdFedConfig, work_dir: Path, best: Path
) -> tuple[EvalReport, tuple[Event, ...]]:
    """The final evaluation of a run, with overlapping windows."""
    request = EvalRequest(
        checkpoint=str(best), data=str(config.data), split="val", out=str(work_dir / EVALUATION)
    )
    return evaluate(read_checkpoint(best), request, config), ()
