"""Made evidence for the rules: a healthy event spotting run, and what can be wrong with one.

``healthy`` gives a ``Made``: a course per metric, and what was observed beside. A test changes one
thing (``with_curves``, ``replace``), cuts it short (``first``) and asks for ``evidence()``.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.analysis.diagnostics.evidence import Evidence, evidence_of
from backend.core.events import (
    DataSurveyed,
    Event,
    InputProbed,
    MetricsLogged,
    MovementObserved,
    PredictionsObserved,
    RunFinished,
    RunStarted,
)
from backend.core.evidence import (
    Baselines,
    Channel,
    DataSurvey,
    GroupMovement,
    InputCensus,
    InputQuality,
    LabelCensus,
    PredictionHistogram,
    SampledLabels,
    TrainingPlan,
)
from backend.core.records import MetricSpec

HEADLINE = "val/edit"
PARTS = ("encoder", "temporal", "heads")
BASELINES = {
    "untrained": {"lcl_loss": 0.693, "mlc_loss": 0.693, "loss": 1.386},
    "constant": {"lcl_loss": 0.411, "mlc_loss": 0.404, "loss": 0.815},
    "position": {"lcl_loss": 0.399, "mlc_loss": 0.363, "loss": 0.762},
}
"""Of the 160 clips of the specification's prototype, by predictor and part of the loss."""

Course = NDArray[np.float64]


