"""Skeleton files: what is accepted, what is refused, what the survey sees in them."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.core.evidence import InputCensus, InputQuality
from backend.datasets.spotting import (
    ReadOptions,
    body_height,
    read_skeleton,
    read_spotting,
    survey_skeletons,
)
from tests.support.spotting_folders import (
    clip,
    standing,
    write_folder,
    write_skeleton,
    write_standing,
)

FRAMES = 40


def pickled(folder: Path, protocol: int = 4, **other: Any) -> Path:
    return write_skeleton(folder / "a.pkl", standing(FRAMES, **other), protocol)


def survey(folder: Path, policy: str = "error") -> tuple[InputCensus, InputQuality]:
    return survey_skeletons(read_spotting(folder, "train", ReadOptions()), policy)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty clips of standing people."""
    clips = [clip(f"c{number:02}", FRAMES) for number in range(40)]
    return write_standing(write_folder(tmp_path, {"train": clips}), clips)


def change(folder: Path, name: str, **other: Any) -> None:
    write_skeleton(folder / "skeletons" / f"{name}.pkl", standing(FRAMES, **other))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_pickle_is_read(tmp_path: Path, protocol: int) -> None:
    found = read_skeleton(pickled(tmp_path, protocol), FRAMES)
    content = standing(FRAMES)
    assert found.keypoint.dtype == np.float32
    np.testing.assert_array_equal(found.keypoint, content["keypoint"])
    np.testing.assert_array_equal(found.score, content["keypoint_score"])
    assert (found.image, found.present, found.notes) == ((720, 1280), (True, True), ())


@pytest.mark.parametrize("protocol", [2, 3])
def test_files_of_numpy_1_are_read(tmp_path: Path, protocol: int) -> None:
    content = standing(FRAMES, total_frames=np.int64(FRAMES))
    data = pickle.dumps(content, protocol=protocol)
    assert b"numpy._core" in data
    path = tmp_path / "a.pkl"
    path.write_bytes(data.replace(b"numpy._core", b"numpy.core"))
    np.testing.assert_array_equal(read_skeleton(path, FRAMES).keypoint, content["keypoint"])


def test_an_npz_holds_the_same(tmp_path: Path) -> None:
    content = standing(FRAMES)
    np.savez(tmp_path / "a.npz", **content)
    found = read_skeleton(tmp_path / "a.npz", FRAMES)
    np.testing.assert_array_equal(found.keypoint, content["keypoint"])
    assert found.image == (720, 1280)


def test_scores_may_be_the_third_coordinate(tmp_path: Path) -> None:
    content = standing(FRAMES)
    score = content.pop("keypoint_score")
    content["keypoint"] = np.concatenate([content["keypoint"], score[..., None]], axis=-1)
    found = read_skeleton(write_skeleton(tmp_path / "a.pkl", content), FRAMES)
    assert found.keypoint.shape == (2, FRAMES, 17, 2)
    np.testing.assert_array_equal(found.score, score)


def test_without_scores_a_joint_at_the_origin_is_missing(tmp_path: Path) -> None:
    content = standing(FRAMES)
    del content["keypoint_score"]
    content["keypoint"][1, 3, 9] = 0
    content["keypoint"][0, 3, 9, 0] = 0
    found = read_skeleton(write_skeleton(tmp_path / "a.pkl", content), FRAMES)
    assert found.score[1, 3, 9] == 0
    assert found.score.sum() == 2 * FRAMES * 17 - 1


def test_a_joint_without_score_is_missing_and_zero(tmp_path: Path) -> None:
    content = standing(FRAMES)
    content["keypoint_score"][0, 5, 2] = 0
    found = read_skeleton(write_skeleton(tmp_path / "a.pkl", content), FRAMES)
    assert not found.keypoint[0, 5, 2].any()
    assert found.keypoint[0, 5, 3].all()


def test_one_person_is_the_far_one_and_the_other_is_absent(tmp_path: Path) -> None:
    content = standing(FRAMES)
    for key in ("keypoint", "keypoint_score"):
        content[key] = content[key][:1]
    found = read_skeleton(write_skeleton(tmp_path / "a.pkl", content), FRAMES)
    assert found.present == (True, False)
    assert found.score[0].all()
    assert not found.score[1].any()


