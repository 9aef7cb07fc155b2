"""What a network tracks in the sequences of a split, at its thresholds and below them.

Each sequence is followed several times from the same encoded frames: with the thresholds of the
config, and as if they were lower. Scores are stored, so that thresholds above a run's own are
counted without the network. A single run from the lowest one on would not do: tracks that only
it has disturb the others (HOTA 0.17 instead of 0.42 at 0.4 where births began at 0.1, measured).
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from backend.core.errors import DataError
from backend.datasets.tracking.records import Ints, TrackingSplit, TrackSequence
from backend.trainers.motrv2.batch import Frame
from backend.trainers.motrv2.collecting import BoxCollector, QueryCollector, QueryScores, Rows
from backend.trainers.motrv2.data import SequenceFrames
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.model.tracker import FrameTracks, TrackSettings, TrackState, step
from backend.trainers.motrv2.model.transformer import Memory
from backend.trainers.motrv2.spec import Motrv2Config, TrackerConfig

TOGETHER = 4
"""Frames that are encoded at once: on the CPU a quarter cheaper each than alone."""
_SMALL = 512 * 512  # pixels up to which it is worth its memory


@dataclass(frozen=True)
class Followed:
    """A sequence as it was tracked.

    ``stored`` is what each run shows, by its score threshold; the first one's is that of the
    config, and ``births`` are its ids. ``named`` (targets, 2): the label of
    each target and of the surest query at it, ``NOBODY`` if none overlaps it by half.
    ``proposals`` are those that reached the network; ``piled`` counts frames with as many track
    queries as may be.
    """

    sequence: TrackSequence
    size: tuple[int, int]
    stored: Mapping[float, Rows]
    births: tuple[int, ...]
    queries: QueryScores
    named: Ints
    proposals: int
    piled: int

    @property
    def shown(self) -> Rows:
        """At the thresholds of the config."""
        return next(iter(self.stored.values()))

    def above(self, threshold: float) -> Rows:
        """At another threshold, from the run that is nearest below it."""
        below = [one for one in self.stored if one <= threshold]
        return self.stored[max(below, default=min(self.stored))].above(threshold)


def track_settings(config: TrackerConfig) -> TrackSettings:
    """A config's thresholds as the tracker takes them."""
    return TrackSettings(
        score_threshold=config.score_thresh,
        filter_threshold=config.filter_score_thresh,
        update_threshold=config.update_score_thresh,
        miss_tolerance=config.miss_tolerance,
        min_area=config.min_area,
        max_track_queries=config.max_track_queries,
        label=config.label,
    )


def follow_split(network: Motr, split: TrackingSplit, config: Motrv2Config) -> list[Followed]:
    """Track every sequence. The network must be in evaluation mode.

    Raises DataError for an image that cannot be read, and for scores that are no numbers.
    """
    found = []
    for sequence in split.sequences:
        frames = SequenceFrames(sequence, config)
        found.append(follow(network, sequence, frames, config.tracker))
        if not np.isfinite(found[-1].queries.scores).all():
            raise DataError(
                f"{sequence.folder}: the network's scores are no numbers; look for NaN in its "
                "weights, or in the detection database"
            )
    return found


def follow(
    network: Motr, sequence: TrackSequence, frames: SequenceFrames, config: TrackerConfig
) -> Followed:
    """Track one sequence: ids begin at 1, frames are called as their files."""
    runs = _runs(config)
    told = [BoxCollector(frames.size, settings) for settings in runs]
    seen = QueryCollector(sequence, frames.size)
    proposals = piled = 0
    for place, (frame, tracks, full) in enumerate(_tracked(network, frames, runs)):
        for writer, one in zip(told, tracks, strict=True):
            writer.add(frames.numbers[place], one)
        seen.add(place, frames.numbers[place], tracks[0])
        proposals += len(frame.proposals)
        piled += full
    return Followed(
        sequence=sequence,
        size=frames.size,
        stored={
            settings.score_threshold: writer.rows()
            for settings, writer in zip(runs, told, strict=True)
        },
        births=tuple(sorted(told[0].born)),
        queries=seen.queries(),
        named=np.concatenate([np.empty((0, 2), np.int64), *seen.named]),
        proposals=proposals,
        piled=piled,
    )


def rows_shown(
    network: Motr, frames: Iterable[Frame], size: tuple[int, int], settings: TrackSettings
) -> Rows:
    """What is tracked in frames that nothing is known of; they are counted from 0."""
    told = BoxCollector(size, settings)
    for place, (_, tracks, _) in enumerate(_tracked(network, frames, [settings])):
        told.add(place, tracks[0])
    return told.rows()


def encoded(
    network: Motr, frames: Iterable[Frame], device: torch.device
) -> Iterator[tuple[Frame, Memory]]:
    """Frames on the device with what the encoder makes of them; small ones a few at a time."""
    waiting = iter(frames)
    while first := next(waiting, None):
        few = TOGETHER - 1 if first.image[0].numel() <= _SMALL else 0
        group = [one.to(device) for one in (first, *islice(waiting, few))]
        with torch.no_grad():
            memory = network.encode(torch.stack([one.image for one in group]))
        for index, one in enumerate(group):
            yield one, memory.frame(index)


def at_threshold(usual: TrackSettings, threshold: float) -> TrackSettings:
    """Births from another threshold on; what passes it is neither missed nor left as it was."""
    return replace(
        usual,
        score_threshold=threshold,
        filter_threshold=min(usual.filter_threshold, threshold),
        update_threshold=min(usual.update_threshold, threshold),
    )


def _runs(config: TrackerConfig) -> list[TrackSettings]:
    """The thresholds of the config, and every other swept one below them."""
    usual = track_settings(config)
    lower = [one for one in config.sweep if one < usual.score_threshold]
    return [usual, *(at_threshold(usual, one) for one in lower[::2])]


def _tracked(
    network: Motr, frames: Iterable[Frame], runs: Sequence[TrackSettings]
) -> Iterator[tuple[Frame, list[FrameTracks], bool]]:
    """Each frame with what every run makes of it, and whether the first has all the track queries
    that it may have."""
    device = next(network.parameters()).device
    states = [TrackState() for _ in runs]
    for frame, memory in encoded(network, frames, device):
        with warnings.catch_warnings():  # it is told once, not for each frame
            warnings.filterwarnings("ignore", "more than .* track queries")
            steps = [
                step(network, state, frame, settings, memory)
                for state, settings in zip(states, runs, strict=True)
            ]
        states = [state for state, _ in steps]
        kept = states[0].queries
        full = kept is not None and len(kept) >= runs[0].max_track_queries
        yield frame, [tracks for _, tracks in steps], full
