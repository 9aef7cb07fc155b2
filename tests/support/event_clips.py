"""Clips with events, made at random, and the metrics of event spotting word by word.

The second half reads like specs/mdfed.md, section 4: slow loops over the frames of masks.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backend.scoring.spotting.task import Clip, Events

Codes = list[int]


def made_clips(
    seed: int, clips: int = 12, elements: int = 4, rate: float = 0.15, scores: bool = True
) -> list[Clip]:
    """Clips of 1 to 30 frames; detections are often right, late, doubled or of another type."""
    rng = np.random.default_rng(seed)
    return [_made_clip(rng, f"clip {number}", elements, rate, scores) for number in range(clips)]


def _made_clip(
    rng: np.random.Generator, name: str, elements: int, rate: float, scores: bool
) -> Clip:
    frames = int(rng.integers(1, 31))
    rate *= rng.integers(0, 2 + 1)
    truth = rng.random(frames) < rate
    bits = (rng.random((frames, elements)) < 0.4) & truth[:, None]
    shift = int(rng.integers(-2, 3))
    found = (np.roll(truth, shift) & (rng.random(frames) < 0.8)) | (rng.random(frames) < rate / 3)
    flipped = rng.random((frames, elements)) < 0.08
    found_bits = (np.roll(bits, shift, axis=0) ^ flipped) & found[:, None]
    p_event = np.round(rng.random(frames) * 0.7 + 0.3 * truth, 1) if scores else None
    return Clip(
        name, frames, Events.from_masks(truth, bits), Events.from_masks(found, found_bits), p_event
    )


def copied(clips: Sequence[Clip], counts: Sequence[int]) -> list[Clip]:
    """A list that really holds each clip as often as it was drawn, under names of their own."""
    return [
        replace(clip, name=f"{clip.name}, copy {number}")
        for clip, count in zip(clips, counts, strict=True)
        for number in range(count)
    ]


def literal_metrics(clips: Sequence[Clip], d: int, f3ed: bool) -> dict[str, float | None]:
    """Section 4, literally; None where a metric is undefined."""
    elements = clips[0].truth.elements.shape[1]
    lcl, strict = [0, 0, 0], [0, 0, 0]
    element = [[0, 0, 0] for _ in range(elements)]
    event: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    event_strict: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    edits, present, duplicates, offsets, predicted = [], set(), 0, [], 0
    for clip in clips:
        true, true_bits = _masks(clip.truth, clip.frames)
        found, bits = _masks(clip.found, clip.frames)
        _add(lcl, _count_frames(true, found, d, f3ed))
        for k in range(elements):
            true_k, found_k = [row[k] for row in true_bits], [row[k] for row in bits]
            _add(element[k], _count_frames(true_k, found_k, d, f3ed))
            if any(true_k):
                present.add(k)
        true_codes, codes = _codes(true_bits), _codes(bits)
        _count_events(event, true_codes, codes, d)
        for code in {*true_codes, *codes} - {0}:
            counts, _ = _strict([c == code for c in true_codes], [c == code for c in codes], d)
            _add(event_strict[code], counts)
        counts, matches = _strict(true, found, d)
        _add(strict, counts)
        matched = {i for i, _ in matches}
        offsets += [i - j for i, j in matches]
        predicted += sum(found)
        duplicates += sum(
            1 for i, f in enumerate(found) if f and i not in matched and any(_near(true, i, d))
        )
        edits.append(_edit(true_codes, codes))
    scored = [e for e in edits if e is not None]
    by_element = [_rates(counts) for counts in element]
    return {
        **_named("lcl", [_rates(lcl)]),
        **_named("element", by_element),
        **_named("event", [_rates(c) for c in event.values() if sum(c)]),
        "f1_element_present": _mean([by_element[k][2] for k in present]),
        "f1_lcl_strict": _rates(strict)[2],
        "f1_event_strict": _mean([_rates(c)[2] for c in event_strict.values()]),
        "edit": _mean(scored),
        "edit_undefined_clips": len(edits) - len(scored),
        "duplicate_rate": duplicates / predicted if predicted else None,
        "mean_offset": _mean([float(o) for o in offsets]),
    }


def _masks(events: Events, frames: int) -> tuple[list[bool], list[list[bool]]]:
    mask, bits = [False] * frames, [[False] * events.elements.shape[1] for _ in range(frames)]
    for at, row in zip(events.frames, events.elements, strict=True):
        mask[at], bits[at] = True, [bool(bit) for bit in row]
    return mask, bits


def _near(sequence: Sequence[int], i: int, d: int) -> Sequence[int]:
    return sequence[max(0, i - d) : i + d + 1]


def _add(total: list[int], counts: Sequence[int]) -> None:
    for at, count in enumerate(counts):
        total[at] += count


def _count_frames(
    true: Sequence[bool], found: Sequence[bool], d: int, f3ed: bool
) -> tuple[int, int, int]:
    tp = fp = fn = 0
    for i in range(len(true)):
        near = sum(_near(true, i, d))
        tp += found[i] and near == 1
        fp += found[i] and near == 0
        if f3ed:
            fn += not found[i] and near == 1
        else:
            fn += true[i] and not any(_near(found, i, d))
    return tp, fp, fn


def _codes(bits: Sequence[Sequence[bool]]) -> Codes:
    return [sum(2**k for k, bit in enumerate(row) if bit) for row in bits]


def _count_events(event: dict[int, list[int]], true: Codes, found: Codes, d: int) -> None:
    for i in range(len(true)):
        if found[i] and found[i] in _near(true, i, d):
            event[found[i]][0] += 1
        if found[i] and not any(_near(true, i, d)):
            event[found[i]][1] += 1
        if true[i] and true[i] not in _near(found, i, d):
            event[true[i]][2] += 1


def _strict(
    true: Sequence[bool], found: Sequence[bool], d: int
) -> tuple[tuple[int, int, int], list[tuple[int, int]]]:
    candidates = sorted(
        (abs(i - j), i, j)
        for i in range(len(found))
        for j in range(len(true))
        if found[i] and true[j] and abs(i - j) <= d
    )
    matches: list[tuple[int, int]] = []
    for _, i, j in candidates:
        if all(i != a and j != b for a, b in matches):
            matches.append((i, j))
    return (len(matches), sum(found) - len(matches), sum(true) - len(matches)), matches


def _edit(true: Codes, found: Codes) -> float | None:
    one, other = _merged(found), _merged(true)
    longer = max(len(one), len(other))
    return 100 * (1 - _levenshtein(one, other) / longer) if longer else None


def _merged(codes: Codes) -> Codes:
    runs = [c for i, c in enumerate(codes) if i == 0 or c != codes[i - 1]]
    events = [c for c in runs if c]
    return [c for i, c in enumerate(events) if i == 0 or c != events[i - 1]]


def _levenshtein(one: Codes, other: Codes) -> int:
    table = [[i + j for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i, a in enumerate(one, start=1):
        for j, b in enumerate(other, start=1):
            table[i][j] = min(
                table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a != b)
            )
    return table[-1][-1]


def _rates(counts: Sequence[int]) -> tuple[float, float, float]:
    tp, fp, fn = counts
    precision, recall = tp / (tp + fp + 1e-10), tp / (tp + fn + 1e-10)
    return precision, recall, 2 * precision * recall / (precision + recall + 1e-10)


def _named(kind: str, rates: Sequence[tuple[float, float, float]]) -> dict[str, float | None]:
    return {
        f"{name}_{kind}": _mean([row[at] for row in rates])
        for at, name in enumerate(("precision", "recall", "f1"))
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
