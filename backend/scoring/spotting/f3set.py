"""Files of event spotting: F3Set annotations and predictions.

**Ground truth**: a JSON list of clips ``{video, num_frames, fps?, events: [{frame, label}]}`` with
``elements.txt`` beside it (one element per line), or an object ``{elements, stride, groups?,
clips: [...]}`` around such a list. A label is elements joined by a separator, ``-`` for none;
``elements: [...]`` may stand in its place, in both files.

**Predictions**, one of

- ``{clip: [{frame, elements}, ...]}``: frames are strided, that is raw frame // stride;
- a list of clips as in the ground truth (or an object with such a list under ``clips``). Its
  frames are raw if ``fps`` or ``num_frames`` is the annotation's own, strided if either is that
  divided by the stride (as F3Set and E2E-Spot write them), raw if neither is given.

``frames`` of the options overrules both. In place of its list of events, a clip of the first
form may be an object, and clips of either form may have these keys, always in strided frames:

- ``scores``: p_event of each strided frame, for ``ap_frame`` and ``auroc_frame``;
- ``windows: [{start, p_event: [...], p_elements: [[...], ...]}]``: raw scores of windows that may
  overlap and reach beyond the clip; an entry of p_event may be ``[p_background, p_event]``. They
  are averaged, suppressed and decoded to events (specs/mdfed.md, 3.5) unless there are
  ``events``, and give the frame scores unless there are ``scores``.

``score`` of an event is only used if a threshold is set. Element groups are a JSON list of
``{"one_of": [elements], "unless": element?}``; elements in no group are on above 0.5.

An event in the frame just past the end is moved to the last one, two in one strided frame are
joined, unknown elements are ignored, all with a warning; events further outside are errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backend.core.errors import DataError
from backend.scoring.json_files import read_json
from backend.scoring.spotting.annotations import clip_entries, element_names, whole_number
from backend.scoring.spotting.decoding import Decoder
from backend.scoring.spotting.entries import EntryReader, Place
from backend.scoring.spotting.f3set_predictions import frames_divisor, groups_of, read_predictions
from backend.scoring.spotting.matching import Clip, Events
from backend.scoring.spotting.options import STRIDE, SpottingOptions


class Clips(NamedTuple):
    """All clips of the ground truth with what was predicted for them."""

    elements: tuple[str, ...]
    clips: tuple[Clip, ...]
    warnings: tuple[str, ...]


class _Truth(NamedTuple):
    """``entries`` are the clips as they stand in the file."""

    path: Path
    elements: tuple[str, ...]
    stride: int
    decoder: Decoder
    entries: dict[str, Mapping[str, Any]]
    clips: dict[str, Clip]
    warnings: list[str]


def read_clips(gt: Path, pred: Path, options: SpottingOptions) -> Clips:
    """Ground truth and predictions in the formats above.

    Clips without predictions count as clips in which nothing was found, with a warning.
    Raises DataError with one sentence for what cannot be scored.
    """
    truth = _read_truth(gt, options)
    clips = dict(truth.clips)
    said, listed = _predicted_entries(pred, truth)
    reader = EntryReader(pred, truth.elements, options.separator, options.threshold)
    divisor = truth.stride if options.frames == "raw" else 1
    if listed and not options.frames:
        divisor = frames_divisor(reader, said, truth.entries, truth.stride)
    for name, entry in said.items():
        place = Place(name, clips[name].frames, divisor)
        found, scores = read_predictions(reader, place, entry, truth.decoder)
        clips[name] = replace(clips[name], found=found, scores=scores)
    warnings = [*truth.warnings, *reader.warnings()]
    absent = [name for name in clips if name not in said]
    if absent:
        warnings.append(
            f"{pred}: {len(absent)} of {len(clips)} clips have no predictions (first: "
            f"{absent[0]}); they count as clips in which nothing was found."
        )
    warnings += _about(gt, pred, tuple(clips.values()))
    return Clips(truth.elements, tuple(clips.values()), tuple(warnings))


def _about(gt: Path, pred: Path, clips: Sequence[Clip]) -> list[str]:
    found = []
    if not any(len(clip.truth.frames) for clip in clips):
        found.append(f"{gt}: there are no events at all.")
    if not any(len(clip.found.frames) for clip in clips):
        found.append(f"{pred}: nothing was predicted in any clip.")
    scored = sum(clip.scores is not None for clip in clips)
    if 0 < scored < len(clips):
        found.append(
            f"{pred}: only {scored} of {len(clips)} clips have a score per frame, so ap_frame "
            "and auroc_frame are undefined."
        )
    return found


def _read_truth(path: Path, options: SpottingOptions) -> _Truth:
    data = read_json(path)
    about = data if isinstance(data, dict) else {"clips": data}
    entries = clip_entries(path, about.get("clips"))
    if not entries:
        raise DataError(f"{path}: it lists no clips, so there is nothing to score")
    elements = element_names(path, about, options.elements)
    stride = whole_number(about.get("stride", STRIDE), f"{path}: 'stride'")
    stride = options.stride or stride
    reader = EntryReader(path, elements, options.separator)
    nothing = Events(np.zeros(0, dtype=np.int64), np.zeros((0, len(elements)), dtype=np.bool_))
    clips = {}
    for name, entry in entries.items():
        frames = (
            whole_number(entry.get("num_frames"), f"{path}: clip {name}: 'num_frames'") // stride
        )
        if frames == 0:
            raise DataError(f"{path}: clip {name} is shorter than one step of stride {stride}")
        events = reader.events(Place(name, frames, stride), entry.get("events"))
        clips[name] = Clip(name, frames, events, nothing)
    source = options.groups or path
    groups = read_json(options.groups) if options.groups else about.get("groups", [])
    decoder = options.decoder(groups_of(source, groups, elements))
    return _Truth(path, elements, stride, decoder, entries, clips, reader.warnings())


def _predicted_entries(path: Path, truth: _Truth) -> tuple[dict[str, Mapping[str, Any]], bool]:
    """The predictions of each clip as objects, and whether the file is a list of clips."""
    data = read_json(path)
    entries: dict[str, Mapping[str, Any]]
    if isinstance(data, dict) and isinstance(data.get("clips"), list):
        stride = whole_number(data.get("stride", truth.stride), f"{path}: 'stride'")
        if stride != truth.stride:
            raise DataError(
                f"{path}: made at stride {stride}, but the ground truth is read at stride "
                f"{truth.stride}; set --stride {stride}"
            )
        data = data["clips"]
    if isinstance(data, dict):
        entries = {
            name: entry if isinstance(entry, dict) else {"events": entry}
            for name, entry in data.items()
        }
    else:
        entries = clip_entries(path, data)
    unknown = [name for name in entries if name not in truth.entries]
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} of {len(entries)} clips are not in {truth.path} (first: "
            f"{unknown[0]}); score predictions of the same clips"
        )
    return entries, not isinstance(data, dict)
