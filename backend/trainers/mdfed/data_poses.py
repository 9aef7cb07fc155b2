"""The poses of a split's clips: read once, normalised, and kept as long as they fit."""

from typing import NamedTuple

from backend.core.errors import DataError
from backend.datasets.spotting.records import Skeleton, SpottingSplit
from backend.datasets.spotting.skeleton_files import read_skeleton, skeleton_file
from backend.datasets.spotting.skeletons import missing_skeletons
from backend.trainers.mdfed.normalising import Pose, normalise
from backend.trainers.mdfed.spec import MdFedConfig

MOST_BYTES = 1 << 30
"""What a split's poses may take in memory; what is beyond is read again each time."""
_SHOWN = 5


class Clip(NamedTuple):
    """A clip's pose; ``skeleton`` is there for a stage that sees frames drawn from it."""

    pose: Pose
    skeleton: Skeleton | None


class Poses:
    """Poses by the number of the clip; None for a clip whose file is missing, if that may be."""

    def __init__(
        self, split: SpottingSplit, config: MdFedConfig, most_bytes: int = MOST_BYTES
    ) -> None:
        self._split = split
        self._config = config
        self._visual = config.stage > 1
        self._room = most_bytes
        self._kept: dict[int, Clip] = {}
        self._files = [skeleton_file(split.skeletons, clip.name) for clip in split.clips]

    def has(self, number: int) -> bool:
        """Is there a file? It is not opened."""
        return self._files[number] is not None

    def fill(self) -> None:
        """Read what fits: before loader processes are forked, which then share it.

        Raises DataError as ``get`` does.
        """
        refuse_missing(self._split, self._config)
        for number in range(len(self._files)):
            if self._room <= 0:
                return
            self.get(number)

    def get(self, number: int) -> Clip | None:
        """A clip's pose, None without a file. Raises DataError for one that is not whole, and as
        ``refuse_missing`` does."""
        path = self._files[number]
        if path is None:
            refuse_missing(self._split, self._config)
            return None
        if number in self._kept:
            return self._kept[number]
        skeleton = read_skeleton(path, self._split.clips[number].num_frames)
        clip = Clip(normalise(skeleton), skeleton if self._visual else None)
        if self._room > 0:
            self._kept[number] = clip
            self._room -= _bytes(clip)
        return clip


def refuse_missing(split: SpottingSplit, config: MdFedConfig) -> None:
    """Raises DataError if skeleton files are missing and ``skeletons.missing`` says ``error``."""
    missing = missing_skeletons(split) if config.skeletons.missing == "error" else ()
    if missing:
        more = ", ..." if len(missing) > _SHOWN else ""
        raise DataError(
            f"{split.skeletons}: the skeleton files of {len(missing):,} of {len(split.clips):,} "
            f"{split.name} clips are missing ({', '.join(missing[:_SHOWN])}{more}); set "
            "skeletons.pose_dir to the folder that has them, or skeletons.missing to mask"
        )


def _bytes(clip: Clip) -> int:
    arrays = [*clip.pose]
    if clip.skeleton is not None:
        arrays += [clip.skeleton.keypoint, clip.skeleton.score]
    return sum(array.nbytes for array in arrays)
