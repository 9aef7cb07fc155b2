"""Fine-tunes, scores and serves RT-DETR with routed experts."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import backend.trainers.moe_rtdetr.hermetic  # noqa: F401 (must come before transformers)
from backend.core.errors import DataError
from backend.core.events import Event, ExpertsObserved, MetricsLogged
from backend.core.records import EvalReport
from backend.core.trainer import Conditions, Emit, EvalRequest, StopSignal, TrainOutcome
from backend.core.workdir import write_atomic
from backend.datasets import DetectionSplit, read_split, shared_images
from backend.hardware.knobs import Knobs, Size
from backend.runner.device import resolve_device
from backend.runner.processes import train
from backend.runner.seeds import seed_model
from backend.runner.training import Data, NoWatch, Point, Training
from backend.trainers.moe_rtdetr.asking import language_report
from backend.trainers.moe_rtdetr.checkpoint import LANGUAGE, Saved, facts_of, read_checkpoint
from backend.trainers.moe_rtdetr.data import Frames, Sample, collate
from backend.trainers.moe_rtdetr.data_notes import crowded_notes, small_set_notes
from backend.trainers.moe_rtdetr.evaluation import (
    Ask,
    conditions,
    look,
    score,
    scores_of,
    solo_ap,
    write_experts,
)
from backend.trainers.moe_rtdetr.language.prompts import Prompts
from backend.trainers.moe_rtdetr.language.teaching import Prompter, teach
from backend.trainers.moe_rtdetr.language.text import encoder_digest
from backend.trainers.moe_rtdetr.learner import Learner, make_learner, restored
from backend.trainers.moe_rtdetr.model.batch import Batch
from backend.trainers.moe_rtdetr.model.weights import load_pretrained
from backend.trainers.moe_rtdetr.observer import Observer
from backend.trainers.moe_rtdetr.parts import parts_of, runner_of, weights_report
from backend.trainers.moe_rtdetr.predictor import MoePredictor
from backend.trainers.moe_rtdetr.spec import SPEC, MoeRtDetrConfig
from backend.trainers.moe_rtdetr.validation import Cost, Validation

EVALUATION = "evaluation"
KNOBS = Knobs(size=Size("model.image_size"))
"""What the machine may change: batch, image size, loader processes."""


class MoeRtDetrTrainer:
    """A training in a work directory; everything it writes lies in there."""

    def __init__(self, config: MoeRtDetrConfig, work_dir: Path) -> None:
        self._config = config
        self._work_dir = work_dir.absolute()

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        """Train, or continue what was interrupted; see ``runner.fit.fit`` for what is raised."""
        return train(build, self._config, emit, stop, self._work_dir, KNOBS)

    def evaluate(self, request: EvalRequest) -> EvalReport:
        """Score a checkpoint; boxes, evidence and what the experts did go to ``request.out``.

        Raises DataError and CheckpointError.
        """
        saved = read_checkpoint(Path(request.checkpoint))
        split = self._split(request, saved.classes)
        return evaluate(saved, split, request, self._config, self._config.analyze == "always")[0]

    def conditions(self, request: EvalRequest) -> Conditions:
        """What ``evaluate`` would be made under. Raises DataError."""
        classes = read_checkpoint(Path(request.checkpoint)).classes
        return conditions(self._split(request, classes), self._config)

    def predictor(self, checkpoint: Path) -> MoePredictor:
        """A checkpoint that answers. Raises CheckpointError."""
        saved = read_checkpoint(checkpoint).asked_by(self._config.language)
        learner = restored(saved).to(resolve_device(self._config.device, 1))
        return MoePredictor(learner, saved.classes, Ask.of(self._config))

    def _split(self, request: EvalRequest, classes: tuple[str, ...]) -> DetectionSplit:
        return read_split(Path(request.data), request.split, classes, self._config.class_map)


def build(config: MoeRtDetrConfig, work_dir: Path) -> Training:
    """The training that a config asks for. ``weights.json`` in the work directory lists what was
    loaded, and the parameters of each learning-rate group.

    Raises DataError, CheckpointError or ConfigError.
    """
    splits = [
        read_split(config.data, split, config.classes, config.class_map)
        for split in ("train", "val")
    ]
    for split in splits:
        _check_objects(split)
    seed_model(config.seed)
    learner = make_learner(config.model, config.moe, config.language, config.classes)
    loaded = load_pretrained(learner.network, config, learner.language)
    prompts = _prompts(config) if learner.language is not None else None
    taught = any(name.startswith(LANGUAGE) for name in loaded.names)
    if learner.language is not None and prompts is not None and not taught:
        most = max(len(frame.labels) for frame in splits[0].frames)
        teach(learner.language, prompts, most)
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
        evaluate=partial(_final, config, splits[1], work_dir),
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
        watch=Balance(learner) if config.moe.balance == "bias" else NoWatch(),
    )


class Balance(NoWatch):
    """Moves the routers' biases after each step, towards experts that got too little."""

    def __init__(self, learner: Learner) -> None:
        self._network = learner.network

    def stepped(self, point: Point) -> None:
        """The optimizer has moved the weights."""
        self._network.update_biases()


