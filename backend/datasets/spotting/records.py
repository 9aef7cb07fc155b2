"""Event spotting data as our trainers take it. No torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.evidence import LabelCensus
from backend.core.records import DatasetInput
from backend.scoring.spotting.decoding import Group


@dataclass(frozen=True)
class SpotEvent:
    """One event: its raw frame, its label as written, and the elements of it that are known
    (numbers in ``SpottingSplit.elements``)."""

    frame: int
    label: str
    elements: tuple[int, ...]


@dataclass(frozen=True)
class SpotClip:
    """One clip. ``near_hand`` and ``far_hand`` are ``RH``, ``LH`` or empty; width and height 0 if
    the file does not tell."""

    name: str
    num_frames: int
    fps: float
    events: tuple[SpotEvent, ...]
    width: int = 0
    height: int = 0
    near_hand: str = ""
    far_hand: str = ""


@dataclass(frozen=True)
class SpottingSplit:
    """A split of a dataset, read and checked.

    ``source`` is its JSON file, ``skeletons`` the folder of skeleton files. ``notes`` are
    warnings, ``remarks`` are not; ``labels`` is the census of rules D03 and D05.
    """

    name: str
    source: Path
    skeletons: Path
    elements: tuple[str, ...]
    clips: tuple[SpotClip, ...]
    separator: str
    stride: int
    groups: tuple[Group, ...]
    digest: str
    labels: LabelCensus
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def as_input(self) -> DatasetInput:
        """The split as MLflow's dataset input. ``digest`` covers annotations and skeletons."""
        return DatasetInput(
            name=self.source.parent.name,
            path=str(self.source),
            split=self.name,
            digest=self.digest,
            images=len(self.clips),
            instances=sum(len(clip.events) for clip in self.clips),
        )


@dataclass(frozen=True)
class Skeleton:
    """Two persons (0 far, 1 near) over a clip, in pixels.

    ``keypoint`` float32 (2, T, 17, 2), ``score`` float32 (2, T, 17): 0 for a joint that is
    missing. ``image`` is (height, width). ``present`` (2,) tells which person was given.
    """

    keypoint: NDArray[np.float32]
    score: NDArray[np.float32]
    image: tuple[int, int]
    present: tuple[bool, bool] = (True, True)
    notes: tuple[str, ...] = ()
