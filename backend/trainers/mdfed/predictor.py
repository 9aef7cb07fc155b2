"""A checkpoint that answers: skeleton files in, events out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import DataError
from backend.core.evidence import LabelCensus
from backend.core.trainer import Spot
from backend.datasets.spotting import SpotClip, SpottingSplit
from backend.datasets.spotting.skeleton_files import SUFFIXES, read_raw
from backend.trainers.mdfed.checkpoint import Saved
from backend.trainers.mdfed.data import Tiles
from backend.trainers.mdfed.evaluation import batches, require_numbers, restored
from backend.trainers.mdfed.inference import decoder_of, found_in, look, truth_of
from backend.trainers.mdfed.spec import MdFedConfig


class SpotPredictor:
    """The events of clips. A clip is the path of a skeleton file (.pkl or .npz)."""

    def __init__(self, saved: Saved, config: MdFedConfig) -> None:
        self._config = saved.fitting(config)
        self._elements, self._groups = saved.elements, saved.groups
        self._network = restored(saved, config)

    def predict(
        self, clips: "Sequence[Path | NDArray[np.uint8]]", conf: float = 0.25
    ) -> list[list[Spot]]:
        """Events by raw frame, in time's order; ``conf`` is the threshold of their decoding.

        A score is p_event averaged over windows before suppression, and may lie below it.

        Raises ValueError for what is no skeleton file.
        """
        return [self._one(clip, conf) for clip in clips]

    def _one(self, clip: "Path | NDArray[np.uint8]", conf: float) -> list[Spot]:
        if not isinstance(clip, str | Path) or Path(clip).suffix not in SUFFIXES:
            got = clip if isinstance(clip, str | Path) else "an array"
            raise ValueError(f"expected the path of a skeleton file (.pkl or .npz), got {got}")
        split = self._split(Path(clip))
        threshold = {"threshold": min(max(conf, 1e-6), 1 - 1e-6)}
        rule = decoder_of(self._config.inference.model_copy(update=threshold), split)
        tiles = Tiles(split, self._config, self._config.inference.overlap)
        windows = batches(tiles, self._config.runner.batch)
        seen = look(self._network, windows, split.stride, rule)
        found = found_in(seen.windows, truth_of(split), rule)[0]
        try:
            require_numbers((found,), Path(clip))
        except DataError as error:
            raise ValueError(str(error)) from error
        assert found.scores is not None
        return [
            Spot(
                frame=int(frame) * split.stride,
                label=split.separator.join(self._elements[n] for n in np.flatnonzero(bits)),
                score=float(found.scores[frame]),
            )
            for frame, bits in zip(found.found.frames, found.found.elements, strict=True)
        ]

    def _split(self, path: Path) -> SpottingSplit:
        """The file as a split of one clip without labels. Raises ValueError."""
        try:
            frames = read_raw(path).keypoint.shape[1]
        except DataError as error:
            raise ValueError(str(error)) from error
        if frames < self._config.clips.stride:
            raise ValueError(
                f"{path}: shorter than one step of stride {self._config.clips.stride}"
            )
        return SpottingSplit(
            name="asked", source=path, skeletons=path.parent, elements=self._elements,
            clips=(SpotClip(path.name, frames, 0.0, ()),),
            separator=self._config.separator, stride=self._config.clips.stride,
            groups=self._groups, digest="",
            labels=LabelCensus(split="asked", units=1, labels=0, counts={}),
        )  # fmt: skip
