"""The network that a training starts from: its sizes, its weights, and what of it trains."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from backend.core.digest import sha256
from backend.core.errors import CheckpointError
from backend.trainers.motrv2.checkpoint import UNNAMED, Known, Saved, read_checkpoint
from backend.trainers.motrv2.loading import HeadInit, LoadReport, load_weights_into
from backend.trainers.motrv2.model.geometry import TINY, Geometry
from backend.trainers.motrv2.model.interaction import Passing
from backend.trainers.motrv2.model.learner import ClipLearner, ClipTraining
from backend.trainers.motrv2.model.previous import HEADS, Previous, split_previous
from backend.trainers.motrv2.selection import (
    Choice,
    Selection,
    all_names,
    select,
    steps_to_confidence,
)
from backend.trainers.motrv2.spec import Motrv2Config

FRESH = Geometry(denoising=True)


@dataclass(frozen=True)
class Start:
    """A network, and what of it is to train.

    ``report`` is None if nothing was loaded. ``previous_classes`` are those whose classifiers
    were replaced. ``source`` tells pretrained weights apart; ``notes`` are warnings, ``remarks``
    are not.
    """

    learner: ClipLearner
    selection: Selection
    report: LoadReport | None = None
    previous_classes: tuple[str, ...] = ()
    source: str = "none"
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def untrained(self) -> tuple[str, ...]:
        """Parameters that did not come whole from the file and are frozen."""
        if self.report is None:
            return ()
        frozen, new = self.selection.frozen, self.report.new
        names = all_names(self.learner).items()
        return tuple(name for name, every in names if name in frozen and not new.isdisjoint(every))

    @property
    def facts(self) -> Known:
        """For checkpoints."""
        return Known(self.learner.geometry, self.previous_classes, self.untrained)


def start(config: Motrv2Config, classes: Sequence[str]) -> Start:
    """The network that the config asks for, for these classes; the seed is set before.

    Raises CheckpointError for a file that does not fit, and ConfigError for a selection or a
    rule that does not.
    """
    if config.model.pretrained is None:
        sizes = FRESH if config.model.preset == "resnet50" else TINY
        learner = ClipLearner(_sized(sizes, config, len(classes)), clip_training(config))
        selection = select(learner, _choice(config))
        return Start(learner, selection, notes=tuple(_random_notes(selection, config)))
    saved = read_checkpoint(config.model.pretrained)
    renamed = _renamed(saved, config, classes)
    learner = ClipLearner(_sized(saved.geometry, config, len(classes)), clip_training(config))
    weights, earlier = split_previous(saved.weights)
    head = HeadInit(config.model.head_init, config.model.head_from, renamed)
    report = load_weights_into(learner, weights, head, saved.path)
    replaced = _replaced(weights, report)
    if replaced:
        earlier, names = replaced, saved.classes
    else:
        names = saved.previous_classes
    learner.previous = Previous(earlier)
    selection = select(learner, _choice(config), report.new)
    notes, remarks = _loading_notes(saved, report, classes)
    return Start(
        learner,
        selection,
        report=report,
        previous_classes=names,
        source=sha256(saved.path),
        notes=(*notes, *selection.notes),
        remarks=remarks,
    )


def clip_training(config: Motrv2Config) -> ClipTraining:
    """How the config wants clips to be trained on."""
    learning = config.learning
    return ClipTraining(
        passing=Passing(
            update_threshold=config.tracker.update_score_thresh,
            gate=learning.update_gate,
            drop=learning.track_drop_prob,
            insert=learning.fp_insert_ratio,
            limit=config.tracker.max_track_queries,
        ),
        jitter=config.model.denoising,
        recompute=learning.recompute,
        still_norms=learning.still_norms,
    )


def _sized(of: Geometry, config: Motrv2Config, classes: int) -> Geometry:
    """A network's sizes with what the data and the config decide. Parts that a file has are
    kept, if unused; with one class its vector would say nothing."""
    embeds = config.model.proposal_class == "embed" and classes > 1 and config.det_db.use
    return replace(
        of,
        classes=classes,
        queries=config.model.queries or of.queries,
        denoising=of.denoising or config.model.denoising > 0,
        position_update=of.position_update
        or (config.model.pretrained is None and config.model.position_update),
        proposal_classes=classes if embeds else 0,
        dropout=config.model.dropout,
    )


def _choice(config: Motrv2Config) -> Choice:
    freeze = config.freeze
    return Choice(
        strategy=freeze.strategy,  # type: ignore[arg-type]  # the config knows them
        custom=freeze.modules,
        names=freeze.names,
        train_new=freeze.train_new,
        allow_untrained_new=freeze.allow_untrained_new,
    )


def _renamed(saved: Saved, config: Motrv2Config, classes: Sequence[str]) -> bool:
    """Has the file as many classes, but others? Raises CheckpointError for the same ones in
    another order, which no shape would tell."""
    theirs = saved.classes
    if len(theirs) != len(classes) or UNNAMED in theirs or theirs == tuple(classes):
        return False
    if set(theirs) == set(classes) and config.model.head_init != "map":
        rows = {at: theirs.index(name) for at, name in enumerate(classes)}
        raise CheckpointError(
            f"{saved.path}: its classes are those of the data in another order "
            f"({', '.join(theirs)}); set model.head_init to map and model.head_from to {rows}, "
            "or put the data's classes.json in that order"
        )
    return True


def _replaced(weights: dict[str, Tensor], report: LoadReport) -> dict[str, Tensor]:
    """The classifiers and class vectors of the file, if not all of them were taken as they are."""
    if not any(one.name.startswith("class_embed.") for one in report.mismatched):
        return {}
    return {name: one for name, one in weights.items() if name.startswith(HEADS)}


def _loading_notes(
    saved: Saved, report: LoadReport, classes: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Warnings, and what is good to know."""
    counts, *others = report.lines()
    notes = tuple(
        f"{saved.path.name}: {name} is in the file and not in this network"
        for name in report.unexpected
    )
    remarks = [f"{saved.path.name}: {counts}"]
    remarks += [line for line in others if not line.startswith("unexpected")]
    if UNNAMED in saved.classes and len(saved.classes) == len(classes) > 1:
        notes += (
            f"{saved.path.name} does not name its {len(classes)} classes: they are taken for "
            "those of the data, in their order",
        )
    return notes, tuple(remarks)


def _random_notes(selection: Selection, config: Motrv2Config) -> Iterator[str]:
    yield from selection.notes
    if selection.frozen:
        yield (
            f"{config.freeze.strategy} freezes {len(selection.frozen)} tensors at random values: "
            "nothing was loaded (model.pretrained)"
        )


def confidence_steps(start: Start, config: Motrv2Config) -> int:
    """How many steps a new classifier takes at least until something can be tracked; 0 if none
    is new."""
    if not any(name.startswith("class_embed.") for name in start.selection.forced):
        return 0
    rate = config.runner.optimizer.lr["all"] * config.learning.new_lr_mult
    return math.ceil(steps_to_confidence(rate, start.learner.geometry.width))
