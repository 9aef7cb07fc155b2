"""Windows of videos, which are what the network sees (specs/adatad.md, 1).

Training draws one of each video and epoch; validation and inference slide over whole videos.
"""

import random
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from backend.core.errors import DataError
from backend.datasets.temporal import (
    Augmentation,
    Cut,
    Expectations,
    ReadOptions,
    Sampling,
    TemporalData,
    TemporalSplit,
    TemporalVideo,
    View,
    annotation_file,
    centre_view,
    check_temporal,
    draw_cut,
    draw_view,
    load_window,
    sliding_cuts,
    trainable,
)
from backend.datasets.temporal.reading import FOLDER
from backend.trainers.adatad.batch import Window
from backend.trainers.adatad.reuse import Reuse
from backend.trainers.adatad.spec import AdaTadConfig


def subset_of(config: AdaTadConfig, split: str) -> str:
    """What the annotations call a split; one that the config does not know is called as it is."""
    return {"train": config.subsets.train, "val": config.subsets.val}.get(split, split)


def sampling_of(config: AdaTadConfig) -> Sampling:
    """How windows lie in videos. Raises ConfigError for what no window can be."""
    windows = config.windows
    return Sampling(
        length=windows.length,
        stride=windows.stride,
        trunc_thresh=windows.trunc_thresh,
        crop_ratio=windows.crop_ratio,
        align=windows.align,
    )


def read_data(
    config: AdaTadConfig,
    splits: Sequence[str],
    data: Path | None = None,
    classes: Sequence[str] = (),
) -> TemporalData:
    """Splits of ``data`` (the config's by default), held against the config, not refused yet.

    ``classes``: those of a checkpoint, by default the config's, else all of the file. Raises
    DataError for what cannot be read, ConfigError for windows that cannot be.
    """
    options = ReadOptions(
        classes=tuple(classes) or config.classes,
        ignored=config.ignored,
        videos=_folder(config, data),
        threads=config.videos.threads,
    )
    wanted = Expectations(
        sampling=sampling_of(config),
        trained=frozenset({config.subsets.train}),
        allow_missing=config.videos.allow_missing,
    )
    subsets = [subset_of(config, split) for split in splits]
    return check_temporal(data or config.data, subsets, options, wanted)


class DrawnWindows:
    """Windows at random, for training: ``windows.per_video`` of each video in an epoch.

    Randomness is that of ``random``, which the Runner seeds for each sample. Raises DataError if
    no video has a window with an action.
    """

    def __init__(
        self, split: TemporalSplit, config: AdaTadConfig, reuse: Reuse | None = None
    ) -> None:
        self.sampling = sampling_of(config)
        self.videos = [video for video in split.usable if trainable(video, self.sampling)]
        if not self.videos:
            raise DataError(
                f"{split.source}, {split.split}: none of {len(split.videos):,} videos has a "
                f"window of {config.windows.length} positions at stride {config.windows.stride} "
                "with an action to train on; set windows.length or windows.stride to fit"
            )
        self._loader = _Loader(config, self.sampling, reuse)
        self._frames = config.frames
        self._augmentation = _augmentation(config) if config.frames.augment else None
        self._count = len(self.videos) * config.windows.per_video

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Window:
        """A window of a video. Raises DataError if it cannot be decoded."""
        chance = np.random.default_rng(random.getrandbits(64))
        video, cut = self.drawn(index, chance)
        return self._loader.load(video, cut, self._view(video, chance))

    def drawn(self, index: int, chance: np.random.Generator) -> tuple[TemporalVideo, Cut]:
        """A video, and what of it is looked at; nothing is decoded."""
        video = self.videos[index % len(self.videos)]
        return video, draw_cut(video, self.sampling, chance)

    def _view(self, video: TemporalVideo, chance: np.random.Generator) -> View:
        if self._augmentation is None:
            return _centre(video, self._frames.size)
        return draw_view(_size(video), self._frames.size, self._augmentation, chance)


class SlidingWindows:
    """Whole videos, window after window, each sharing ``overlap`` with the next one.

    ``places`` are the video and the cut of each window, in order. Videos without a usable file
    have none.
    """

    def __init__(
        self,
        videos: Sequence[TemporalVideo],
        config: AdaTadConfig,
        overlap: float,
        reuse: Reuse | None = None,
    ) -> None:
        sampling = sampling_of(config)
        self._loader = _Loader(config, sampling, reuse)
        self._side = config.frames.size
        self.places = [
            (video, cut)
            for video in videos
            if video.file is not None
            for cut in sliding_cuts(video, sampling, overlap)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Window:
        """A window in the middle of the picture. Raises DataError if it cannot be decoded."""
        video, cut = self.places[index]
        return self._loader.load(video, cut, _centre(video, self._side))


class _Loader:
    """Cuts as windows: decoded, or with features that were computed before."""

    def __init__(self, config: AdaTadConfig, sampling: Sampling, reuse: Reuse | None) -> None:
        self._sampling = sampling
        self._threads = config.videos.threads
        self._reuse = reuse

    def load(self, video: TemporalVideo, cut: Cut, view: View) -> Window:
        """A window; a lost frame repeats the one before, with a warning."""
        features = self._reuse.features(video, cut) if self._reuse else None
        if features is not None:
            return Window(
                frames=torch.empty((0, 3, view.side, view.side), dtype=torch.uint8),
                valid=torch.arange(self._sampling.length) < cut.count,
                segments=torch.from_numpy(cut.segments),
                labels=torch.from_numpy(cut.labels),
                video=video.name,
                start=cut.start,
                features=features,
            )
        loaded = load_window(video, cut, self._sampling, view, self._threads)
        if loaded.lost:
            warnings.warn(
                f"video {video.name}: {loaded.lost} of {cut.count} frames of a window cannot be "
                "decoded, they repeat the frame before",
                stacklevel=2,
            )
        return Window(
            frames=torch.from_numpy(loaded.frames),
            valid=torch.from_numpy(loaded.valid),
            segments=torch.from_numpy(loaded.segments),
            labels=torch.from_numpy(loaded.labels),
            video=loaded.video,
            start=loaded.start,
        )


def _folder(config: AdaTadConfig, data: Path | None) -> Path | None:
    """The config's folder of videos, unless other annotations have their own beside them."""
    if data is not None and data.resolve() != config.data.resolve():
        beside = annotation_file(data).parent / FOLDER
        return None if beside.is_dir() else config.videos.folder
    return config.videos.folder


def _augmentation(config: AdaTadConfig) -> Augmentation:
    return Augmentation(**config.frames.model_dump(exclude={"size", "augment"}))


def _centre(video: TemporalVideo, side: int) -> View:
    return centre_view(_size(video), side)


def _size(video: TemporalVideo) -> tuple[int, int]:
    """Width and height of a usable video."""
    assert video.file is not None, "windows are of videos with a file"
    return video.file.width, video.file.height
