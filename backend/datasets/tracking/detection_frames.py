"""Frames of tracking splits by what detectors call them: paths, ``<sequence>_<number>``."""

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from backend.core.errors import DataError
from backend.core.wording import some
from backend.datasets.tracking.detection_keys import KeyRule, frame_key
from backend.datasets.tracking.mot_folder import IMAGE_FOLDER
from backend.datasets.tracking.records import TrackingSplit, TrackSequence

_FOLDERS = frozenset({IMAGE_FOLDER, "labels", "images", "det"})
_NUMBERED = re.compile(r"(.+?)[_-](\d+)")

Frame = tuple[str, int]
"""``<split>/<sequence>``, or ``<sequence>`` of a folder that is one split; and the number."""


class Frames:
    """All frames of some splits."""

    def __init__(self, splits: Sequence[TrackingSplit]) -> None:
        self.splits = splits
        self.root = splits[0].root
        self.sequences: dict[str, TrackSequence] = {
            sequence.folder.relative_to(self.root).as_posix(): sequence
            for split in splits
            for sequence in split.sequences
        }
        self._numbers = {
            name: frozenset(one.numbers.tolist()) for name, one in self.sequences.items()
        }
        images = {one.images_in for one in self.sequences.values()}
        self._rule = KeyRule(self.root, _FOLDERS | images)

    def sequence(self, name: str, source: str) -> str:
        """The sequence called ``<split>/<name>`` or ``<name>``. Raises DataError."""
        fitting = [one for one in self.sequences if one == name or one.endswith(f"/{name}")]
        if len(fitting) > 1:
            raise DataError(
                f"{source}: '{name}' may be {some(fitting)}; name the split in the path, or "
                "choose one with --split"
            )
        if not fitting:
            raise DataError(
                f"{source}: there is no sequence '{name}' in {self.root}; it has "
                f"{some(self.sequences)}"
            )
        return fitting[0]

    def has(self, frame: Frame) -> bool:
        """Is it a frame of theirs?"""
        return frame[1] in self._numbers[frame[0]]

    def known(self, frame: Frame, source: str) -> Frame:
        """The frame. Raises DataError if its sequence has no such frame."""
        if not self.has(frame):
            numbers = self.sequences[frame[0]].numbers
            reach = f"{numbers[0]} to {numbers[-1]}" if len(numbers) else "none"
            raise DataError(
                f"{source}: {frame[0]} has no frame {frame[1]}; its frames are {reach}"
            )
        return frame

    def find(self, path: str, source: str) -> Frame:
        """The frame of an image's or a text's path, or of the image itself, wherever a link of
        the folder leads to. Raises DataError."""
        if (found := self._of_image(path)) is not None:
            return found
        folders, _, stem = frame_key(path, self._rule).rpartition(":")
        if folders and stem.isdecimal():
            return self.known((self.sequence(self._tail(folders), source), int(stem)), source)
        numbered = _NUMBERED.fullmatch(stem)
        if numbered is None:
            raise DataError(
                f"{source}: '{path}' tells no sequence and frame; expected such as "
                "<sequence>/<number>.jpg or <sequence>_<number>.jpg"
            )
        name = "/".join((*folders.split("/")[-1:], numbered[1])) if folders else numbered[1]
        name = name if self._fits(name) else numbered[1]
        return self.known((self.sequence(name, source), int(numbered[2])), source)

    def _tail(self, folders: str) -> str:
        """The last two folders if they name a sequence, else the last one."""
        two = "/".join(folders.split("/")[-2:])
        return two if self._fits(two) else folders.rpartition("/")[2]

    def _fits(self, name: str) -> bool:
        return any(one == name or one.endswith(f"/{name}") for one in self.sequences)

    def _of_image(self, path: str) -> Frame | None:
        """By the real file; a bare file name counts if only one image has it."""
        given = Path(path)
        named = self._images.get(given.name, ())
        if given.is_absolute():
            real = given.resolve()
            return next((frame for image, frame in named if image == real), None)
        fitting = [
            frame for image, frame in named if image.parts[-len(given.parts) :] == given.parts
        ]
        return fitting[0] if len(fitting) == 1 else None

    @cached_property
    def _images(self) -> dict[str, list[tuple[Path, Frame]]]:
        """Real image files by file name."""
        found: dict[str, list[tuple[Path, Frame]]] = defaultdict(list)
        for name, sequence in self.sequences.items():
            for number, image in zip(sequence.numbers.tolist(), sequence.images, strict=True):
                if image is not None:
                    real = image.resolve()
                    found[real.name].append((real, (name, number)))
        return found
