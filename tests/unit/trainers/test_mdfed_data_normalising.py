"""Skeletons as the network takes them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from backend.datasets.spotting import Skeleton
from backend.trainers.mdfed.normalising import normalise
from tests.support.spotting_folders import standing

FAR, NEAR = 0, 1
NOSE, ELBOW, HIPS, SHOULDERS, ANKLES = 0, 7, (11, 12), (5, 6), (15, 16)


def skeleton(frames: int = 30, **other: Any) -> Skeleton:
    content: Mapping[str, Any] = standing(frames, **other)
    return Skeleton(content["keypoint"], content["keypoint_score"], content["img_shape"])


def hidden(whole: Skeleton, person: int, frames: Any, joints: Any) -> Skeleton:
    score = whole.score.copy()
    score[person, frames, joints] = 0
    return replace(whole, score=score)


def test_people_are_of_height_one_around_their_hips() -> None:
    joints, roots = normalise(skeleton())
    assert (joints.shape, roots.shape) == ((30, 2, 17, 5), (30, 2, 4))
    assert joints.dtype == roots.dtype == np.float32
    hips = joints[:, :, HIPS, :2].mean(axis=2)
    np.testing.assert_allclose(hips, 0, atol=1e-5)
    tall = joints[:, :, ANKLES, 1].mean(axis=2) - joints[:, :, NOSE, 1]
    np.testing.assert_allclose(np.median(tall, axis=0), 1, atol=0.02)


def test_place_and_size_in_the_image_are_kept_beside_it() -> None:
    whole = skeleton()
    _, roots = normalise(whole)
    centre = whole.keypoint[:, :, HIPS].mean(axis=2).swapaxes(0, 1)
    np.testing.assert_allclose(roots[..., 0], centre[..., 0] / 1280, rtol=1e-5)
    np.testing.assert_allclose(roots[..., 1], centre[..., 1] / 720, rtol=1e-5)
    np.testing.assert_allclose(roots[0, :, 2], [75 / 720, 190 / 720], rtol=0.02)
    assert (roots[..., 3] == 1).all()


def test_the_files_own_image_size_is_what_counts() -> None:
    whole = skeleton()
    twice = replace(whole, keypoint=whole.keypoint * 2, image=(1440, 2560))
    for one, other in zip(normalise(whole), normalise(twice), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    _, roots = normalise(replace(whole, image=(1440, 2560)))
    np.testing.assert_allclose(roots[..., :3] * 2, normalise(whole).roots[..., :3], rtol=1e-5)


def test_velocity_is_the_way_since_the_frame_before_and_no_outlier() -> None:
    whole = skeleton()
    joints, _ = normalise(whole)
    assert not joints[0, ..., 2:4].any()
    np.testing.assert_allclose(joints[1:, ..., 2:4], np.diff(joints[..., :2], axis=0), atol=1e-6)
    jumped = whole.keypoint.copy()
    jumped[NEAR, 10, ELBOW] += 5000
    fast = normalise(replace(whole, keypoint=jumped)).joints
    np.testing.assert_array_equal(fast[10, NEAR, ELBOW, 2:4], 3)
    np.testing.assert_array_equal(fast[11, NEAR, ELBOW, 2:4], -3)


def test_a_missing_joint_is_zero_and_has_no_velocity_on_either_side() -> None:
    joints, roots = normalise(hidden(skeleton(), FAR, 12, ELBOW))
    assert not joints[12, FAR, ELBOW].any()
    assert not joints[13, FAR, ELBOW, 2:4].any()
    assert joints[13, FAR, ELBOW, [0, 1, 4]].all()
    assert joints[14, FAR, ELBOW].all()
    assert joints[12, NEAR, ELBOW].all()
    assert roots[12, FAR, 3] == 1


def test_without_a_hip_the_shoulders_are_the_middle() -> None:
    joints, roots = normalise(hidden(skeleton(), FAR, 12, HIPS[0]))
    np.testing.assert_allclose(joints[12, FAR, SHOULDERS, :2].mean(axis=0), 0, atol=1e-5)
    assert roots[12, FAR, 3] == 1


def test_a_person_without_hips_and_shoulders_is_absent_in_that_frame() -> None:
    joints, roots = normalise(hidden(skeleton(), FAR, 12, [*HIPS, *SHOULDERS]))
    assert not joints[12, FAR].any()
    assert not roots[12, FAR].any()
    assert roots[[11, 13], FAR].all()


def test_a_person_who_was_not_given_is_absent_throughout() -> None:
    joints, roots = normalise(replace(skeleton(), present=(True, False)))
    assert not joints[:, NEAR].any()
    assert not roots[:, NEAR].any()
    assert roots[:, FAR].all()


def test_without_nose_or_ankles_the_height_is_that_of_what_is_seen() -> None:
    _, roots = normalise(hidden(skeleton(), NEAR, slice(None), [*ANKLES]))
    np.testing.assert_allclose(roots[0, NEAR, 2] * 720, 0.75 * 190, rtol=0.05)


def test_a_skeleton_of_zeros_is_zero_and_finite() -> None:
    whole = skeleton()
    empty = Skeleton(np.zeros_like(whole.keypoint), np.zeros_like(whole.score), whole.image)
    for part in normalise(empty):
        assert not part.any()


def test_what_is_no_number_stays_so_where_it_was() -> None:
    whole = skeleton()
    broken = whole.keypoint.copy()
    broken[FAR, 9, NOSE, 0] = np.nan
    joints, roots = normalise(replace(whole, keypoint=broken))
    assert sorted(map(tuple, np.argwhere(np.isnan(joints)).tolist())) == [
        (9, FAR, NOSE, 0),
        (9, FAR, NOSE, 2),
        (10, FAR, NOSE, 2),
    ]
    assert np.isfinite(roots).all()
