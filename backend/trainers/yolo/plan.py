"""What a training is about to do, in optimizer steps, and what its data is. No torch."""

import math
from collections.abc import Iterator

import numpy as np

from backend.core.evidence import DataSurvey, SampledLabels, TrainingPlan
from backend.datasets.pasting import Pasting
from backend.datasets.survey import Picture, Pictures, survey_pictures
from backend.scoring.detection.yolo_labels import TOLERANCE, Row
from backend.trainers.yolo.dataset import Example, Split
from backend.trainers.yolo.spec import YoloConfig

CLIP = 10.0
"""The highest norm of the gradient, which Ultralytics has fixed."""


def nominal_batch(config: YoloConfig, train: Split) -> int:
    """At most an epoch's real images, so that every epoch takes an optimizer step, and a step as
    many images whatever is pasted."""
    batches = -(-len(train.examples) // config.batch)
    return min(config.optimizer.nbs, batches * config.batch)


def plan_of(
    config: YoloConfig,
    images: int,
    nominal: int,
    losses: tuple[str, ...],
    done: tuple[int, int] = (0, 0),
) -> TrainingPlan:
    """``images`` are those of an epoch, made ones too; ``nominal`` those that an optimizer
    step gathers after the warm-up. ``done`` are epochs and steps of before, perhaps with another
    batch."""
    batches = math.ceil(images / config.batch)
    warm = _warmup(config, batches)
    steps = list(_steps(config, batches, nominal, warm))
    due = range(config.val_period, config.epochs + 1, config.val_period)
    how = {"reduction": "mean over batches"}
    rest = sum(1 for _ in _steps(config, batches, nominal, warm, done[0]))
    return TrainingPlan(
        steps=done[1] + rest,
        steps_per_epoch=max(round(len(steps) / config.epochs), 1),
        warmup_steps=sum(place <= warm for place in steps) if warm else 0,
        validations=len({*due, config.epochs}),
        first_validation=sum(place < due[0] * batches for place in steps) if due else None,
        clip=CLIP,
        losses=losses,
        loaders={"train": how, "val": how},
        samples_per_epoch=images,
    )


def without_effect(config: YoloConfig, train: Split) -> list[str]:
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
    if nominal_batch(config, train) < config.optimizer.nbs:
        notes.append(
            f"optimizer.nbs {config.optimizer.nbs} is more than an epoch has images "
            f"({len(train.examples)}); an optimizer step is taken every epoch"
        )
    return notes


def survey_of(splits: tuple[Split, ...], head: int, pasting: Pasting | None) -> DataSurvey:
    """The data before the first step. ``head``: how many classes the network has."""
    survey = survey_pictures([_pictures(split) for split in splits], head)
    if pasting is None:
        return survey
    sampled = tuple(_with_made(labels, pasting) for labels in survey.sampled)
    return survey.model_copy(update={"sampled": sampled})


def _with_made(real: SampledLabels, pasting: Pasting) -> SampledLabels:
    """Each real image once in an epoch, and the made ones: each has an object."""
    made = pasting.made(real.positions)
    objects = pasting.objects(made)
    counts = {name: count + objects.get(name, 0) for name, count in real.counts.items()}
    return real.model_copy(
        update={
            "positions": real.positions + made,
            "positive": real.positive + made,
            "counts": counts,
        }
    )


def _steps(
    config: YoloConfig, batches: int, nominal: int, warm: int, epoch: int = 0
) -> Iterator[int]:
    """The batches (counted through, from 0) after which an optimizer step is taken, from the
    beginning of ``epoch``: while it warms up Ultralytics gathers fewer."""
    most = min(max(round(nominal / config.batch), 1), batches * config.epochs)
    gathered, last = most, epoch * batches - 1
    for place in range(epoch * batches, batches * config.epochs):
        if warm and place <= warm:
            gathered = max(1, int(np.interp(place, [0, warm], [1, most]).round()))
        if place - last >= gathered:
            last = place
            yield place


def _warmup(config: YoloConfig, batches: int) -> int:
    """Batches of warm-up: the last epoch has none."""
    return round(min(config.optimizer.warmup_epochs, max(config.epochs - 1, 0)) * batches)


def _pictures(split: Split) -> Pictures:
    skipped = (told.removesuffix(")").rpartition(" (") for told in split.skipped)
    return Pictures(
        split=split.split,
        searched=str(split.data),
        classes=split.names,
        pictures=[_picture(example) for example in split.examples],
        left_out={name: reason for name, _, reason in skipped},
        outside=sum(_outside(row) for e in split.examples for row in e.labels.rows),
        boxes=split.instances,
    )


def _picture(example: Example) -> Picture:
    labels = [row[0] for row in example.labels.rows]
    return Picture(example.image, example.name, example.digest, labels)


def _outside(row: Row) -> bool:
    """Does a box reach over the border by more than rounding?"""
    _, x, y, w, h = row
    return min(x - w / 2, y - h / 2) < -TOLERANCE or max(x + w / 2, y + h / 2) > 1 + TOLERANCE
