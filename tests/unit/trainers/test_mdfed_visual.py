"""Skeletons drawn as frames, and the encoder that sees them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from backend.datasets.spotting.records import Skeleton
from backend.synthetic.rallies import make_rallies
from backend.synthetic.skeletons import make_skeleton
from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.model.visual import VisualEncoder, shifted
from backend.trainers.mdfed.rendering import COURT, PLAYERS, frames_of, render
from backend.trainers.mdfed.spec import VisualConfig
from tests.support.mdfed_batches import made_batch

SIZE = 64
FAR, NEAR = 0, 1
SMALL = VisualConfig(size=32, width=8)


def skeleton(difficulty: float = 0) -> Skeleton:
    made = make_skeleton(make_rallies(1, 2)[0], difficulty=difficulty)
    return Skeleton(made["keypoint"], made["keypoint_score"], made["img_shape"])


def drawn(found: Skeleton) -> NDArray[np.uint8]:
    return render(found.keypoint, found.score, found.image, SIZE)


def without(found: Skeleton, *persons: int) -> Skeleton:
    score = found.score.copy()
    score[list(persons)] = 0
    return replace(found, score=score)


def painted(frames: NDArray[np.uint8], person: int) -> NDArray[np.bool_]:
    """Pixels of a player's own colour."""
    found: NDArray[np.bool_] = (frames == PLAYERS[person]).all(axis=-1)
    return found


def test_each_player_is_in_the_view_of_their_own() -> None:
    found = skeleton()
    frames = drawn(found)
    assert frames.shape == (found.keypoint.shape[1], SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    far, near = painted(frames, FAR), painted(frames, NEAR)
    assert far[..., : SIZE // 2].any(axis=(1, 2)).all()
    assert near[..., SIZE // 2 :].any(axis=(1, 2)).all()
    assert not far[..., SIZE // 2 + 2 :].any()
    assert not near[..., : SIZE // 2 - 2].any()


def test_a_body_is_large_enough_to_be_read() -> None:
    frames = drawn(skeleton())
    for person in (FAR, NEAR):
        rows = (frames != COURT).any(axis=-1)
        half = rows[..., : SIZE // 2] if person == FAR else rows[..., SIZE // 2 :]
        tall = [np.ptp(np.flatnonzero(one.any(axis=1))) for one in half]
        assert np.median(tall) > 0.4 * SIZE


def test_a_camera_follows_its_player_and_bridges_frames_without_hips() -> None:
    found = skeleton()
    path = np.linspace(0, 500, found.keypoint.shape[1], dtype=np.float32)
    moved = found.keypoint + path[:, None, None]
    assert np.abs(drawn(found).astype(int) - drawn(replace(found, keypoint=moved))).mean() < 2
    score = found.score.copy()
    score[NEAR, 10:13, 11:13] = 0
    bridged = (drawn(replace(found, score=score)) != COURT).any(axis=-1)
    assert bridged[10:13, :, SIZE // 2 :].any(axis=(1, 2)).all()


def test_who_was_not_found_is_not_drawn() -> None:
    found = skeleton()
    nobody = drawn(without(found, FAR, NEAR))
    assert (nobody == COURT).all()
    alone = drawn(without(found, FAR))
    assert not painted(alone, FAR).any()
    assert painted(alone, NEAR).any()


def test_a_limb_with_a_missing_joint_is_left_out() -> None:
    found = skeleton()
    score = found.score.copy()
    score[NEAR, :, 9] = 0  # the left wrist
    less = drawn(replace(found, score=score))
    assert (less != COURT).any(axis=-1).sum() < (drawn(found) != COURT).any(axis=-1).sum()


def test_a_joint_that_is_no_number_is_missing() -> None:
    found = skeleton()
    keypoint, score = found.keypoint.copy(), found.score.copy()
    keypoint[NEAR, :, 9] = np.nan
    score[NEAR, :, 9] = 0
    assert np.array_equal(
        drawn(replace(found, keypoint=keypoint)), drawn(replace(found, score=score))
    )


def test_the_same_skeleton_gives_the_same_frames() -> None:
    assert np.array_equal(drawn(skeleton(1)), drawn(skeleton(1)))


def test_frames_of_a_window_are_those_of_the_clip() -> None:
    found = skeleton(1)
    last = found.keypoint.shape[1]
    frames = frames_of(found, [-2, 0, 4, last - 1, last, last + 7], SIZE)
    assert frames.shape == (6, 3, SIZE, SIZE)
    assert frames.dtype == np.float32
    whole = drawn(found)
    for at, frame in ((1, 0), (2, 4), (3, last - 1)):
        assert np.allclose(frames[at] * 255, whole[frame].transpose(2, 0, 1))
    assert not frames[[0, 4, 5]].any(), "black outside of the clip"
    assert frames_of(found, [], SIZE).shape == (0, 3, SIZE, SIZE)


def seen(batch: Batch, size: int = 32) -> Batch:
    """The batch with frames of noise."""
    random = torch.Generator().manual_seed(1)
    frames = torch.rand((*batch.valid.shape, 3, size, size), generator=random)
    return replace(batch, frames=frames)


def encoder(config: VisualConfig = SMALL) -> VisualEncoder:
    torch.manual_seed(0)
    return VisualEncoder(config)


@pytest.mark.parametrize(("size", "width"), [(32, 8), (48, 16), (80, 8), (144, 8)])
def test_any_size_of_frame_gives_features_of_the_promised_width(size: int, width: int) -> None:
    network = encoder(VisualConfig(size=size, width=width))
    batch = seen(made_batch(windows=2, frames=5), size)
    assert network(batch).shape == (2, 5, network.width)


def test_frames_that_are_not_there_change_nothing() -> None:
    network, batch = encoder().train(), seen(made_batch())
    assert batch.frames is not None
    other = batch.frames.clone()
    other[~batch.valid] = 7
    features = network(batch)
    assert torch.equal(features, network(replace(batch, frames=other)))
    assert not features[~batch.valid].any()
    assert features[batch.valid].any()


def test_windows_do_not_see_each_other_and_frames_their_neighbours() -> None:
    network, batch = encoder().eval(), seen(made_batch(windows=2, frames=12))
    batch = replace(batch, valid=torch.ones_like(batch.valid))
    assert batch.frames is not None
    other = batch.frames.clone()
    other[1, 6] = 0
    moved = (network(batch) != network(replace(batch, frames=other))).any(dim=-1)
    assert not moved[0].any()
    assert moved[1].nonzero().flatten().tolist() == [3, 4, 5, 6, 7, 8, 9], "three stages of one"


def test_a_shift_takes_a_quarter_from_before_and_a_quarter_from_after() -> None:
    frames = torch.arange(6.0).reshape(6, 1, 1, 1).expand(6, 8, 1, 1)
    moved = shifted(frames, length=3).flatten(1)
    assert moved[:, 0].tolist() == moved[:, 1].tolist() == [0, 0, 1, 0, 3, 4]
    assert moved[:, 2].tolist() == moved[:, 3].tolist() == [1, 2, 0, 4, 5, 0]
    assert torch.equal(moved[:, 4:], frames.flatten(1)[:, 4:])