@dataclass(frozen=True)
class Made:
    """A run: ``curves`` (key to a value at each of ``steps``), ``at_step`` what is observed at
    each evaluation, and ``extra`` events with the steps they come at."""

    steps: tuple[int, ...]
    curves: Mapping[str, Course]
    plan: TrainingPlan | None
    survey: DataSurvey | None
    per_epoch: int = 20
    trainer: str = "mdfed"
    headline: str = HEADLINE
    metrics: tuple[MetricSpec, ...] = ()
    observers: tuple[Callable[[int, int], Event], ...] = ()
    extra: tuple[Event, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    end: str = ""

    def replace(self, **changes: Any) -> "Made":
        """The same with other fields."""
        return dataclasses.replace(self, **changes)

    def with_curves(self, **curves: Sequence[float] | Course) -> "Made":
        """Other curves; ``train_loss=`` stands for ``train/loss``."""
        renamed = {key.replace("_", "/", 1): np.asarray(c, float) for key, c in curves.items()}
        return self.replace(curves={**self.curves, **renamed})

    def without(self, *keys: str) -> "Made":
        """Without some curves."""
        return self.replace(curves={k: c for k, c in self.curves.items() if k not in keys})

    def planned(self, **changes: Any) -> "Made":
        """Another plan."""
        assert self.plan is not None
        return self.replace(plan=self.plan.model_copy(update=changes))

    def surveyed(self, **changes: Any) -> "Made":
        """Another survey."""
        assert self.survey is not None
        return self.replace(survey=self.survey.model_copy(update=changes))

    def first(self, count: int) -> "Made":
        """The first evaluations only, the plan as it was."""
        kept = self.steps[:count]
        return self.replace(
            steps=kept,
            curves={key: course[:count] for key, course in self.curves.items()},
            extra=tuple(e for e in self.extra if getattr(e, "step", 0) <= max(kept, default=0)),
        )

    def scaled(self, factor: float) -> "Made":
        """Every loss and baseline of a loss times ``factor``."""
        curves = {k: c * factor if k.endswith("loss") else c for k, c in self.curves.items()}
        scaled = self.replace(curves=curves)
        if self.survey is None:
            return scaled
        return scaled.surveyed(
            baselines=tuple(
                b.model_copy(
                    update={
                        "losses": {
                            name: {part: value * factor for part, value in losses.items()}
                            for name, losses in b.losses.items()
                        }
                    }
                )
                for b in self.survey.baselines
            )
        )

    def events(self) -> list[Event]:
        """The stream, in the order in which a training tells it."""
        stream: list[Event] = [self._started()]
        if self.survey is not None:
            stream.append(DataSurveyed(survey=self.survey))
        waiting = sorted(self.extra, key=lambda event: getattr(event, "step", 0))
        for place, step in enumerate(self.steps):
            metrics = {key: float(course[place]) for key, course in self.curves.items()}
            epoch = max(1, -(-step // self.per_epoch))
            stream.append(MetricsLogged(step=step, epoch=epoch, metrics=metrics))
            stream += [observe(place, step) for observe in self.observers]
            stream += [e for e in waiting if getattr(e, "step", 0) <= step]
            waiting = [e for e in waiting if getattr(e, "step", 0) > step]
        stream += waiting
        if self.end:
            stream.append(RunFinished.model_validate({"status": self.end}))
        return stream

    def evidence(self) -> Evidence:
        """What the rules get."""
        return evidence_of(self.events(), self.config)

    def _started(self) -> RunStarted:
        epochs = self.plan.steps // self.per_epoch if self.plan else len(self.steps)
        return RunStarted(
            trainer=self.trainer, epochs=epochs, headline=self.headline, metrics=self.metrics,
            data=(), environment={}, plan=self.plan,
        )  # fmt: skip


def healthy(count: int = 24, every: int = 25, seed: int = 0, noisy: float = 0.01) -> Made:
    """A run of the specification's course: the loss waits at the constant baseline, leaves it in
    the first quarter, and Edit starts late; cosine from 3e-3."""
    generator = np.random.default_rng(seed)
    t = np.arange(1, count + 1) / count
    steps = tuple(every * (place + 1) for place in range(count))

    def noise() -> Course:
        return 1 + noisy * generator.standard_normal(count)

    left = 1 / (1 + np.exp((t - 0.14) * 45))
    start = np.exp(-t * 60)
    lcl = 0.693 * start + (1 - start) * (0.412 * left + (1 - left) * (0.02 + 0.1 * np.exp(-t * 6)))
    mlc = 0.693 * start + (1 - start) * (0.403 * left + (1 - left) * (0.08 + 0.2 * np.exp(-t * 5)))
    edit = 88 * np.clip(1 - np.exp(-(t - 0.12) * 8), 0, None)
    rate = 0.5 * (1 + np.cos(np.pi * (t - 1 / count)))
    val_lcl, val_mlc = (lcl + 0.004) * noise(), (mlc + 0.006) * noise()
    train_lcl, train_mlc = lcl * noise(), mlc * noise()
    curves = {
        "train/lcl_loss": train_lcl, "train/mlc_loss": train_mlc,
        "train/loss": train_lcl + train_mlc,
        "val/lcl_loss": val_lcl, "val/mlc_loss": val_mlc, "val/loss": val_lcl + val_mlc,
        "val/edit": edit * noise(), "val/f1_event": edit / 160 * noise(),
        "val/f1_element": edit / 158 * noise(), "val/f1_lcl": edit / 92 * noise(),
        "lr/all": 3e-3 * rate, "train/grad_norm": (0.2 + 0.8 * left) * noise(),
        "train/clipped": np.zeros(count), "update/all": (2e-3 + 3e-3 * left) * rate * noise(),
    }  # fmt: skip
    for place, part in enumerate(PARTS):
        curves[f"gradient/{part}/norm"] = (0.1 + 0.2 * place) * (0.5 + left) * noise()
        curves[f"gradient/{part}/mean_abs"] = 1e-4 * (1 + place) * (0.5 + left) * noise()
        curves[f"update/{part}"] = (2e-3 + 1e-3 * place) * rate * noise()
    learnt = 1 - left
    return Made(
        steps=steps, curves=curves, plan=plan(steps[-1], count), survey=survey(),
        per_epoch=every, metrics=SPECS, extra=probes(steps),
        observers=(lambda place, step: movement(step, step - every, float(rate[place])),
                   lambda place, step: predictions(step, float(learnt[place]))),
    )  # fmt: skip


SPECS = (
    *(
        MetricSpec(name=name, direction="maximize")
        for name in ("edit", "f1_event", "f1_element", "f1_lcl")
    ),
    *(MetricSpec(name=name, direction="minimize") for name in ("loss", "lcl_loss", "mlc_loss")),
)


def plan(steps: int = 600, validations: int = 24, **changes: Any) -> TrainingPlan:
    """What such a run plans."""
    every = steps // validations
    told = {"sampler": "windows", "reduction": "mean", "weights": "1:5"}
    facts: dict[str, Any] = {
        "steps": steps, "steps_per_epoch": every, "warmup_steps": every, "clip": 5.0,
        "validations": validations, "first_validation": every, "losses": ("lcl_loss", "mlc_loss"),
        "loaders": {"train": told, "val": told},
    }  # fmt: skip
    return TrainingPlan(**(facts | changes))


def survey(**changes: Any) -> DataSurvey:
    """Healthy data: every file there, moving joints, known labels, weight 5."""
    facts: dict[str, Any] = {
        "inputs": (census("train", 160), census("val", 40)),
        "quality": (quality("train", 160), quality("val", 40)),
        "labels": (labels("train", 160, 620), labels("val", 40, 155)),
        "sampled": (sampled("train"),),
        "baselines": (baselines("train"), baselines("val")),
    }
    return DataSurvey(**(facts | changes))


def census(split: str, expected: int, missing: int = 0, **changes: Any) -> InputCensus:
    """Skeleton files, so many of which are not there."""
    names = tuple(f"clip{i}.pkl" for i in range(min(5, missing)))
    facts: dict[str, Any] = {
        "split": split, "what": "skeleton files", "expected": expected, "policy": "error",
        "found": expected - missing, "searched": "data/skeletons", "missing": names,
    }  # fmt: skip
    return InputCensus(**(facts | changes))


def quality(split: str, units: int, **changes: Any) -> InputQuality:
    """Skeletons that move and lie in the image."""
    channels = tuple(Channel(name=name, std=0.4, distinct=5000) for name in ("x", "y", "score"))
    facts: dict[str, Any] = {
        "split": split, "units": units, "channels": channels, "nonfinite": 0, "mismatched": 0,
        "zero_frames": 0.01, "zero_units": 0, "outside": 0.02, "swapped": 0,
    }  # fmt: skip
    return InputQuality(**(facts | changes))


def labels(split: str, units: int, events: int, **changes: Any) -> LabelCensus:
    """Annotations without a fault."""
    counts = {"near": events // 2, "far": events // 2, "serve": units, "stroke": events - units}
    facts: dict[str, Any] = {
        "split": split, "units": units, "labels": events, "counts": counts, "head": 4,
        "highest": 3, "past_end": 0, "unsorted": 0, "collisions": 0, "separator": "_",
    }  # fmt: skip
    return LabelCensus(**(facts | changes))


def sampled(split: str, weight: float = 5.0, **changes: Any) -> SampledLabels:
    """The sampled stream: 3.5 % of frames have an event."""
    facts: dict[str, Any] = {
        "split": split, "positions": 20_000, "positive": 700, "weight": weight,
        "counts": {"near": 350, "far": 350, "serve": 170, "stroke": 530},
    }  # fmt: skip
    return SampledLabels(**(facts | changes))


def baselines(split: str, losses: Mapping[str, Mapping[str, float]] = BASELINES) -> Baselines:
    """What a predictor gets that looks away."""
    metrics = {
        "nothing": {"edit": 0.0, "f1_lcl": 0.0},
        "everything": {"edit": 33.0, "f1_lcl": 0.18},
    }
    return Baselines(
        split=split, losses={k: dict(v) for k, v in losses.items()}, metrics=metrics, counted=2000
    )


def movement(step: int, since: int, rate: float = 1.0, **changes: Any) -> MovementObserved:
    """Every part moves."""
    groups = tuple(
        GroupMovement(
            name=name, planned="trainable", tensors=8, requires_grad=8, in_optimizer=8, changed=8,
            change=0.05 * rate + 1e-6, rate=rate,
        )
        for name in PARTS
    )  # fmt: skip
    facts: dict[str, Any] = {"step": step, "since": since, "groups": groups}
    return MovementObserved(**(facts | changes))


def predictions(step: int, learnt: float = 1.0, events: int = 155) -> PredictionsObserved:
    """What the event head says when it learnt that much (0 to 1)."""
    frames = 4000
    said = round(events * learnt)
    histogram = PredictionHistogram(
        output="event", background="background",
        truth={"background": frames - events, "event": events},
        predicted={"background": frames - said, "event": said},
        quantiles={"0.5": 0.05, "0.9": 0.2, "0.99": 0.2 + 0.7 * learnt, "1": 0.22 + 0.77 * learnt},
        auroc=0.5 + 0.49 * learnt,
    )  # fmt: skip
    return PredictionsObserved(step=step, split="val", histograms=(histogram,))


def blind(step: int, events: int = 155) -> PredictionsObserved:
    """All background, and the scores say nothing."""
    return predictions(step, 0.0, events)


def probes(steps: Sequence[int], ratio: float = 3.0) -> tuple[InputProbed, ...]:
    """The permutation probe at a quarter of the steps and at the end."""
    if not steps:
        return ()
    quarter = next(step for step in steps if step >= steps[-1] / 4)
    return tuple(probe(step, ratio) for step in sorted({quarter, steps[-1]}))


def probe(step: int, ratio: float = 3.0, samples: int = 200) -> InputProbed:
    """Permuted inputs make the losses ``ratio`` times as high."""
    losses = {"lcl_loss": 0.4, "mlc_loss": 0.36, "loss": 0.76}
    permuted = {name: value * ratio for name, value in losses.items()}
    return InputProbed(step=step, split="val", samples=samples, losses=losses, permuted=permuted)


def zeros(count: int = 24, every: int = 25) -> Made:
    """R1: every skeleton is zero. Losses go to the position baseline; nothing is predicted."""
    made = healthy(count, every)
    generator = np.random.default_rng(1)
    t = np.arange(count)

    def settle(start: float, end: float) -> Course:
        course = end + (start - end) * np.exp(-t / (count / 24))
        return course * (1 + 0.003 * generator.standard_normal(count))

    lcl, mlc = settle(0.45, 0.409), settle(0.42, 0.383)
    nothing = np.zeros(count)
    blank = quality(
        "train", 160, zero_frames=1.0, zero_units=160,
        channels=tuple(Channel(name=n, std=0.0, distinct=1) for n in ("x", "y", "score")),
    )  # fmt: skip
    made = made.replace(
        extra=probes(made.steps, 1.0),
        observers=(made.observers[0], lambda place, step: blind(step)),
    ).surveyed(quality=(blank,), inputs=(census("train", 160, 160, policy="zeros"),))
    return made.with_curves(
        train_lcl_loss=lcl, train_mlc_loss=mlc, train_loss=lcl + mlc,
        val_lcl_loss=lcl + 0.004, val_mlc_loss=mlc + 0.004, val_loss=lcl + mlc + 0.008,
        val_edit=nothing, val_f1_event=nothing, val_f1_element=nothing, val_f1_lcl=nothing,
    )  # fmt: skip
