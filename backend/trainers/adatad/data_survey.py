"""The data before the first step, and what a predictor gets that says the same everywhere."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor

from backend.core.errors import DataError
from backend.core.evidence import Baselines, Channel, DataSurvey, InputQuality, SampledLabels
from backend.datasets.temporal import (
    Cut,
    Sampling,
    TemporalData,
    TemporalSplit,
    TemporalVideo,
    centre_view,
    load_window,
    survey_temporal,
)
from backend.datasets.temporal.windows import positions_of
from backend.trainers.adatad.data import DrawnWindows, SlidingWindows
from backend.trainers.adatad.model.assignment import assign
from backend.trainers.adatad.model.geometry import Geometry
from backend.trainers.adatad.model.head import PRIOR
from backend.trainers.adatad.model.losses import ALPHA, GAMMA, distance_iou_loss
from backend.trainers.adatad.model.points import points_of
from backend.trainers.adatad.spec import AdaTadConfig

COUNTED = 400
"""Training windows whose labels are counted."""
LOOKED_AT, PLACES = 8, (0.2, 0.4, 0.6, 0.8)
"""Videos of a split that are looked at, and where in each of them."""
FLAT = 8
"""Levels of 256 by which the pixels of a frame differ that shows nothing: what compression
leaves."""
MOSTLY = 0.95
"""Share of the frames looked at that show nothing in a video of one colour."""
_LOGITS = (-20.0, 20.0)
_OFFSETS = 20_000
"""Positive points that the best constant distances are looked for on."""


class Points(NamedTuple):
    """``number`` points: how often each class is to be found at one, ``wanted`` (classes,), and
    how far start and end are from those where one is, ``truth`` (n, 2), in strides."""

    number: int
    wanted: Tensor
    truth: Tensor


class Constant(NamedTuple):
    """What says the same at every point: a logit per class, and distances to start and end in
    strides. Its losses are sums."""

    logits: tuple[float, ...]
    distances: tuple[float, float]
    cls_loss: float
    reg_loss: float


def survey(
    data: TemporalData,
    drawn: DrawnWindows,
    slid: SlidingWindows,
    geometry: Geometry,
    config: AdaTadConfig,
) -> DataSurvey:
    """Videos and labels of ``train`` and ``val``, what windows of them hold, and what a few
    frames look like."""
    splits = [
        replace(one, split=use) for one, use in zip(data.splits, ("train", "val"), strict=True)
    ]
    found = survey_temporal(replace(data, splits=tuple(splits)), geometry.classes)
    chance = np.random.default_rng(config.seed)
    cuts = [drawn.drawn(index, chance)[1] for index in range(COUNTED)]
    length = drawn.sampling.length
    blind = (
        baselines("train", cuts, geometry, length),
        baselines("val", [cut for _, cut in slid.places], geometry, length),
    )
    return found.model_copy(
        update={
            "quality": tuple(quality(split, config) for split in splits),
            "sampled": (sampled(cuts, splits[0].classes),),
            "baselines": tuple(one for one in blind if one is not None),
        }
    )


def quality(split: TemporalSplit, config: AdaTadConfig) -> InputQuality:
    """A few frames of a few videos, as validation sees them."""
    step = max(1, len(split.usable) // LOOKED_AT)
    seen = {video.name: _glimpse(video, config) for video in split.usable[::step][:LOOKED_AT]}
    found = {name: frames for name, frames in seen.items() if len(frames)}
    blank = tuple(name for name, frames in found.items() if _flat(frames).mean() >= MOSTLY)
    return InputQuality(
        split=split.split,
        units=len(found),
        channels=_channels(np.concatenate(list(found.values()))) if found else (),
        zero_units=len(blank),
        empty="of one colour",
        examples={"zero_units": blank},
    )


def _glimpse(video: TemporalVideo, config: AdaTadConfig) -> NDArray[np.uint8]:
    """Frames (n, 3, size, size); none of a video that cannot be decoded, which is told of where
    it matters."""
    assert video.file is not None, "usable videos have a file"
    view = centre_view((video.file.width, video.file.height), config.frames.size)
    how = Sampling(length=1, stride=config.windows.stride)
    nothing = np.empty((0, 2), np.float32), np.empty(0, np.int64)
    places = {int(share * positions_of(video, how.stride)) for share in PLACES}
    threads = config.videos.threads
    try:
        loaded = [load_window(video, Cut(at, 1, *nothing), how, view, threads) for at in places]
    except DataError:
        return np.empty((0, 3, view.side, view.side), np.uint8)
    return np.concatenate([one.frames for one in loaded if not one.lost] or [loaded[0].frames])


def _flat(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which frames show nothing."""
    spread: NDArray[np.uint8] = np.ptp(frames, axis=(2, 3)).max(axis=1)
    return spread < FLAT


def _channels(frames: NDArray[np.uint8]) -> tuple[Channel, ...]:
    return tuple(
        Channel(name=name, std=float(values.std()), distinct=len(np.unique(values)))
        for name, values in zip(("red", "green", "blue"), frames.swapaxes(0, 1), strict=True)
    )