def evaluate(
    saved: Saved,
    split: DetectionSplit,
    request: EvalRequest,
    config: MoeRtDetrConfig,
    analyze: bool,
) -> tuple[EvalReport, tuple[Event, ...]]:
    """Score a checkpoint as ``config`` asks, and tell what its experts do; ``analyze``: also
    each expert alone and, with a language gate, each prompt."""
    learner = restored(saved.asked_by(config.language)).to(resolve_device(config.device, 1))
    observer = Observer(saved.classes, saved.moe)
    report = score(learner, split, request, config, observer)
    events: list[Event] = []
    experts = observer.report(split.split, saved.step, saved.epoch)
    if experts is not None:
        cost = Cost.of(learner, config.model_copy(update={"model": saved.model, "moe": saved.moe}))
        told = {
            "per_class": {name: row["mAP50-95"] for name, row in report.per_class.items()},
            "gflops": cost.gflops,
            "dense_gflops": cost.dense_gflops,
            "solo_ap": solo_ap(learner, split, Ask.of(config)) if analyze else None,
        }
        experts = experts.model_copy(update=told)
        write_experts(Path(request.out), experts)
        events.append(ExpertsObserved(report=experts, final=True))
    if learner.language is not None and analyze and not config.prompt:
        prompts = Prompts(saved.classes, saved.moe.named_groups)
        first = _stage_one_map(split, config)
        language = language_report(learner, split, Ask.of(config), prompts, first)
        write_atomic(Path(request.out) / "language.json", language.model_dump_json(indent=1))
        events.append(
            MetricsLogged(step=saved.step, epoch=saved.epoch, metrics=language.metrics())
        )
    return report, tuple(events)


def _final(
    config: MoeRtDetrConfig, split: DetectionSplit, work_dir: Path, best: Path
) -> tuple[EvalReport, tuple[Event, ...]]:
    request = EvalRequest(
        checkpoint=str(best), data=str(config.data), split=split.split,
        out=str(work_dir / EVALUATION),
    )  # fmt: skip
    return evaluate(read_checkpoint(best), split, request, config, config.analyze != "never")


def _stage_one_map(split: DetectionSplit, config: MoeRtDetrConfig) -> float | None:
    """What the checkpoint that stage 2 started from reaches here; None if it is gone."""
    path = Path(config.model.pretrained)
    if not config.language.enabled or not path.is_file():
        return None
    saved = read_checkpoint(path)
    if saved.classes != split.classes:
        return None
    learner = restored(saved).to(resolve_device(config.device, 1))
    return scores_of(split, look(learner, split, Ask.of(config))).metrics[SPEC.primary]


def _check_objects(split: DetectionSplit) -> None:
    if not any(split.objects.values()):
        raise DataError(
            f"{split.data}: '{split.split}' has no object of the classes "
            f"{', '.join(split.classes)}; check 'classes' and 'class_map'"
        )


def _prompts(config: MoeRtDetrConfig) -> Prompts:
    return Prompts(config.classes, config.moe.named_groups)


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
