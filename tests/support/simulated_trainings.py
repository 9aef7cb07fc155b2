"""Simulated trainings to calibrate the rules on: sound ones, and faults put into them.

A sound one has 12 to 120 evaluations, 0.5 to 4 % noise, metrics that start late and validation
noise that grows (the specification, section 9). A fault is a change to a sound run.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from typing import Any

import numpy as np

from backend.analysis.diagnostics.chain import below
from backend.core.events import Event, NonfiniteSeen
from tests.support.evidence_made import (
    PARTS,
    Course,
    Made,
    blind,
    census,
    healthy,
    labels,
    movement,
    probes,
    quality,
)

Generator = np.random.Generator
Fault = Callable[[Made, Generator], Made]
PREFIXES = 12


def sound(seed: int) -> Made:
    """One of many sound trainings: how long it waits, how fast and how far it gets, how rough it
    is and when its metrics start differ."""
    generator = np.random.default_rng([9, seed])
    count = int(generator.integers(12, 121))
    made = healthy(count, every=int(generator.integers(10, 60)), seed=seed, noisy=0.0)
    t = np.arange(1, count + 1) / count
    rough = generator.uniform(0.005, 0.04)
    waits, fast = generator.uniform(0.03, 0.12), generator.uniform(4, 12)
    depth = generator.uniform(0.03, 0.35)

    def wavering(course: Course, growing: float = 0.0) -> Course:
        spread = rough * (1 + growing * t)
        return np.asarray(course * (1 + spread * generator.standard_normal(count)))

    waited = 1 / (1 + np.exp(-(t - waits) * 60))
    fallen = depth + (1 - depth) * np.exp(-fast * np.clip(t - waits, 0, None))
    curves = {}
    for part, first, constant in (("lcl", 0.693, 0.411), ("mlc", 0.693, 0.404)):
        begin = first * np.exp(-t / waits * 4) + constant * (1 - np.exp(-t / waits * 4))
        course = begin * (1 - waited) + constant * fallen * waited
        curves[f"train_{part}_loss"] = wavering(course)
        curves[f"val_{part}_loss"] = wavering(course * generator.uniform(1.0, 1.1), growing=1.0)
    for split in ("train", "val"):
        curves[f"{split}_loss"] = curves[f"{split}_lcl_loss"] + curves[f"{split}_mlc_loss"]
    begins = generator.uniform(waits, waits + 0.1)
    score = 1 - np.exp(-generator.uniform(4, 10) * np.clip(t - begins, 0, None))
    top = generator.uniform(45, 95)
    for name, unit in (
        ("edit", 1.0),
        ("f1_event", 0.006),
        ("f1_element", 0.006),
        ("f1_lcl", 0.01),
    ):
        curves[f"val_{name}"] = np.clip(wavering(top * unit * score), 0, None)
    return made.with_curves(**curves)


def missing(made: Made, generator: Generator) -> Made:
    """D01: nearly all files are missing and replaced by zeros, of which nothing can be learnt."""
    return blinded(made, generator).surveyed(inputs=(census("train", 160, 150, policy="zeros"),))


def degenerate(made: Made, generator: Generator) -> Made:
    """D02: files of zeros."""
    dead = quality("train", 160, zero_frames=1.0, zero_units=160)
    return blinded(made, generator).surveyed(quality=(dead,))


def separator(made: Made, generator: Generator) -> Made:
    """D03: no label is understood."""
    assert made.survey is not None
    empty = labels("train", 160, 620, empty=620, counts={})
    return made.surveyed(labels=(empty, *made.survey.labels[1:]))


def blinded(made: Made, generator: Generator) -> Made:
    """The losses end at what a predictor of the position gets, the metrics at nothing."""
    count = len(made.steps)
    fade = np.exp(-np.arange(count) / max(1.0, count / 20))
    lcl, mlc = 0.405 + 0.28 * fade, 0.380 + 0.31 * fade
    rough = 1 + 0.004 * generator.standard_normal((4, count))
    return silent(made).with_curves(
        train_lcl_loss=lcl * rough[0], train_mlc_loss=mlc * rough[1],
        val_lcl_loss=lcl * rough[2], val_mlc_loss=mlc * rough[3],
        train_loss=lcl * rough[0] + mlc * rough[1], val_loss=lcl * rough[2] + mlc * rough[3],
    ).replace(extra=probes(made.steps, 1.001))  # fmt: skip


def silent(made: Made) -> Made:
    """Every metric is 0, and nothing is predicted."""
    nothing = np.zeros(len(made.steps))
    zero = {f"val_{name}": nothing for name in ("edit", "f1_event", "f1_element", "f1_lcl")}
    first = made.observers[0]
    return made.with_curves(**zero).replace(observers=(first, lambda _, step: blind(step)))


def unused(made: Made, generator: Generator) -> Made:
    """B04: the data is sound, and the network does not look at it."""
    return blinded(made, generator)


def diverging(made: Made, generator: Generator) -> Made:
    """B05: from some point on the loss climbs, not as high as that of an untrained network."""
    count = len(made.steps)
    begin = int(generator.uniform(0.3, 0.7) * count)
    climb = 1 + np.clip(np.arange(count) - begin, 0, None) * generator.uniform(0.25, 0.6)
    highest = 1.1 / max(made.curves[f"{split}/loss"][begin:].max() for split in ("train", "val"))
    keys = [key for key in made.curves if key.endswith("loss")]
    climbed = {key: made.curves[key] * np.minimum(climb, max(1.0, highest)) for key in keys}
    return made.replace(curves={**made.curves, **climbed})


def not_a_number(made: Made, generator: Generator) -> Made:
    """B06: a gradient is no number."""
    step = made.steps[int(generator.uniform(0.3, 0.9) * len(made.steps))]
    seen = NonfiniteSeen(step=step, where="gradient", name="encoder", samples=("clip1",))
    return made.replace(extra=(*made.extra, seen))


def overfitting(made: Made, generator: Generator) -> Made:
    """B07: the validation drifts up by 3 to 6 % per evaluation while the training goes on down."""
    count = len(made.steps)
    best = int(0.4 * count)
    after = np.clip(np.arange(count) - best, 0, None)
    drift = (1 + generator.uniform(0.03, 0.06)) ** np.minimum(after, 40)
    down = np.exp(-0.05 * np.minimum(after, 60))
    edit = made.curves["val/edit"].copy()
    edit[best:] = edit[best] * np.exp(-0.01 * after[best:])
    curves = {key: course * (drift if key.startswith("val/") else down)
              for key, course in made.curves.items() if key.endswith("loss")}  # fmt: skip
    return made.replace(curves={**made.curves, **curves, "val/edit": edit})


def too_fast(made: Made, generator: Generator) -> Made:
    """B08: the loss rises above that of an untrained network, then lies at the constant."""
    made = silent(made)
    count = len(made.steps)
    lcl, mlc = np.full(count, 0.416), np.full(count, 0.414)
    first = max(3, count // 6)
    lcl[:first] = np.linspace(1.4, 0.6, first)
    mlc[:first] = np.linspace(1.1, 0.5, first)
    rough = 1 + 0.004 * generator.standard_normal(count)
    update = np.full(count, 0.2) * made.curves["lr/all"] / made.curves["lr/all"].max()
    return made.with_curves(
        train_lcl_loss=lcl * rough, train_mlc_loss=mlc * rough, train_loss=(lcl + mlc) * rough,
        val_lcl_loss=lcl * 1.02, val_mlc_loss=mlc * 1.02, val_loss=(lcl + mlc) * 1.02,
        update_all=update, lr_all=made.curves["lr/all"] * 100,
    )  # fmt: skip


def too_slow(made: Made, generator: Generator) -> Made:
    """B09: the loss falls steadily and will not arrive."""
    count = len(made.steps)
    fall = np.linspace(1.386, generator.uniform(1.1, 1.3), count)
    fall = fall * (1 + 0.002 * generator.standard_normal(count))
    halves = {
        f"{split}_{part}_loss": fall / 2 for split in ("train", "val") for part in ("lcl", "mlc")
    }
    return silent(made).with_curves(train_loss=fall, val_loss=fall, **halves)


def vanishing(made: Made, generator: Generator) -> Made:
    """B10: the encoder gets no gradient, and so the input is not used."""
    made = blinded(made, generator)
    dead = made.curves[f"gradient/{PARTS[0]}/mean_abs"] * 1e-6
    return made.replace(curves={**made.curves, f"gradient/{PARTS[0]}/mean_abs": dead})


def exploding(made: Made, generator: Generator) -> Made:
    """B11: the norm jumps again and again."""
    norms = made.curves["train/grad_norm"].copy()
    begin = int(generator.uniform(0.4, 0.6) * len(norms))
    norms[begin::3] *= 1000
    return made.with_curves(train_grad_norm=norms)


def stuck(made: Made, generator: Generator) -> Made:
    """B12: the optimizer does not know the encoder."""
    made = blinded(made, generator)

    def look(place: int, step: int) -> Event:
        seen = movement(step, step - made.per_epoch)
        first, *others = seen.groups
        lost = first.model_copy(update={"in_optimizer": 0, "changed": 0, "change": 0.0})
        return seen.model_copy(update={"groups": (lost, *others)})

    return made.replace(observers=(look, *made.observers[1:]))


def thawing(made: Made, generator: Generator) -> Made:
    """B13: a frozen module stands in training mode."""
    told: dict[str, Any] = {"thawed": ("teacher.bn.running_mean",), "training": ("teacher",)}
    return made.replace(
        observers=(lambda _, step: movement(step, step - made.per_epoch, **told),
                   *made.observers[1:])
    )  # fmt: skip


FAULTS: Mapping[str, Fault] = {
    "D01": missing, "D02": degenerate, "D03": separator, "B04": unused, "B05": diverging,
    "B06": not_a_number, "B07": overfitting, "B08": too_fast, "B09": too_slow, "B10": vanishing,
    "B11": exploding, "B12": stuck, "B13": thawing,
}  # fmt: skip
"""Rule that names the root cause to the fault."""


def pairs() -> Iterator[tuple[str, str]]:
    """Two faults of which one explains the other, the root first."""
    return ((root, other) for root, other in permutations(FAULTS, 2) if other in below(root))


def with_pair(made: Made, root: str, other: str, generator: Generator) -> Made:
    """Both faults, the root's last, so that its traces stand."""
    return FAULTS[root](FAULTS[other](made, generator), generator)
