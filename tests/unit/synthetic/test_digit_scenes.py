"""Scenes of digits: what the boxes promise about the pixels."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.synthetic._scenes import BOARD, PAPER, Domain, Scan, Scene, compose
from backend.synthetic.digits import SIDE

datasets = pytest.importorskip("sklearn.datasets", reason="needs the extra 'demo'")


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    bunch = datasets.load_digits()
    inks = (bunch.images / 16).astype(np.float32)
    return [Scan(i, int(label), inks[i]) for i, label in enumerate(bunch.target)]


def _black(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    return np.zeros((side, side, 3), dtype=np.float32)


def _white(rng: np.random.Generator) -> NDArray[np.float32]:
    return np.full(3, 255, dtype=np.float32)


def _plain(domain: Domain) -> Domain:
    """The domain's sizes and tilts, pure white on pure black."""
    return replace(domain, canvas=_black, ink=_white, opacity=(1.0, 1.0), grain=0.0, noise=0.0)


def _scenes(domain: Domain, scans: list[Scan], seed: int, count: int) -> list[Scene]:
    rng = np.random.default_rng(seed)
    deck = itertools.cycle(scans)
    return [compose(domain, deck, SIDE, rng) for _ in range(count)]


@pytest.mark.parametrize("domain", [PAPER, BOARD], ids=["paper", "board"])
def test_each_box_is_tight_to_the_bright_pixels_in_it(domain: Domain, scans: list[Scan]) -> None:
    for scene in _scenes(_plain(domain), scans, seed=1, count=600):
        bright = scene.image[..., 0] >= 128
        for digit in scene.digits:
            left, top, right, bottom = digit.box
            around = bright[top - 1 : bottom + 1, left - 1 : right + 1]
            rows = np.flatnonzero(around.any(axis=1))
            columns = np.flatnonzero(around.any(axis=0))
            found = (columns[0] - 1, rows[0] - 1, columns[-1], rows[-1])
            assert np.abs(np.subtract(found, (0, 0, right - left, bottom - top))).max() <= 1


@pytest.mark.parametrize("domain", [PAPER, BOARD], ids=["paper", "board"])
def test_all_ink_lies_in_boxes_and_no_two_boxes_meet(domain: Domain, scans: list[Scan]) -> None:
    for scene in _scenes(_plain(domain), scans, seed=2, count=200):
        owners = np.zeros((SIDE, SIDE), dtype=int)
        for digit in scene.digits:
            left, top, right, bottom = digit.box
            assert 0 <= left < right <= SIDE
            assert 0 <= top < bottom <= SIDE
            owners[top:bottom, left:right] += 1
        assert owners.max() == 1
        assert not (scene.image[owners == 0] > 0).any()


def test_a_drawn_digit_still_looks_like_its_scan(scans: list[Scan]) -> None:
    """Shrunk to 8x8 again, upright ink correlates with the scan that it came from."""
    upright = replace(_plain(PAPER), tilt=0.0, count=(1, 1))
    likeness = []
    for scene in _scenes(upright, scans, seed=3, count=100):
        digit = scene.digits[0]
        filled = np.argwhere(digit.scan.ink >= 0.5)
        (top, left), (bottom, right) = filled.min(axis=0), filled.max(axis=0) + 1
        scan = digit.scan.ink[top:bottom, left:right]
        rows = np.linspace(0, scan.shape[0], digit.coverage.shape[0], endpoint=False).astype(int)
        columns = np.linspace(0, scan.shape[1], digit.coverage.shape[1], endpoint=False)
        enlarged = scan[rows][:, columns.astype(int)]
        likeness.append(np.corrcoef(enlarged.ravel(), digit.coverage.ravel())[0, 1])
    assert np.median(likeness) > 0.7


def test_paper_is_dark_on_light_and_board_light_on_dark(scans: list[Scan]) -> None:
    for domain, sign in ((PAPER, -1), (BOARD, 1)):
        for scene in _scenes(domain, scans, seed=4, count=60):
            grey = scene.image.mean(axis=-1)
            for digit in scene.digits:
                left, top, right, bottom = digit.box
                inside = grey[top:bottom, left:right]
                ink, ground = digit.coverage > 0.9, digit.coverage < 0.1
                if ground.sum() > 10:
                    assert sign * (inside[ink].mean() - inside[ground].mean()) > 10
