"""What a network finds in clips: probabilities of windows, decoded to events, and their files.

Decoding and scoring are those of ``backend.scoring.spotting``, so a file of predictions that
is written here gets the same numbers from ``assay score``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.core.workdir import write_atomic
from backend.datasets.spotting.records import SpotClip, SpottingSplit
from backend.runner.data import to_device
from backend.scoring.spotting.decoding import Decoder, Window, decode
from backend.scoring.spotting.matching import Clip, Events
from backend.scoring.spotting.options import SpottingOptions
from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.losses import Criterion, LossSums
from backend.trainers.mdfed.model.context import peaks
from backend.trainers.mdfed.model.network import MdFed
from backend.trainers.mdfed.spec import InferenceConfig

ClipWindows = Mapping[str, Sequence[Window]]
"""By clip."""


@dataclass(frozen=True)
class Looked:
    """The windows of each clip, and the mean losses over all of them if they were asked for."""

    windows: ClipWindows
    losses: Mapping[str, float]


@torch.no_grad()
def look(
    network: MdFed,
    batches: Iterable[Batch],
    stride: int,
    rule: Decoder,
    criterion: Criterion | None = None,
) -> Looked:
    """Run a network over windows, in evaluation mode.

    A frame that is not valid is background: nothing was seen there, or it lies outside the clip.
    With a context module, the elements of events that ``rule`` would find are the refined ones.
    """
    network.eval()
    device = next(network.parameters()).device
    windows: dict[str, list[Window]] = {}
    sums = None if criterion is None else LossSums(criterion)
    for given in batches:
        batch: Batch = to_device(given, device)
        outputs = network(batch)
        if criterion is not None and sums is not None:
            sums.add(criterion(outputs, batch))
        event = outputs.event_logits.float().softmax(-1)[..., 1] * batch.valid
        elements = _elements(network, outputs.element_logits, event, batch, rule)
        for name, window in zip(
            batch.names, _windows(event, elements, batch, stride), strict=True
        ):
            windows.setdefault(name, []).append(window)
    return Looked(windows, sums.means() if sums is not None else {})


def decoder_of(config: InferenceConfig, split: SpottingSplit) -> Decoder:
    """How windows become events of this dataset."""
    return Decoder(config.order, config.suppress, config.threshold, split.groups)


def options_of(config: InferenceConfig) -> SpottingOptions:
    """How events are matched."""
    return SpottingOptions(tolerance=config.tolerance, compat=config.compat)


def truth_of(split: SpottingSplit) -> tuple[Clip, ...]:
    """The clips of a split with their true events and nothing found. Events of one strided frame
    are joined."""
    return tuple(_truth(clip, split.stride, len(split.elements)) for clip in split.clips)


def found_in(windows: ClipWindows, truth: Sequence[Clip], rule: Decoder) -> tuple[Clip, ...]:
    """The same clips with what was found, and p_event of each frame."""
    clips = []
    for clip in truth:
        events, scores = decode(windows[clip.name], clip.frames, rule)
        clips.append(replace(clip, found=events, scores=scores))
    return tuple(clips)


def scores_of(clip: Clip) -> NDArray[np.float64]:
    """p_event of each frame (T,) of a clip as ``found_in`` returns it."""
    assert clip.scores is not None, "clips as found_in returns them"
    return clip.scores


def write_predictions(path: Path, elements: Sequence[str], clips: Sequence[Clip]) -> None:
    """Events and frame scores as ``backend.scoring.spotting.f3set`` reads them, strided frames.

    Raises StoreError if the file cannot be written.
    """
    _write(path, {clip.name: _predicted(elements, clip) for clip in clips})


def write_truth(path: Path, split: SpottingSplit) -> None:
    """The ground truth of a split as it was trained on: its stride, its groups, its own clips.

    Raises StoreError if the file cannot be written.
    """
    names = split.elements
    groups = [
        {"one_of": [names[member] for member in group.members]}
        | ({} if group.unless is None else {"unless": names[group.unless]})
        for group in split.groups
    ]
    clips = [
        {
            "video": clip.name,
            "fps": clip.fps,
            "num_frames": clip.num_frames,
            "events": [
                {"frame": event.frame, "elements": [names[n] for n in event.elements]}
                for event in clip.events
            ],
        }
        for clip in split.clips
    ]
    _write(path, {"elements": names, "stride": split.stride, "groups": groups, "clips": clips})


def _elements(
    network: MdFed, logits: Tensor, event: Tensor, batch: Batch, rule: Decoder
) -> Tensor:
    """Probabilities (B, T, K)."""
    elements = logits.float().sigmoid()
    refined = network.refine(logits, batch, peaks(event, rule.width, rule.threshold))
    if refined is not None:
        row, place = refined.events.exist.nonzero(as_tuple=True)
        at = refined.events.at[row, place]
        elements[row, at] = refined.logits[row, place].float().sigmoid()
    return elements


def _windows(event: Tensor, elements: Tensor, batch: Batch, stride: int) -> Iterable[Window]:
    scores = torch.stack([1 - event, event], dim=-1).double().cpu().numpy()
    bits = elements.double().cpu().numpy()
    starts = (batch.starts // stride).tolist()
    return [Window(*window) for window in zip(starts, scores, bits, strict=True)]


def _truth(clip: SpotClip, stride: int, elements: int) -> Clip:
    frames = clip.num_frames // stride
    mask, bits = np.zeros(frames, dtype=np.bool_), np.zeros((frames, elements), dtype=np.bool_)
    for event in clip.events:
        mask[event.frame // stride] = True
        bits[event.frame // stride, list(event.elements)] = True
    nothing = Events.from_masks(np.zeros(frames), bits)
    return Clip(clip.name, frames, Events.from_masks(mask, bits), nothing)


def _predicted(elements: Sequence[str], clip: Clip) -> dict[str, Any]:
    scores = scores_of(clip)
    events = [
        {
            "frame": int(frame),
            "elements": [elements[number] for number in np.flatnonzero(bits).tolist()],
            "score": float(scores[frame]),
        }
        for frame, bits in zip(clip.found.frames, clip.found.elements, strict=True)
    ]
    return {"events": events, "scores": scores.tolist()}


def _write(path: Path, content: object) -> None:
    write_atomic(path, json.dumps(content, allow_nan=False))