def sampled(cuts: Sequence[Cut], classes: Sequence[str]) -> SampledLabels:
    """The actions that training windows keep; positions are windows, for the focal loss has no
    weight of a labelled position."""
    counts = np.bincount(np.concatenate([cut.labels for cut in cuts]), minlength=len(classes))
    return SampledLabels(
        split="train",
        positions=len(cuts),
        positive=sum(len(cut.labels) > 0 for cut in cuts),
        counts=dict(zip(classes, counts.tolist(), strict=True)),
    )


def baselines(
    split: str, cuts: Sequence[Cut], geometry: Geometry, length: int
) -> Baselines | None:
    """The losses of blind predictors, as validation takes them; training divides by a running
    mean of what they are divided by here. None without a positive point.

    ``constant`` says the same everywhere, ``position`` the same at each level of the pyramid, so
    it knows how long the actions are that a level is for; ``untrained`` says what a head does
    that was just made.
    """
    levels = points_seen(cuts, geometry, length)
    numbers, wanted, truths = zip(*levels, strict=True)
    whole = Points(sum(numbers), torch.stack(wanted).sum(0), torch.cat(truths))
    if not len(whole.truth):
        return None
    blind = {
        "untrained": [untrained(whole)],
        "constant": [best(whole)],
        "position": [best(level) for level in levels],
    }
    losses = {}
    for name, said in blind.items():
        cls_loss = sum(one.cls_loss for one in said) / len(whole.truth)
        reg_loss = sum(one.reg_loss for one in said) / len(whole.truth)
        losses[name] = {"cls_loss": cls_loss, "reg_loss": reg_loss, "loss": cls_loss + reg_loss}
    return Baselines(split=split, losses=losses, counted=len(cuts))


def points_seen(cuts: Iterable[Cut], geometry: Geometry, length: int) -> list[Points]:
    """The points of windows with these cuts, level by level."""
    points = points_of([length // stride for stride in geometry.strides], torch.device("cpu"))
    counts = torch.zeros(geometry.levels, dtype=torch.int64)
    wanted = torch.zeros(geometry.levels, geometry.classes)
    truths: list[list[Tensor]] = [[torch.empty(0, 2)] for _ in geometry.strides]
    for cut in cuts:
        segments, labels = torch.from_numpy(cut.segments), torch.from_numpy(cut.labels)
        targets = assign(points, segments, labels, geometry.classes)
        valid = points.positions < cut.count
        positive = valid & (targets.classes.sum(-1) > 0)
        for at, stride in enumerate(geometry.strides):
            here = points.strides == stride
            counts[at] += (valid & here).sum()
            wanted[at] += targets.classes[positive & here].sum(0)
            truths[at].append(targets.offsets[positive & here])
    levels = zip(counts.tolist(), wanted, map(torch.cat, truths), strict=True)
    return [Points(*level) for level in levels]


def best(points: Points) -> Constant:
    """What has the lowest losses among all that is the same at these points."""
    said = [_best_logit(count, points.number) for count in points.wanted.tolist()]
    distances, reg_loss = _best_distances(points.truth) if len(points.truth) else ((0.0, 0.0), 0.0)
    logits = tuple(logit for logit, _ in said)
    return Constant(logits, distances, sum(loss for _, loss in said), reg_loss)


def untrained(points: Points) -> Constant:
    """What a new head says: a low score of every class, and no extent."""
    logit = -math.log((1 - PRIOR) / PRIOR)
    focal = sum(_focal(logit, count, points.number) for count in points.wanted.tolist())
    signs = torch.tensor([-1.0, 1.0])
    nothing = distance_iou_loss(torch.zeros_like(points.truth), points.truth * signs)
    return Constant((logit,) * len(points.wanted), (0.0, 0.0), focal, nothing.sum().item())


def _best_logit(positive: float, number: int) -> tuple[float, float]:
    """Of a class that ``positive`` of ``number`` points are to find, and its summed loss."""
    best = minimize_scalar(_focal, bounds=_LOGITS, args=(positive, number), method="bounded")
    return float(best.x), float(best.fun)


def _focal(logit: float, positive: float, number: int) -> float:
    """The summed focal loss of one logit at ``number`` points, ``positive`` of them positive."""
    yes, no = 1 / (1 + math.exp(-logit)), 1 / (1 + math.exp(logit))
    missed = positive * ALPHA * math.pow(no, GAMMA) * -math.log(yes)
    raised = (number - positive) * (1 - ALPHA) * math.pow(yes, GAMMA) * -math.log(no)
    return missed + raised


def _best_distances(truth: Tensor) -> tuple[tuple[float, float], float]:
    """Distances of lowest loss on true ones (n, 2), and that loss, summed."""
    some = truth[:: math.ceil(len(truth) / _OFFSETS)]
    signs = torch.tensor([-1.0, 1.0])

    def loss(distances: np.ndarray[tuple[int], np.dtype[np.float64]], on: Tensor) -> float:
        said = torch.from_numpy(distances).to(on) * signs
        return distance_iou_loss(said.expand_as(on), on * signs).sum().item()

    start = some.double().median(0).values.numpy()
    best = minimize(loss, start, (some.double(),), "Nelder-Mead", bounds=[(0, None)] * 2)
    return (float(best.x[0]), float(best.x[1])), loss(best.x, truth.double())
