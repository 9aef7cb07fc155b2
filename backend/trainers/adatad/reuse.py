"""Features of a frozen backbone, computed once and shared on disk.

``folder/<backbone and its input>/<video>.safetensors`` holds a video's features, (steps, C)
float32. Where the backbone is frozen, without adapters and without augmentation, and windows begin
at whole chunks, a chunk's features are the same in every window and every run
(``Geometry.chunkwise``), so a run that reads them gives the bits of one that computes them.
"""

import copy
import fcntl
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from backend.core.errors import DataError, StoreError
from backend.core.events import Noted, Prepared
from backend.core.trainer import Emit
from backend.core.wording import some
from backend.core.workdir import write_atomic
from backend.datasets.temporal import (
    Cut,
    LoadedWindow,
    Sampling,
    TemporalSplit,
    TemporalVideo,
    centre_view,
    load_window,
)
from backend.datasets.temporal.reading import fingerprint
from backend.datasets.temporal.windows import positions_of
from backend.runner.device import resolve_device
from backend.trainers.adatad.model.backbone import Backbone
from backend.trainers.adatad.model.geometry import Geometry
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.spec import AdaTadConfig

_SHAPES = ("width", "layers", "heads", "mlp_ratio", "patch", "tubelet", "chunk", "native")
"""Of a geometry, what a backbone without adapters depends on."""
_NAME = "features"
_WHAT = "features of videos"


