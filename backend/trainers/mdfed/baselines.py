"""What a predictor gets that never looks at its input (specs/mdfed.md, 7). No torch.

A loss means nothing by itself: with the usual weights a network that ignores the skeletons gets
0.83 if it says the same always, and 0.78 if it knows where in a window events tend to be.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from backend.core.evidence import Baselines, SampledLabels
from backend.scoring.spotting.decoding import Decoder, Window, decode
from backend.scoring.spotting.matching import Clip
from backend.scoring.spotting.options import SpottingOptions
from backend.scoring.spotting.task import match
from backend.trainers.mdfed.spec import LossConfig

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Labels = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Of one window: ``coarse`` (T,), ``fine`` (T, K), ``valid`` (T,); 0 or 1."""

PSEUDO_CLIPS = 50
PSEUDO_EVENTS = 20
BOX = 5
POSITIVE_CAP = 20.0
SHOWN = ("edit", "f1_event", "f1_element", "f1_lcl", "ap_frame", "auroc_frame")
_LEAST = 1e-7
_LOGITS, _HALVINGS = 20.0, 60


@dataclass(frozen=True)
class LabelTable:
    """The labels of N windows of T frames with M events, as a loader yields them.

    ``valid`` and ``coarse`` (N, T); ``coarse`` is False where not valid. ``fine`` (M, K) are the
    elements at ``coarse``'s events, in their order.
    """

    valid: Bools
    coarse: Bools
    fine: Bools

    @classmethod
    def of(cls, stream: Iterable[Labels]) -> Self:
        """Of windows of one length. Raises ValueError without any."""
        coarse, fine, valid = [], [], []
        for events, elements, there in stream:
            valid.append(np.asarray(there, dtype=np.bool_))
            coarse.append((np.asarray(events) != 0) & valid[-1])
            fine.append(np.asarray(elements)[coarse[-1]] != 0)
        if not coarse:
            raise ValueError("no window to take labels from")
        return cls(np.stack(valid), np.stack(coarse), np.concatenate(fine))

    @property
    def frame_rate(self) -> float:
        """Share of the valid frames that have an event."""
        return float(self.coarse.sum() / max(1, self.valid.sum()))

    @property
    def element_rates(self) -> Floats:
        """Share of the events that have each element; 0 without events."""
        rates: Floats = self.fine.sum(0) / max(1, len(self.fine))
        return rates

    def sampled(self, split: str, elements: Sequence[str], weight: float) -> SampledLabels:
        """The same as evidence; ``weight`` is that of event frames."""
        counts = self.fine.sum(0).tolist()
        return SampledLabels(
            split=split,
            positions=int(self.valid.sum()),
            positive=int(self.coarse.sum()),
            counts=dict(zip(elements, map(int, counts), strict=True)),
            weight=weight,
        )


def positive_weights(rates: Floats, kind: str) -> Floats:
    """The loss's weight of each element's presence, by how often events have it.

    ``inverse``: negatives over positives, ``sqrt``: the root of that; at most 20.
    """
    if kind == "none":
        return np.ones_like(rates)
    ratio = (1 - rates) / np.maximum(rates, _LEAST)
    return np.minimum(np.sqrt(ratio) if kind == "sqrt" else ratio, POSITIVE_CAP)


def trivial_baselines(
    split: str,
    labels: LabelTable,
    loss: LossConfig,
    positive: Floats | None = None,
    batch: int = 0,
    context: bool = False,
) -> Baselines:
    """Losses by part of predictors that are blind, under the run's own loss.

    ``untrained`` says 0.5, ``constant`` is the best constant, ``position`` knows the frame's
    place in its window: the rates there, smoothed over 5 frames and shrunk to the constant.
    ``positive`` are weights of elements (those of the training split). ``batch``: means over
    batches of so many windows, as a training logs them; 0: all frames in one mean, as a
    validation does. With ``context`` the context module is taken for another classifier.
    """
    counted = _Counted(labels, loss, _weights(labels, loss, positive), batch)
    frames, elements = constant_rates(labels)
    length = labels.coarse.shape[1]
    rates = {
        "constant": (np.full(length, frames), np.tile(elements, (length, 1))),
        "position": position_rates(labels),
    }
    losses = {"untrained": counted.losses(np.full(length, 0.5), np.full((length, 1), 0.5))}
    for name, (event, bits) in rates.items():
        said = _best(loss.fg_weight * event, 1 - event, loss.focal_gamma)
        losses[name] = counted.losses(said, counted.said_of(bits))
    return Baselines(
        split=split,
        losses={name: _total(parts, loss, context) for name, parts in losses.items()},
        counted=len(labels.coarse),
    )


def constant_rates(labels: LabelTable) -> tuple[float, Floats]:
    """Rates of event frames, and of elements among events (K,)."""
    return labels.frame_rate, labels.element_rates


def position_rates(labels: LabelTable) -> tuple[Floats, Floats]:
    """Rates of event frames (T,), and of elements among events (T, K), by place in the window."""
    frames, elements = constant_rates(labels)
    events = uniform_filter1d(labels.coarse.sum(0).astype(np.float64), BOX, mode="constant")
    there = uniform_filter1d(labels.valid.sum(0).astype(np.float64), BOX, mode="constant")
    place = np.nonzero(labels.coarse)[1]
    bits = np.zeros((labels.coarse.shape[1], labels.fine.shape[1]))
    np.add.at(bits, place, labels.fine)
    number = np.bincount(place, minlength=len(bits))[:, None]
    return (
        (events + PSEUDO_CLIPS * frames) / (there + PSEUDO_CLIPS),
        (bits + PSEUDO_EVENTS * elements) / (number + PSEUDO_EVENTS),
    )


