"""Events from raw scores of a model that saw a clip in overlapping windows.

Source: the public F3Set and MD-FED inference code, and specs/mdfed.md 3.5.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from backend.scoring.spotting.matching import Bools, Events

Floats = NDArray[np.float64]
Order = Literal["clip_then_average", "average_then_suppress"]


class Window(NamedTuple):
    """Probabilities from the strided frame ``start`` on, which may lie before the clip.

    ``scores`` is (frames, 2), background and event; ``elements`` (frames, elements).
    """

    start: int
    scores: Floats
    elements: Floats


class Group(NamedTuple):
    """Elements (by position) of which an event has exactly one, unless it has ``unless``."""

    members: tuple[int, ...]
    unless: int | None


class Decoder(NamedTuple):
    """``width`` is the number of centred frames that an event stands alone in; events are where
    ``p_event / (p_event + p_background)`` exceeds ``threshold`` after suppression. ``groups``
    go in their order; an element of no group needs 0.5.
    """

    order: Order
    width: int
    threshold: float
    groups: tuple[Group, ...]


def decode(windows: Sequence[Window], frames: int, rule: Decoder) -> tuple[Events, Floats]:
    """The events of a clip of ``frames`` strided frames, and its mean p_event before suppression.

    Each average is over the windows that cover a frame; one that none covers is background.
    """
    early = rule.order == "clip_then_average"
    raw, scores = np.zeros(frames), np.zeros((frames, 2))
    elements = np.zeros((frames, windows[0].elements.shape[1]))
    cover = np.zeros(frames)
    for window in windows:
        kept = _suppress(window.scores, rule.width) if early else window.scores
        clip = slice(max(0, window.start), max(0, min(frames, window.start + len(kept))))
        part = slice(clip.start - window.start, clip.stop - window.start)
        if clip.start < clip.stop:
            raw[clip] += window.scores[part, 1]
            scores[clip] += kept[part]
            elements[clip] += window.elements[part]
            cover[clip] += 1
    scores[cover == 0, 0] = 1
    times = np.maximum(cover, 1)
    scores /= times[:, None]
    if not early:
        scores = _suppress(scores, rule.width)
    event = (1 - rule.threshold) * scores[:, 1] > rule.threshold * scores[:, 0]
    bits = _element_bits(elements / times[:, None], rule.groups)
    return Events.from_masks(event, bits), raw / times


def _suppress(scores: Floats, width: int) -> Floats:
    """Zero every frame whose background is not the least of ``width`` centred frames."""
    background = scores[:, 0]
    least = minimum_filter1d(background, width, mode="nearest")  # as if the ends were clipped
    return np.where((background == least)[:, None], scores, 0.0)


def _element_bits(elements: Floats, groups: Sequence[Group]) -> Bools:
    bits = elements > 0.5
    bits[:, [member for group in groups for member in group.members]] = False
    for group in groups:
        members = np.array(group.members)
        best = members[elements[:, members].argmax(axis=1)]
        free = np.ones(len(bits), bool) if group.unless is None else ~bits[:, group.unless]
        bits[free, best[free]] = True
    return bits
