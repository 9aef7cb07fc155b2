"""CTX: a clip's sequence of events sees itself, and corrects the elements of each.

Specification: specs/mdfed.md, 3.1 item 5, after F3Set's contextual module.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from backend.trainers.mdfed.batch import PERSONS

MOST_EVENTS = 20
HIDDEN = 64


class Sequence(NamedTuple):
    """Up to 20 events of each window: their frames ``at`` (B, E) and which of them ``exist``."""

    at: Tensor
    exist: Tensor


class Refined(NamedTuple):
    """Element logits (B, E, K) of a sequence of events."""

    logits: Tensor
    events: Sequence


class Context(nn.Module):
    """A bidirectional GRU over element probabilities and the hitter's handedness.

    Who hits is read off the elements by weights that are learnt, since only the dataset knows
    which of them say it. The output is added to the classifier's logits and starts as nothing.
    """

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.hitter = nn.Linear(elements, PERSONS)
        self.gru = nn.GRU(elements + 1, HIDDEN, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * HIDDEN, elements)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, logits: Tensor, hands: Tensor, events: Sequence) -> Refined:
        """From element logits (B, T, K) and ``hands`` (B, 2)."""
        before = logits.gather(1, events.at[..., None].expand(-1, -1, logits.shape[2]))
        seen = before.sigmoid()
        hitter = self.hitter(seen).softmax(-1)
        hand = (hitter * hands[:, None].to(hitter.dtype)).sum(-1, keepdim=True)
        lengths = events.exist.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(
            torch.cat([seen, hand], dim=-1), lengths, batch_first=True, enforce_sorted=False
        )
        hidden, _ = pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, total_length=before.shape[1]
        )
        return Refined(before + self.head(hidden), events)


def sequence_of(mask: Tensor) -> Sequence:
    """The events of a mask (B, T): the middle of each run of frames, the first 20 of a window.

    A run is one event: its label was dilated, or its frames are equally likely.
    """
    beyond = nn.functional.pad(mask, (1, 1))
    row, first = (mask & ~beyond[:, :-2]).nonzero(as_tuple=True)
    _, last = (mask & ~beyond[:, 2:]).nonzero(as_tuple=True)
    place = _place_in_row(row)
    kept = place < MOST_EVENTS
    row, middle, place = row[kept], ((first + last) // 2)[kept], place[kept]
    size = int(place.max()) + 1 if len(place) else 1
    at = torch.zeros(len(mask), size, dtype=torch.int64, device=mask.device)
    exist = torch.zeros_like(at, dtype=torch.bool)
    at[row, place], exist[row, place] = middle, True
    return Sequence(at, exist)


def peaks(event: Tensor, width: int, threshold: float) -> Tensor:
    """Frames whose p_event (B, T) is above the threshold and the highest of ``width`` centred
    ones; ties all are."""
    best = max_pool1d(event[:, None], width, stride=1, padding=width // 2)[:, 0, : event.shape[1]]
    return (event > threshold) & (event == best)


def _place_in_row(row: Tensor) -> Tensor:
    """How many equal entries of the sorted ``row`` stand before each."""
    return torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
