"""Annotations of event spotting: what is read, what is counted, what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.core.errors import DataError
from backend.core.evidence import LabelCensus
from backend.datasets.spotting import ReadOptions, SpotEvent, SpottingSplit, read_spotting
from backend.scoring.spotting.decoding import Group
from tests.support.spotting_folders import ELEMENTS, REAL, clip, write_folder, write_standing

real = pytest.mark.skipif(
    not (REAL / "f3set-tennis").is_dir(), reason="../shared/data/f3set-tennis is not there"
)


def read(folder: Path, *clips: Any, split: str = "train", **options: Any) -> SpottingSplit:
    write_folder(folder, {"train": list(clips)})
    return read_spotting(folder, split, ReadOptions(**options))


def census(folder: Path, *clips: Any, **options: Any) -> LabelCensus:
    return read(folder, *clips, **options).labels


def test_a_clip_is_read_with_all_that_is_told_of_it(tmp_path: Path) -> None:
    told = clip("a_0_100", 100, (4, "near_serve"), (40, "far_-_return"), near_hand="LH",
                far_hand="rh", width=1280, height=720)  # fmt: skip
    split = read(tmp_path, told)
    (found,) = split.clips
    assert found.events == (
        SpotEvent(4, "near_serve", (0, 2)),
        SpotEvent(40, "far_-_return", (1, 3)),
    )
    assert (found.near_hand, found.far_hand, found.width, found.height) == ("LH", "RH", 1280, 720)
    assert (split.elements, split.skeletons) == (ELEMENTS, tmp_path / "skeletons")
    assert split.labels.counts == {"near": 1, "far": 1, "serve": 1, "return": 1, "gs": 0}
    assert not split.notes
    assert split.as_input().instances == 2


def test_the_file_may_be_an_object_with_its_own_elements_and_groups(tmp_path: Path) -> None:
    about = {
        "elements": ["x", "y"],
        "groups": [{"one_of": ["x", "y"]}],
        "clips": [clip("a", 50, (3, "y"))],
    }
    write_folder(tmp_path, {"val": about})
    split = read_spotting(tmp_path, "valid", ReadOptions())
    assert split.elements == ("x", "y")
    assert split.groups == (Group((0, 1), None),)
    assert split.clips[0].events[0].elements == (1,)


def test_groups_come_from_the_data_folder_and_an_option_goes_first(tmp_path: Path) -> None:
    (tmp_path / "groups.json").write_text(json.dumps([{"one_of": ["near", "far"]}]))
    other = tmp_path / "other.json"
    other.write_text(json.dumps([{"one_of": ["return", "gs"], "unless": "serve"}]))
    assert read(tmp_path, clip("a")).groups == (Group((0, 1), None),)
    assert read(tmp_path, clip("a"), groups=other).groups == (Group((3, 4), 2),)


def test_what_is_odd_is_counted_with_the_clips_and_told(tmp_path: Path) -> None:
    split = read(
        tmp_path,
        clip("late", 101, (10, "near_gs"), (100, "far_gs"), (180, "near_gs")),
        clip("jumbled", 100, (60, "near_gs"), (20, "far_gs")),
        clip("close", 100, (20, "near_serve"), (21, "far_gs"), (30, "odd_gs"), (40, "odd"),
             (50, "-")),
    )  # fmt: skip
    found = split.labels
    assert (found.units, found.labels) == (3, 10)
    assert (found.past_end, found.unsorted, found.collisions) == (2, 1, 2)
    assert (found.unknown, found.empty) == ({"odd": 2}, 2)
    assert found.examples == {
        "past_end": ("late",),
        "unsorted": ("jumbled",),
        "collisions": ("late", "close"),
        "unknown": ("close",),
        "empty": ("close",),
    }
    assert [event.frame for event in split.clips[0].events] == [10, 99, 99]
    assert [event.frame for event in split.clips[1].events] == [20, 60]
    assert len(split.notes) == 5
    assert any("2 events lie past" in note and "(first: late)" in note for note in split.notes)


def test_collisions_depend_on_the_stride(tmp_path: Path) -> None:
    near = clip("a", 100, (20, "near_gs"), (21, "far_gs"))
    assert census(tmp_path, near, stride=2).collisions == 1
    assert census(tmp_path, near, stride=1).collisions == 0


def test_the_separator_that_would_be_understood_is_named(tmp_path: Path) -> None:
    found = census(tmp_path, clip("a", 100, (4, "near serve"), (40, "far gs")))
    assert (found.empty, found.separator, found.better) == (2, "_", " ")
    assert found.unknown == {"near serve": 1, "far gs": 1}
    mended = census(tmp_path, clip("a", 100, (4, "near serve"), (40, "far gs")), separator=" ")
    assert (mended.empty, mended.better, mended.unknown) == (0, "", {})


@real
def test_of_finediving_with_underscores_nothing_is_understood() -> None:
    data = REAL / "f3set-others" / "finediving"
    found = read_spotting(data, "val", ReadOptions()).labels
    assert (found.labels, found.empty, found.better) == (1513, 1513, " ")
    assert read_spotting(data, "val", ReadOptions(separator=" ")).labels.empty == 0


@real
def test_the_real_sets_are_read_as_they_are() -> None:
    tennis = read_spotting(REAL / "f3set-tennis", "val", ReadOptions())
    assert (tennis.labels.units, tennis.labels.labels) == (1883, 6994)
    assert len(tennis.elements) == 29
    assert not tennis.notes
    assert sum(clip.near_hand == "LH" for clip in tennis.clips) == 265
    doubles = read_spotting(REAL / "f3set-others" / "f3set-tennis-doubles", "train", ReadOptions())
    assert (doubles.labels.labels, doubles.labels.past_end) == (282, 14)
    assert doubles.labels.unsorted == 5
    assert doubles.labels.counts["dm"] == 0
    pipe = read_spotting(REAL / "f3set-others" / "cctvpipe", "val", ReadOptions()).labels
    assert sum(count == 0 for count in pipe.counts.values()) == 2


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([clip("a"), clip("a")], "two clips are called a"),
        ([clip("a", 100, (-3, "near"))], r"1 events lie before the first frame.*\(a\)"),
        ([clip("a", 0)], "clip a: 'num_frames' must be a whole number from 1"),
        ([clip("a", 1)], "clip a: is shorter than one step of stride 2"),
        ([clip("../../a")], "must not lead out of the skeletons' folder"),
        ([clip("/etc/passwd")], "must not lead out of the skeletons' folder"),
        ([clip("a", width=-1)], "clip a: 'width' must be a whole number"),
        ([clip("a") | {"events": None}], "clip a: its events must be a list"),
        ([clip("a") | {"events": [{"frame": 1}]}], "clip a, event 1: needs 'label'"),
        ([clip("a") | {"events": [{"frame": 1.5, "label": ""}]}], "'frame' must be a whole"),
        ([], "it lists no clips"),
        ("text", "expected a list of clips"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, entries: Any, sentence: str) -> None:
    write_folder(tmp_path, {"train": entries})
    with pytest.raises(DataError, match=sentence) as told:
        read_spotting(tmp_path, "train", ReadOptions())
    assert "\n" not in str(told.value)


def test_a_split_or_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": [clip("a")], "val": [clip("b")]})
    with pytest.raises(DataError, match=r"no split 'test' \(test.json\); it has train, val"):
        read_spotting(tmp_path, "test", ReadOptions())
    with pytest.raises(DataError, match="no such folder"):
        read_spotting(tmp_path / "none", "train", ReadOptions())


def test_holdout_and_test_are_one_split(tmp_path: Path) -> None:
    write_folder(tmp_path, {"test": [clip("a")]})
    found = read_spotting(tmp_path, "holdout", ReadOptions())
    assert (found.name, found.source.name) == ("holdout", "test.json")


def test_few_shot_parts_some_clips_by_the_seed(tmp_path: Path) -> None:
    clips = [clip(f"c{number:03}") for number in range(50)]
    write_folder(tmp_path, {"train": clips, "val": [clip("v")], "test": [clip("t")]})

    def names(split: str, seed: int = 0) -> list[str]:
        options = ReadOptions(few_shot=10, seed=seed)
        return [found.name for found in read_spotting(tmp_path, split, options).clips]

    train, val = names("train"), names("val")
    assert (len(train), len(val)) == (8, 2)
    assert not set(train) & set(val)
    assert train == sorted(train)
    assert names("train") == train
    assert names("train", seed=1) != train
    assert set(train) != {f"c{number:03}" for number in range(8)}
    assert names("test") == ["t"]


@pytest.mark.parametrize("count", [1, 4])
def test_few_shot_needs_clips_for_both_parts(tmp_path: Path, count: int) -> None:
    with pytest.raises(DataError, match=f"few_shot {count} needs at least 2 and at most its 3"):
        read(tmp_path, clip("a"), clip("b"), clip("c"), few_shot=count)


def test_the_digest_follows_labels_and_skeletons_but_not_the_place(tmp_path: Path) -> None:
    clips = [clip("a", 60, (4, "near_serve")), clip("b", 60)]
    one = write_standing(write_folder(tmp_path / "one", {"train": clips}), clips)
    two = write_standing(write_folder(tmp_path / "two", {"train": clips}), clips)
    options = ReadOptions()
    digest = read_spotting(one, "train", options).digest
    assert read_spotting(two, "train", options).digest == digest
    (two / "skeletons" / "b.pkl").write_bytes(b"other")
    assert read_spotting(two, "train", options).digest != digest
    moved = [clip("a", 60, (5, "near_serve")), clip("b", 60)]
    write_folder(one, {"train": moved})
    assert read_spotting(one, "train", options).digest != digest
    write_folder(one, {"train": clips})
    assert read_spotting(one, "train", options).digest == digest
    assert read_spotting(one, "train", replace(options, stride=1)).digest != digest