@dataclass(frozen=True)
class Reuse:
    """``files``: a video's path to that of its features; ``fill`` puts them in. ``remarks`` say
    why nothing is used again; then there are none."""

    geometry: Geometry
    length: int
    files: dict[Path | None, Path] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def features(self, video: TemporalVideo, cut: Cut) -> Tensor | None:
        """Those of a window (steps, C), zeros in the padding; None for a video without.

        The file is opened anew, as a loader's process must. Raises DataError if it was damaged
        since the training began.
        """
        path = self.files.get(video.path)
        if path is None:
            return None
        tubelet = self.geometry.tubelet
        first, count = cut.start // tubelet, -(-cut.count // tubelet)
        found = torch.zeros(self.length // tubelet, self.geometry.width)
        try:
            with safe_open(path, framework="pt") as file:
                found[:count] = file.get_slice(_NAME)[first : first + count]
        except (SafetensorError, OSError, RuntimeError) as error:
            raise DataError(f"{path}: features cannot be read ({error}); delete it") from None
        return found


class _Stored(NamedTuple):
    """The features of a video; ``lost`` of its frames could not be decoded."""

    path: Path
    lost: int


class _Job(NamedTuple):
    """What features are computed with."""

    config: AdaTadConfig
    backbone: Backbone
    device: torch.device


def reuse_of(config: AdaTadConfig, geometry: Geometry) -> Reuse | None:
    """Where features will be, none of which is there before ``fill``; None if nobody asked."""
    if config.reuse.features == "off" or config.reuse.folder is None:
        return None
    why = _impossible(config, geometry)
    remarks = (f"no features are used again: {why}",) if why else ()
    return Reuse(geometry, config.windows.length, remarks=remarks)


def fill(
    reuse: Reuse,
    config: AdaTadConfig,
    learner: AdaTad,
    splits: Sequence[TemporalSplit],
    emit: Emit,
    asked: Callable[[], str | None] = lambda: None,
) -> str | None:
    """Find the features of all videos of the splits; compute those that are not there, and tell
    of each. The reason if ``asked`` gave one to stop.

    Raises DataError for a video that cannot be decoded, StoreError for a folder that cannot be
    written.
    """
    folder = config.reuse.folder
    if reuse.remarks or folder is None:
        return None
    device = resolve_device(config.device)
    job = _Job(config, copy.deepcopy(learner.backbone).to(device).eval(), device)
    videos = list({video.path: video for split in splits for video in split.usable}.values())
    with _held(folder / _key(job), emit) as shelf:
        places = [_place(shelf, video) for video in videos]
        found = {place: one for place in places if (one := _stored(place))}
        missing = {place: v for place, v in zip(places, videos, strict=True) if place not in found}
        for done, (place, video) in enumerate(missing.items()):
            emit(Prepared(what=_WHAT, done=done, total=len(missing)))
            if reason := asked():
                return reason
            found[place] = _fill(place, video, job)
        if missing:
            emit(Prepared(what=_WHAT, done=len(missing), total=len(missing)))
    lossy = [v.name for v, place in zip(videos, places, strict=True) if found[place].lost]
    if lossy:
        remark = (
            f"no features are used again: {len(lossy)} videos have frames that cannot be decoded "
            f"({some(lossy)}), and what stands in for one depends on the window"
        )
    else:
        reuse.files.update(zip((video.path for video in videos), places, strict=True))
        remark = (
            "features of the frozen backbone are used again, no frame is decoded in training: of "
            f"{len(videos)} videos {len(videos) - len(missing)} were found in {folder}, "
            f"{len(missing)} were computed"
        )
    emit(Noted(level="info", message=remark))
    return None


def _impossible(config: AdaTadConfig, geometry: Geometry) -> str:
    """Why features would not be the same in another window or run; empty if they are."""
    if config.freeze.strategy != "head-only":
        return f"with freeze.strategy '{config.freeze.strategy}' training changes them"
    if config.frames.augment:
        return "each epoch sees other pixels; set frames.augment to false"
    if config.windows.align % geometry.chunk:
        return (
            f"windows.align is {config.windows.align}, so chunks begin anywhere; set a multiple "
            f"of {geometry.chunk}"
        )
    return ""


def _key(job: _Job) -> str:
    """Of the weights, what they are given to see, and what computes: all that decides the bits
    but for the video."""
    facts = {
        **{name: getattr(job.backbone.geometry, name) for name in _SHAPES},
        "size": job.config.frames.size,
        "stride": job.config.windows.stride,
        "torch": torch.__version__,
        "av": av.__version__,
        "machine": _machine(job.device),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(job.backbone.state_dict().items()):
        digest.update(f"\n{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()[:32]


def _machine(device: torch.device) -> str:
    """Kinds of processors round differently."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _place(shelf: Path, video: TemporalVideo) -> Path:
    assert video.path is not None, "usable videos have a file"
    return shelf / f"{fingerprint(video.path).hex()[:32]}.safetensors"


@contextmanager
def _held(shelf: Path, emit: Emit) -> Iterator[Path]:
    """Let one process at a time compute: the others say that they wait, and find what it has
    written.

    The system lets go if it dies. Raises StoreError for a folder that cannot be written.
    """
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        file = (shelf / "lock").open("w", encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{shelf}: cannot be written ({error.strerror}); set reuse.folder to another folder, "
            "or reuse.features to off"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            emit(Prepared(what=f"{_WHAT}, by another process"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield shelf


def _stored(path: Path) -> _Stored | None:
    """None if it is not there, or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            facts, features = file.metadata() or {}, file.get_tensor(_NAME)
    except (SafetensorError, OSError):
        return None
    whole = facts.get("sha256") == hashlib.sha256(_bytes(features)).hexdigest()
    return _Stored(path, int(facts["lost"])) if whole else None


def _fill(path: Path, video: TemporalVideo, job: _Job) -> _Stored:
    """Write the features of a video, all or nothing. Raises DataError, StoreError."""
    features, lost = [], 0
    for window in _windows(video, job.config):
        frames, valid = torch.from_numpy(window.frames), torch.from_numpy(window.valid)
        pooled = job.backbone.pooled(frames[None].to(job.device), valid[None].to(job.device))
        features.append(pooled[0].cpu())
        lost += window.lost
    positions = positions_of(video, job.config.windows.stride)
    steps = -(-positions // job.backbone.geometry.tubelet)
    whole = torch.cat(features)[:steps].contiguous()
    digest = hashlib.sha256(_bytes(whole)).hexdigest()
    facts = {"video": video.name, "lost": str(lost), "sha256": digest}
    write_atomic(path, save({_NAME: whole}, metadata=facts))
    return _Stored(path, lost)


def _windows(video: TemporalVideo, config: AdaTadConfig) -> Iterator[LoadedWindow]:
    """A video in windows that do not overlap; ``runner.workers`` of them are decoded at once."""
    assert video.file is not None, "usable videos have a file"
    view = centre_view((video.file.width, video.file.height), config.frames.size)
    sampling = Sampling(config.windows.length, config.windows.stride)
    total, length = positions_of(video, sampling.stride), sampling.length
    nothing = np.empty((0, 2), np.float32), np.empty(0, np.int64)

    def load(start: int) -> LoadedWindow:
        cut = Cut(start, min(length, total - start), *nothing)
        return load_window(video, cut, sampling, view, config.videos.threads)

    workers = max(1, config.runner.workers)
    starts = range(0, total, length)
    with ThreadPoolExecutor(workers) as pool:
        for at in range(0, len(starts), workers):
            yield from pool.map(load, starts[at : at + workers])


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()
