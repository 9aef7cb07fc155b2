"""Tracking a sequence: births, misses and ends of tracks (specs/motrv2.md, 1.6)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from torch import Tensor

from backend.trainers.motrv2.batch import Frame
from backend.trainers.motrv2.model.interaction import within
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.model.queries import UNNAMED, Found, Queries
from backend.trainers.motrv2.model.transformer import Memory

Votes = Mapping[int, Tensor]
"""Sums of class scores (C,) by id."""


@dataclass(frozen=True)
class TrackSettings:
    """When a track begins, ends and is shown; the defaults are the reference's.

    ``label`` is the class of a track: ``frame`` the best of this frame, ``vote`` the one with
    the highest sum of scores so far. ``min_area`` is in pixels of the image as it was given.
    """

    score_threshold: float = 0.5
    filter_threshold: float = 0.5
    update_threshold: float = 0.5
    miss_tolerance: int = 20
    min_area: float = 100.0
    max_track_queries: int = 300
    label: Literal["frame", "vote"] = "frame"
    first_id: int = 1


@dataclass(frozen=True)
class TrackState:
    """Where a sequence stands: the queries that go on, how many tracks were born, and the votes
    of each id (only where labels are voted on). A new one is the start of a sequence."""

    queries: Queries | None = None
    born: int = 0
    votes: Votes = field(default_factory=dict)


@dataclass(frozen=True)
class FrameTracks:
    """All N queries of a frame after it was seen, on the CPU.

    ``ids`` (N,), -1 for no track; ``boxes`` (N, 4) cxcywh in 0..1; ``class_scores`` (N, C);
    ``labels`` (N,) from 0; ``misses`` (N,).
    """

    ids: Tensor
    boxes: Tensor
    class_scores: Tensor
    labels: Tensor
    misses: Tensor

    @property
    def scores(self) -> Tensor:
        """The highest score (N,) over the classes."""
        return self.class_scores.amax(-1)

    def shown(self, size: tuple[int, int], settings: TrackSettings) -> "FrameTracks":
        """The tracks to write, for an image of ``size`` (width, height)."""
        area = self.boxes[:, 2] * self.boxes[:, 3] * size[0] * size[1]
        chosen = (self.ids >= 0) & (self.scores > settings.score_threshold)
        chosen &= area > settings.min_area
        return FrameTracks(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


def track(
    network: Motr, frames: Iterable[Frame], settings: TrackSettings
) -> Iterator[FrameTracks]:
    """Track one sequence, whose frames come in order. The network must be in evaluation mode."""
    state = TrackState()
    for frame in frames:
        state, tracks = step(network, state, frame, settings)
        yield tracks


@torch.no_grad()
def step(
    network: Motr,
    state: TrackState,
    frame: Frame,
    settings: TrackSettings,
    memory: Memory | None = None,
) -> tuple[TrackState, FrameTracks]:
    """See one more frame, encoded already if there is a ``memory``; objects and labels of it are
    not looked at."""
    memory = network.encode(frame.image[None]) if memory is None else memory
    queries = network.new_queries(frame)
    if state.queries is not None:
        queries = queries.followed_by(state.queries)
    found = network.decode(memory, queries.content, queries.anchors)
    queries, born = counted(queries, found.scores, state.born, settings)
    tracks, votes = _told(queries, found, state.votes, settings)
    kept = within(queries.ids >= 0, queries.ids, found.scores, settings.max_track_queries)
    good = found.scores[kept] > settings.update_threshold
    passed = network.track_embed(queries.taken(kept), found.taken(kept), good)
    return TrackState(passed, born, votes), tracks


def counted(
    queries: Queries, scores: Tensor, born: int, settings: TrackSettings
) -> tuple[Queries, int]:
    """The queries with ids and misses after a frame of these scores (N,); ids so far.

    New ids go by the order of the queries. A track that was missed ``miss_tolerance`` times
    since it was last sure loses its id.
    """
    named = queries.ids >= 0
    sure = scores >= settings.score_threshold
    misses = queries.misses.masked_fill(sure, 0)
    new = ~named & sure
    fresh = settings.first_id + born + new.cumsum(0) - 1
    ids = torch.where(new, fresh, queries.ids)
    missed = named & (scores < settings.filter_threshold)
    misses = misses + missed.long()
    ended = missed & (misses >= settings.miss_tolerance)
    ids = ids.masked_fill(ended, UNNAMED)
    return replace(queries, ids=ids, misses=misses), born + int(new.sum())


def _told(
    queries: Queries, found: Found, votes: Votes, settings: TrackSettings
) -> tuple[FrameTracks, Votes]:
    """What is told of a frame, and the votes after it."""
    ids, class_scores = queries.ids.cpu(), found.logits[-1].float().sigmoid().cpu()
    labels = class_scores.argmax(-1)
    if settings.label == "vote":
        votes = _counted_in(votes, ids, class_scores)
        chosen = [votes.get(one, row) for one, row in _rows(ids, class_scores)]
        labels = torch.stack(chosen).argmax(-1)
    boxes = found.boxes[-1].float().cpu()
    return FrameTracks(ids, boxes, class_scores, labels, queries.misses.cpu()), votes


def _counted_in(votes: Votes, ids: Tensor, scores: Tensor) -> Votes:
    """The sums (C,) of the tracks that go on."""
    rows = [(one, row) for one, row in _rows(ids, scores) if one >= 0]
    return {one: votes[one] + row if one in votes else row for one, row in rows}


def _rows(ids: Tensor, scores: Tensor) -> Iterator[tuple[int, Tensor]]:
    return zip(ids.tolist(), scores, strict=True)