def start_probabilities(
    labels: LabelTable, loss: LossConfig, positive: Floats | None = None
) -> tuple[float, Floats]:
    """What the best constant says of an event, and of each element (K,): the start of a network
    with ``model.bias_init``."""
    frames, elements = constant_rates(labels)
    event = _best(loss.fg_weight * np.array(frames), np.array(1 - frames), loss.focal_gamma)
    weights = _weights(labels, loss, positive)
    return float(event), _best(weights * elements, 1 - elements, loss.focal_gamma)


def trivial_metrics(
    clips: Sequence[Clip], elements: Sequence[str], rates: Floats, rule: Decoder,
    options: SpottingOptions,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Metrics without a model on the truth of ``clips``: ``nothing`` says background, and
    ``everything`` an event at each frame, with the elements that ``rates`` (K,) decode to.

    What is undefined is left out.
    """
    found = {}
    for name, event in (("nothing", 0.0), ("everything", 1.0)):
        said = []
        for clip in clips:
            scores = np.tile([1 - event, event], (clip.frames, 1))
            window = Window(0, scores, np.tile(rates, (clip.frames, 1)))
            events, raw = decode([window], clip.frames, rule)
            said.append(replace(clip, found=events, scores=raw))
        metrics = match(elements, said, options).scores().metrics
        found[name] = {key: value for key in SHOWN if (value := metrics[key]) is not None}
    return found


@dataclass(frozen=True)
class _Counted:
    """The loss of predictors that depend on the place in the window only."""

    labels: LabelTable
    loss: LossConfig
    positive: Floats
    batch: int

    def losses(self, event: Floats, elements: Floats) -> dict[str, float]:
        """Of p_event (T,) and element probabilities (T, K)."""
        return {"lcl_loss": self._lcl(event), "mlc_loss": self._mlc(elements)}

    def said_of(self, rates: Floats) -> Floats:
        """The best probabilities of elements with these rates (T, K)."""
        return _best(self.positive * rates, 1 - rates, self.loss.focal_gamma)

    def _lcl(self, said: Floats) -> float:
        events = self.loss.fg_weight * self.labels.coarse
        rest = (self.labels.valid & ~self.labels.coarse).astype(np.float64)
        gamma = self.loss.focal_gamma
        lost = events @ _surprise(said, gamma) + rest @ _surprise(1 - said, gamma)
        return self._mean(lost, (events + rest).sum(1), least=0)

    def _mlc(self, said: Floats) -> float:
        window, place = np.nonzero(self.labels.coarse)
        fine, said = self.labels.fine, said[place]
        right = self.positive * _surprise(said, self.loss.focal_gamma)
        lost = np.where(fine, right, _surprise(1 - said, self.loss.focal_gamma)).sum(1)
        each = np.zeros(len(self.labels.coarse))
        np.add.at(each, window, lost)
        return self._mean(each, self.labels.coarse.sum(1) * float(fine.shape[1]), least=1)

    def _mean(self, lost: Floats, weight: NDArray[Any], least: float) -> float:
        """Mean over batches of what is lost per weight; a batch without weight has lost 0."""
        starts = np.arange(0, len(lost), self.batch or len(lost))
        lost, weight = (np.add.reduceat(part, starts) for part in (lost, weight))
        weight = np.maximum(weight, least)
        each = np.divide(lost, weight, where=weight > 0, out=np.zeros_like(lost))
        return float(each.mean())


def _weights(labels: LabelTable, loss: LossConfig, positive: Floats | None) -> Floats:
    if positive is not None:
        return positive
    return positive_weights(labels.element_rates, loss.pos_weight)


def _total(parts: Mapping[str, float], loss: LossConfig, context: bool) -> dict[str, float]:
    total = loss.lcl * parts["lcl_loss"] + loss.mlc * parts["mlc_loss"]
    if not context:
        return {**parts, "loss": total}
    refined = parts["mlc_loss"]
    return {**parts, "ctx_loss": refined, "loss": total + loss.ctx * refined}


def _surprise(said: Floats, gamma: float) -> Floats:
    """Focal cross entropy where ``said`` is the probability of what is true."""
    said = np.clip(said, _LEAST, 1 - _LEAST)
    return -np.log(said) * (1 - said) ** gamma


def _best(yes: Floats, no: Floats, gamma: float) -> Floats:
    """The probability that loses least when ``yes`` and ``no`` are the weights of both outcomes.

    In closed form without focus, else by halving an interval of logits.
    """
    if not gamma:
        return np.asarray(yes / (yes + no))
    low, high = np.full(yes.shape, -_LOGITS), np.full(yes.shape, _LOGITS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rises = _slope(1 / (1 + np.exp(-middle)), yes, no, gamma) > 0
        low, high = np.where(rises, low, middle), np.where(rises, middle, high)
    return np.asarray(1 / (1 + np.exp(-(low + high) / 2)))


def _slope(said: Floats, yes: Floats, no: Floats, gamma: float) -> Floats:
    """Derivative of the expected focal loss by the logit."""
    rest = 1 - said
    up = rest**gamma * (gamma * said * np.log(said) - rest)
    down = said**gamma * (said - gamma * rest * np.log(rest))
    return np.asarray(yes * up + no * down)
