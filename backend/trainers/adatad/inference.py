"""What a network finds in windows of videos: decoded to seconds, merged video by video.

In float32 whatever training runs in, as all trainers here evaluate: numbers do not depend on
``runner.amp``.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby, islice
from operator import itemgetter

import numpy as np
import torch

from backend.core.errors import DataError
from backend.datasets.temporal import Cut, TemporalVideo, seconds_of
from backend.runner.data import to_device
from backend.scoring.temporal.soft_nms import Detections, SoftNms, merged
from backend.trainers.adatad.batch import Batch, collate
from backend.trainers.adatad.data import SlidingWindows
from backend.trainers.adatad.model.decoding import Keeping, ToSeconds, decode
from backend.trainers.adatad.model.losses import summed_losses
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.model.points import Outputs
from backend.trainers.adatad.spec import AdaTadConfig

Watch = Callable[[Batch, Outputs], None]
"""Gets each batch with what the network says of it."""


class LossSums:
    """The losses of many batches, however windows were put together: sums over all points, divided
    by the number of positive ones. A ``Watch``."""

    def __init__(self) -> None:
        self._sums = {"cls_loss": 0.0, "reg_loss": 0.0, "positives": 0.0}

    def __call__(self, batch: Batch, outputs: Outputs) -> None:
        """Take a batch in."""
        for name, value in summed_losses(outputs, batch.segments, batch.labels).items():
            self._sums[name] += float(value)

    def means(self) -> dict[str, float]:
        """``cls_loss``, ``reg_loss`` and their sum ``loss``."""
        count = max(1.0, self._sums["positives"])
        parts = {name: self._sums[name] / count for name in ("cls_loss", "reg_loss")}
        return {"loss": sum(parts.values()), **parts}


@torch.no_grad()
def look(
    network: AdaTad, windows: SlidingWindows, config: AdaTadConfig, watches: Sequence[Watch] = ()
) -> dict[str, Detections]:
    """The segments of each video in seconds, best first.

    Windows of one video follow one another, so only its own detections wait to be merged.
    Raises DataError for a video that cannot be decoded, and for scores that are no numbers.
    """
    network.eval()
    how = config.inference
    rule = SoftNms(how.sigma, how.min_score, how.max_segments, how.per_class)
    found = _detected(network, windows, config, watches)
    return {
        name: merged([detections for _, detections in parts], rule)
        for name, parts in groupby(found, key=itemgetter(0))
    }


def batches(
    windows: SlidingWindows, places: Sequence[int], size: int, threads: int
) -> Iterator[tuple[Sequence[int], Batch]]:
    """The windows at these places, ``size`` at a time.

    While one batch is worked on, ``threads`` make the next ones: decoding leaves Python's lock,
    and a thread need not copy 60 MB of frames into this process. Raises DataError.
    """
    groups = [places[start : start + size] for start in range(0, len(places), size)]
    yield from zip(groups, _ahead(partial(_batch, windows), groups, threads), strict=True)


def _batch(windows: SlidingWindows, places: Iterable[int]) -> Batch:
    return collate([windows[place] for place in places])


def _ahead(
    make: Callable[[Sequence[int]], Batch], groups: Sequence[Sequence[int]], threads: int
) -> Iterator[Batch]:
    """What is made of each group, in order; with threads, as many batches wait as there are."""
    if not threads:
        yield from map(make, groups)
        return
    rest = iter(groups)
    pool = ThreadPoolExecutor(threads)
    try:
        waiting = deque(pool.submit(make, group) for group in islice(rest, threads))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(make, group) for group in islice(rest, 1))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _detected(
    network: AdaTad, windows: SlidingWindows, config: AdaTadConfig, watches: Sequence[Watch]
) -> Iterator[tuple[str, Detections]]:
    """Each window's video and what was found in it, in order."""
    device = next(network.parameters()).device
    keeping = Keeping(config.inference.min_score, config.inference.top_k)
    every = range(len(windows))
    for places, made in batches(windows, every, config.inference.batch, config.runner.workers):
        batch: Batch = to_device(made, device)
        outputs = network.outputs(batch)
        _require_numbers(outputs, batch)
        for watch in watches:
            watch(batch, outputs)
        clocks = [_clock(*windows.places[place], config) for place in places]
        yield from zip(batch.names, decode(outputs, clocks, keeping), strict=True)


def _clock(video: TemporalVideo, cut: Cut, config: AdaTadConfig) -> ToSeconds:
    stride = config.windows.stride
    return lambda positions: seconds_of(positions, cut.start, video, stride)


def _require_numbers(outputs: Outputs, batch: Batch) -> None:
    """Raises DataError if a score or an end is no number: nothing could be ranked."""
    numbers = outputs.logits.isfinite().all(-1) & outputs.offsets.isfinite().all(-1)
    lost = np.flatnonzero((~numbers & outputs.valid).any(1).cpu().numpy())
    if len(lost):
        raise DataError(
            f"video {batch.names[lost[0]]}: the network's scores are no numbers; look for NaN or "
            "infinity in its weights"
        )