@pytest.mark.parametrize(("frames", "kept", "told"), [
    (FRAMES, FRAMES, False), (FRAMES - 1, FRAMES - 1, False), (FRAMES + 1, FRAMES, False),
    (FRAMES - 2, FRAMES - 2, True), (FRAMES + 2, FRAMES, True),
])  # fmt: skip
def test_another_length_is_told_and_never_padded(
    tmp_path: Path, frames: int, kept: int, told: bool
) -> None:
    found = read_skeleton(write_skeleton(tmp_path / "a.pkl", standing(frames)), FRAMES)
    assert found.keypoint.shape[1] == kept
    assert bool(found.notes) is told


def test_integers_become_numbers_before_anything_else(tmp_path: Path) -> None:
    whole = standing(FRAMES)["keypoint"].astype(np.int32)
    found = read_skeleton(pickled(tmp_path, keypoint=whole), FRAMES)
    assert found.keypoint.dtype == np.float32
    np.testing.assert_array_equal(found.keypoint, whole)


class _Runs:
    """Its pickle calls a function."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call = call, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_runs_code_is_refused_and_nothing_is_run(
    tmp_path: Path, protocol: int
) -> None:
    trace = tmp_path / "was-here"
    for call in (_Runs(os.mkdir, str(trace)), _Runs(eval, f"open({str(trace)!r}, 'w')"),
                 _Runs(getattr, np.ndarray, "tofile")):  # fmt: skip
        path = write_skeleton(tmp_path / "a.pkl", standing(FRAMES, frame_dir=call), protocol)
        with pytest.raises(DataError, match=r"would run code .* nothing was run") as told:
            read_skeleton(path, FRAMES)
        assert "\n" not in str(told.value)
        assert not trace.exists()


def test_objects_inside_of_an_array_are_refused_too(tmp_path: Path) -> None:
    trace = tmp_path / "was-here"
    hidden = np.array([_Runs(os.mkdir, str(trace))], dtype=object)
    with pytest.raises(DataError, match="would run code"):
        read_skeleton(pickled(tmp_path, keypoint=hidden), FRAMES)
    np.savez(tmp_path / "a.npz", **standing(FRAMES, keypoint=hidden))
    with pytest.raises(DataError, match=r"not a whole \.npz file of numbers"):
        read_skeleton(tmp_path / "a.npz", FRAMES)
    assert not trace.exists()


@pytest.mark.parametrize(
    "data",
    [
        # numpy.ndarray((1,), "O", bytearray(b"AAAAAAAA"))[0] = 0: an address made of bytes
        b"cnumpy\nndarray\n(K\x01\x85X\x01\x00\x00\x00O\x96\x08"
        + bytes(7)
        + b"A" * 8
        + b"tRK\x00K\x00s.",
        # numpy.dtype("f4", False, True) that claims to hold objects
        b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4\x89\x88tR(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x3ftb.",
        # attributes for a function: codecs.encode.__defaults__ = (1,)
        b"c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86b.",
    ],
)
def test_no_pickle_reaches_what_numpy_is_made_of(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x05" + data)
    with pytest.raises(DataError, match=r"not a whole pickle|expected keypoint"):
        read_skeleton(tmp_path / "a.pkl", FRAMES)


def test_arrays_of_objects_beside_the_skeleton_are_left_alone(tmp_path: Path) -> None:
    other = np.array([None, {"a": 1}], dtype=object)
    found = read_skeleton(pickled(tmp_path, labels=other), FRAMES)
    np.testing.assert_array_equal(found.keypoint, standing(FRAMES)["keypoint"])
    with pytest.raises(DataError, match="keypoint must be an array of numbers, not of object"):
        read_skeleton(pickled(tmp_path, keypoint=other), FRAMES)


@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_by_columns_and_of_another_byte_order_are_read(
    tmp_path: Path, protocol: int
) -> None:
    content = standing(FRAMES)
    for kept in (np.asfortranarray(content["keypoint"]), content["keypoint"].astype(">f8"),
                 content["keypoint"].transpose(1, 0, 2, 3).copy().swapaxes(0, 1)):  # fmt: skip
        found = read_skeleton(pickled(tmp_path, protocol, keypoint=kept), FRAMES)
        np.testing.assert_array_equal(found.keypoint, content["keypoint"])


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"keypoint": np.zeros((2, FRAMES, 17))}, "keypoint is 2 x 40 x 17, not"),
        ({"keypoint": np.zeros((2, FRAMES, 25, 2))}, "keypoint is 2 x 40 x 25 x 2, not"),
        ({"keypoint": np.zeros((3, FRAMES, 17, 2))}, "has 3 persons"),
        ({"keypoint": np.zeros((2, 0, 17, 2))}, "2 persons and 0 frames"),
        ({"keypoint": "text"}, "keypoint must be an array of numbers"),
        ({"keypoint": [[1], [1, 2]]}, "keypoint must be an array of numbers"),
        ({"keypoint_score": np.zeros((2, 3, 17))}, "keypoint_score is 2 x 3 x 17, not"),
        ({"img_shape": (720,)}, "img_shape must be"),
        ({"img_shape": (0, 1280)}, "img_shape must be"),
    ],
)
def test_another_form_is_refused_in_one_sentence(
    tmp_path: Path, other: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        read_skeleton(pickled(tmp_path, **other), FRAMES)


MEMORY_FOR_TWO_BILLION = b"\x80\x04Nr\xff\xff\xff\x7f."


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\x80\x04", pickle.dumps([1])[:-3], MEMORY_FOR_TWO_BILLION]
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, data: bytes) -> None:
    for name in ("a.pkl", "a.npz"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="not a whole"):
            read_skeleton(tmp_path / name, FRAMES)


def test_an_archive_that_was_damaged_on_its_way_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **standing(FRAMES))
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), len(whole) // 50):  # here and there it does no harm
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            read_skeleton(path, FRAMES)
        except DataError:
            refused += 1
    assert refused > 25


def test_other_content_is_refused_by_what_is_expected(tmp_path: Path) -> None:
    for content in ([1, 2], {"keypoint": 1}):
        with pytest.raises(DataError, match="expected keypoint, img_shape"):
            read_skeleton(write_skeleton(tmp_path / "a.pkl", content), FRAMES)


def test_height_is_the_median_from_nose_to_ankles(tmp_path: Path) -> None:
    found = read_skeleton(pickled(tmp_path), FRAMES)
    np.testing.assert_allclose(body_height(found.keypoint, found.score), [75, 190], atol=1)
    hidden = found.score.copy()
    hidden[1, :, 15:] = 0
    assert body_height(found.keypoint, hidden)[1] == 0


def test_healthy_skeletons_are_all_there_and_nothing_is_odd(folder: Path) -> None:
    census, quality = survey(folder)
    assert (census.expected, census.found, census.missing) == (40, 40, ())
    assert census.searched == str(folder / "skeletons")
    assert [channel.name for channel in quality.channels] == ["keypoint x", "keypoint y", "score"]
    assert all(channel.std > 0.1 and channel.distinct > 1000 for channel in quality.channels)
    counts = (quality.nonfinite, quality.zero_units, quality.mismatched, quality.swapped,
              quality.integer)  # fmt: skip
    assert counts == (0, 0, 0, 0, 0)
    assert (quality.units, quality.zero_frames, quality.outside) == (40, 0, 0)
    assert quality.examples == {}


def test_missing_files_are_counted_and_the_first_five_named(folder: Path) -> None:
    for number in range(7):
        (folder / "skeletons" / f"c{number:02}.pkl").unlink()
    census, quality = survey(folder, "mask")
    assert (census.expected, census.found, census.policy) == (40, 33, "mask")
    assert census.missing == ("c00", "c01", "c02", "c03", "c04")
    assert (census.elsewhere, quality.units) == ("", 33)


def test_five_percent_of_the_files_gone_are_found_out(folder: Path) -> None:
    for name in ("c07", "c21"):
        (folder / "skeletons" / f"{name}.pkl").unlink()
    census, _ = survey(folder)
    assert 1 - census.found / census.expected == pytest.approx(0.05)
    assert census.missing == ("c07", "c21")


def test_files_that_lie_elsewhere_are_found(folder: Path) -> None:
    for number, path in enumerate(sorted((folder / "skeletons").iterdir())):
        if number < 3:
            (folder / "skeletons" / "far").mkdir(exist_ok=True)
            path.rename(path.parent / "far" / path.name)
        elif number < 5:
            path.rename(path.with_stem(path.stem.upper()))
        elif number < 6:
            path.rename(path.with_suffix(".pickle"))
    census, _ = survey(folder)
    assert census.found == 34
    assert f"3 of 6 lie in {folder / 'skeletons' / 'far'} (first: c00.pkl)" in census.elsewhere
    assert "2 of 6 have other capitals (first: C03.pkl)" in census.elsewhere
    assert "1 of 6 end in .pickle (first: c05.pickle)" in census.elsewhere


def test_a_wrong_folder_is_said_and_the_right_one_is_found(folder: Path) -> None:
    wrong = folder / "poses"
    split = read_spotting(folder, "train", ReadOptions(skeletons=wrong))
    census, quality = survey_skeletons(split, "zeros")
    assert (census.found, census.searched, census.policy) == (0, str(wrong), "zeros")
    right = folder / "skeletons"
    told = f"the folder does not exist; 40 of 40 lie in {right} (first: c00.pkl)"
    assert census.elsewhere == told
    assert (quality.units, quality.channels, quality.zero_frames) == (0, (), None)


def test_a_video_of_the_clip_is_no_skeleton_elsewhere(folder: Path) -> None:
    (folder / "skeletons" / "c00.pkl").unlink()
    (folder / "c00.mp4").touch()
    assert survey(folder)[0].elsewhere == ""


def test_one_file_of_integers_is_named_with_its_channels(folder: Path) -> None:
    change(folder, "c11", keypoint=standing(FRAMES)["keypoint"].astype(np.int32))
    _, quality = survey(folder)
    assert quality.integer == 1
    assert quality.examples == {"integer": ("c11 (keypoint x, keypoint y)",)}


def test_coordinates_that_were_rounded_once_are_as_bad(folder: Path) -> None:
    keypoint = standing(FRAMES)["keypoint"]
    keypoint[..., 1] = keypoint[..., 1].round()
    change(folder, "c11", keypoint=keypoint)
    assert survey(folder)[1].examples == {"integer": ("c11 (keypoint y)",)}


def test_channels_that_were_crushed_show_few_values(folder: Path) -> None:
    for number in range(40):
        keypoint = np.sign(standing(FRAMES, number)["keypoint"] - 500).astype(np.int8)
        change(folder, f"c{number:02}", keypoint=keypoint)
    x, y, score = survey(folder)[1].channels
    assert max(x.distinct, y.distinct) <= 3
    assert score.distinct > 1000


def test_zero_files_are_counted(folder: Path) -> None:
    for name in ("c03", "c04"):
        change(folder, name, keypoint=np.zeros((2, FRAMES, 17, 2), np.float32))
    _, quality = survey(folder)
    assert quality.zero_units == 2
    assert quality.zero_frames == pytest.approx(2 / 40)
    assert quality.examples == {"zero_units": ("c03", "c04"), "zero_frames": ("c03", "c04")}


def test_values_that_are_no_number_are_counted(folder: Path) -> None:
    for name, value in (("c03", np.nan), ("c05", np.inf)):
        keypoint = standing(FRAMES)["keypoint"]
        keypoint[1, 7, 0, 1] = value
        keypoint[1, 7, 15, 1] = value
        change(folder, name, keypoint=keypoint)
    _, quality = survey(folder)
    assert (quality.nonfinite, quality.examples) == (2, {"nonfinite": ("c03", "c05")})
    assert all(np.isfinite(channel.std) for channel in quality.channels)


def test_lengths_people_and_images_that_do_not_agree_are_counted(folder: Path) -> None:
    write_skeleton(folder / "skeletons" / "c01.pkl", standing(FRAMES - 2))
    write_skeleton(folder / "skeletons" / "c02.pkl", standing(FRAMES - 1))
    change(folder, "c03", keypoint=standing(FRAMES)["keypoint"][::-1])
    _, quality = survey(folder)
    assert (quality.mismatched, quality.swapped) == (1, 1)
    assert quality.examples == {"mismatched": ("c01",), "swapped": ("c03",)}


def test_joints_outside_of_the_image_are_counted(folder: Path) -> None:
    for name in ("c08", "c09"):
        keypoint = standing(FRAMES)["keypoint"]
        keypoint[0] += 2000
        change(folder, name, keypoint=keypoint)
    _, quality = survey(folder)
    assert quality.outside == pytest.approx(2 * 0.5 / 40)
    assert quality.examples == {"outside": ("c08", "c09")}


def test_an_image_size_other_than_annotated_is_named(tmp_path: Path) -> None:
    clips = [clip(f"c{n}", FRAMES, width=1280, height=720) for n in range(3)]
    write_standing(write_folder(tmp_path, {"train": clips}), clips)
    change(tmp_path, "c1", img_shape=(1280, 720))
    assert survey(tmp_path)[1].examples["img_shape"] == ("c1",)


def test_at_most_200_files_are_read_and_all_are_counted(tmp_path: Path) -> None:
    clips = [clip(f"c{number:03}", 4) for number in range(230)]
    write_standing(write_folder(tmp_path, {"train": clips}), clips)
    census, quality = survey(tmp_path)
    assert (census.found, quality.units) == (230, 200)


def test_a_file_that_would_run_code_stops_the_survey(folder: Path) -> None:
    write_skeleton(folder / "skeletons" / "c00.pkl", _Runs(os.getcwd))
    with pytest.raises(DataError, match="would run code"):
        survey(folder)
