"""A config made into what the Runner trains."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from backend.core.workdir import write_atomic
from backend.datasets import read_split, shared_images
from backend.datasets.survey import survey_detection
from backend.runner.seeds import seed_model
from backend.runner.training import Data, NoWatch, Point, Training
from backend.trainers.moe_rtdetr.checkpoint import LANGUAGE, facts_of
from backend.trainers.moe_rtdetr.data import Frames, Sample, collate
from backend.trainers.moe_rtdetr.data_notes import crowded_notes, small_set_notes
from backend.trainers.moe_rtdetr.evidence import Probe
from backend.trainers.moe_rtdetr.judging import evaluate_best
from backend.trainers.moe_rtdetr.language.prompts import Prompts
from backend.trainers.moe_rtdetr.language.teaching import Prompter, teach
from backend.trainers.moe_rtdetr.language.text import encoder_digest
from backend.trainers.moe_rtdetr.learner import Learner, make_learner
from backend.trainers.moe_rtdetr.model.batch import Batch
from backend.trainers.moe_rtdetr.model.weights import load_pretrained
from backend.trainers.moe_rtdetr.parts import parts_of, runner_of, weights_report
from backend.trainers.moe_rtdetr.spec import SPEC, MoeRtDetrConfig
from backend.trainers.moe_rtdetr.validation import Cost, Validation


def build(config: MoeRtDetrConfig, work_dir: Path) -> Training:
    """The training that a config asks for. ``weights.json`` in the work directory lists what was
    loaded, and the parameters of each learning-rate group.

    Raises DataError, CheckpointError or ConfigError.
    """
    splits = [
        read_split(config.data, split, config.classes, config.class_map)
        for split in ("train", "val")
    ]
    seed_model(config.seed)
    learner = make_learner(config.model, config.moe, config.language, config.classes)
    loaded = load_pretrained(learner.network, config, learner.language)
    prompts = None
    if learner.language is not None:
        prompts = Prompts(config.classes, config.moe.named_groups)
        if not any(name.startswith(LANGUAGE) for name in loaded.names):
            teach(learner.language, prompts, max(len(f.labels) for f in splits[0].frames))
    report = weights_report(learner, config, loaded)
    write_atomic(work_dir / "weights.json", json.dumps(report, indent=1))
    cost = Cost.of(learner, config)
    validation = Validation(splits[1], config, cost)
    return Training(
        spec=SPEC,
        config=config,
        runner=runner_of(config),
        model=learner,
        data=Data(
            Frames(splits[0], config.model.image_size, config.augment),
            _collate(config, prompts),
            tuple(split.as_input() for split in splits),
        ),
        parts=parts_of(learner, config, loaded),
        validate=validation,
        evaluate=partial(evaluate_best, config, splits[1], work_dir),
        facts=facts_of(config, encoder_digest(config.language) if config.language.enabled else ""),
        source=loaded.source,
        packages=("transformers",),
        notes=(
            *(note for split in splits for note in split.notes),
            *(note for split in splits for note in crowded_notes(split, config)),
            *shared_images(splits),
            *small_set_notes(loaded, len(splits[0].frames)),
        ),
        remarks=(*(remark for split in splits for remark in split.remarks), *loaded.notes),
        measured=cost.metrics(),
        survey=partial(survey_detection, splits, len(config.classes)),
        losses=_losses(config),
        loaders=_loaders(config),
        probe=Probe(splits[1], config),
        watch=Balance(learner) if config.moe.balance == "bias" else NoWatch(),
    )


def _losses(config: MoeRtDetrConfig) -> tuple[str, ...]:
    parts = ("detection_loss", "vfl_loss", "bbox_loss", "giou_loss")
    return (*parts, "gate_loss") if config.language.enabled else parts


def _loaders(config: MoeRtDetrConfig) -> dict[str, dict[str, str]]:
    """How both losses are taken: only training adds what the denoising queries lose."""
    denoising = "matching and denoising" if config.model.denoising else "matching"
    return {
        split: {"reduction": "per object", "queries": queries}
        for split, queries in (("train", denoising), ("val", "matching"))
    }


class Balance(NoWatch):
    """Moves the routers' biases after each step, towards experts that got too little."""

    def __init__(self, learner: Learner) -> None:
        self._network = learner.network

    def stepped(self, point: Point) -> None:
        """The optimizer has moved the weights."""
        self._network.update_biases()


def _collate(
    config: MoeRtDetrConfig, prompts: Prompts | None
) -> Callable[[Sequence[Sample]], Batch]:
    if prompts is None:
        return collate
    return _Prompted(Prompter(prompts, config.language.everything))


class _Prompted:
    """Batches with a prompt for each image; picklable, for the loader's processes."""

    def __init__(self, prompter: Prompter) -> None:
        self._prompter = prompter

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        return self._prompter(collate(samples))
