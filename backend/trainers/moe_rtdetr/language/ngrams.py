"""Texts as counts of their words and letters, hashed: no vocabulary, nothing to download."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN_RUN = re.compile(f"[{HAN}]+")
_WORD = re.compile(rf"[^\W_{HAN}]+")


def hashed(texts: Sequence[str], dimensions: int) -> NDArray[np.float32]:
    """Vectors [B, dimensions] of length 1, or 0 for a text without any letter.

    Each feature is added with a sign to one dimension, both taken from its blake2b digest
    (feature hashing, Weinberger et al. 2009), never from ``hash``, which differs between
    processes.
    """
    counts = np.zeros((len(texts), dimensions), np.float32)
    for row, text in zip(counts, texts, strict=True):
        for gram in grams(text):
            digest = _digest(gram)
            row[(digest >> 1) % dimensions] += 1 - 2 * (digest & 1)
    counts /= np.linalg.norm(counts, axis=1, keepdims=True).clip(min=np.finfo(np.float32).tiny)
    return counts


def grams(text: str) -> Iterator[str]:
    """Words, word pairs, letter trigrams, Chinese characters and their pairs, each with a letter
    that tells its kind."""
    text = unicodedata.normalize("NFKC", text).casefold()
    words = _WORD.findall(text)
    for word in words:
        yield f"w:{word}"
        padded = f"^{word}$"
        yield from (f"t:{padded[at : at + 3]}" for at in range(len(padded) - 2))
    yield from (f"p:{first} {second}" for first, second in pairwise(words))
    for run in _HAN_RUN.findall(text):
        yield from (f"c:{character}" for character in run)
        yield from (f"d:{first}{second}" for first, second in pairwise(run))


@lru_cache(maxsize=100_000)
def _digest(gram: str) -> int:
    return int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "little")
