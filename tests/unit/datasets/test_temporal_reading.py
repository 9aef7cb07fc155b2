"""ActivityNet's JSON as data: what is read, left out and counted, and the findings V1 to V10."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.datasets.temporal import (
    Expectations,
    ReadOptions,
    Sampling,
    TemporalData,
    check_temporal,
    read_temporal,
    subsets_of,
    survey_temporal,
)
from tests.support import temporal_folders as made
from tests.support import videos_made

THUMOS = Path(__file__).parents[4] / "shared/data/thumos14/thumos14_anno.json"
SPLITS = ("training", "validation")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made.clean(tmp_path / "set")


def changed(root: Path, **entries: Any) -> Path:
    """The set with some videos' entries changed."""
    path = root / "annotations.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["database"] |= entries
    path.write_text(json.dumps(content), encoding="utf-8")
    return root


def told(data: TemporalData) -> list[str]:
    return [f"{one.level} {one.code} {one.split}: {one.sentence}" for one in data.findings]


def only(data: TemporalData) -> str:
    (one,) = told(data)
    return one


def test_a_clean_set_has_no_findings(root: Path) -> None:
    data = check_temporal(root, SPLITS, wanted=Expectations(Sampling(48)))
    assert told(data) == []
    train, val = data.splits
    assert train.classes == val.classes == ("jump", "run")
    assert (train.actions, train.annotated, len(train.usable)) == (20, 20, 2)
    c = val.videos[0]
    assert (c.duration, c.fps) == (3.0, 30.0)
    assert c.segments.tolist() == [[0.5, 2.5], [1.0, 1.5]]
    assert c.labels.tolist() == [0, 1]
    assert subsets_of(root) == {"training": 2, "validation": 1}
    assert (val.as_input().images, val.as_input().instances) == (1, 2)
    census = data.census[1]
    assert census.in_action == pytest.approx(2 / 3)
    assert (census.overlapping, census.medians) == (1, {"jump": 2.0, "run": 0.5})


def test_house_names_of_splits_work(root: Path) -> None:
    train, val = read_temporal(root, ("train", "val"))
    assert (train.split, len(train.videos), val.split, len(val.videos)) == ("train", 2, "val", 1)
    with pytest.raises(DataError, match="no subset 'test'; it has training, validation"):
        read_temporal(root, ("test",))


def test_what_is_left_out_is_counted_by_its_reason(root: Path) -> None:
    actions = [
        ("jump", 0.5, 1.0), ("jump", 0.5004, 1.0004), ("run", 0.5, 1.0), ("Ambiguous", 0, 1),
        ("jump", 1.5, 1.5), ("jump", 1.6, 1.2), ("run", 1.5, 2.4), ("run", 2.0, 3.0),
        ("hop", 0.1, 0.4), ("run", -0.5, 0.25),
    ]  # fmt: skip
    changed(root, a=made.entry("training", actions))
    (train,) = read_temporal(root, ("train",), ReadOptions(classes=("run", "jump")))
    a = train.videos[0]
    assert a.segments.tolist() == [[0.0, 0.25], [0.5, 1.0], [0.5, 1.0], [1.5, 2.0]]
    assert a.labels.tolist() == [0, 1, 0, 0]
    assert train.odd == {
        "ambiguous": {"a": 1}, "empty": {"a": 2}, "duplicate": {"a": 1}, "outside": {"a": 1},
        "clipped": {"a": 2}, "unknown": {"a": 1},
    }  # fmt: skip
    data = check_temporal(root, ("train",), ReadOptions(classes=("run", "jump")))
    codes = [one.code for one in data.findings]
    assert codes == ["V6", "V6", "V7", "V7", "V7", "V7", "V8"]
    assert not data.errors


def test_missing_files(root: Path) -> None:
    (root / "videos/b.mp4").unlink()
    data = check_temporal(root, SPLITS)
    assert only(data) == (
        f"error V1 training: 1 of 2 videos have no file in {root}/videos (b); "
        "videos.allow_missing leaves them out."
    )
    with pytest.raises(DataError, match=r"annotations\.json, training: V1: 1 of 2 videos"):
        data.refuse()
    allowed = check_temporal(root, SPLITS, wanted=Expectations(allow_missing=True))
    assert not allowed.errors
    assert [video.name for video in allowed.splits[0].usable] == ["a"]
    shutil.rmtree(root / "videos")
    assert (
        "error V1 training: none of 2 videos has a file" in told(check_temporal(root, SPLITS))[0]
    )
    without = check_temporal(root, SPLITS, wanted=Expectations(need_files=False))
    assert not without.errors
    assert without.splits[0].videos[0].duration == 2.0


def test_files_under_activitynets_prefix_and_in_other_folders(root: Path, tmp_path: Path) -> None:
    away = tmp_path / "elsewhere/deep"
    away.mkdir(parents=True)
    for name in "abc":
        shutil.move(root / f"videos/{name}.mp4", away / f"v_{name}.mp4")
    data = check_temporal(root, SPLITS, ReadOptions(videos=tmp_path / "elsewhere"))
    assert told(data) == []
    with pytest.raises(DataError, match="no such folder"):
        read_temporal(root, SPLITS, ReadOptions(videos=tmp_path / "none"))


def test_files_behind_links_and_under_names_that_differ_in_spelling(
    root: Path, tmp_path: Path
) -> None:
    entries = {"caf\u00e9": made.entry("training", made.RUNS), "c.mp4": made.entry("extra", [])}
    entries["more/b"] = made.entry("extra", [])
    changed(root, **entries)
    shutil.move(root / "videos/c.mp4", tmp_path / "c.mp4")
    (root / "videos/c.mp4").symlink_to(tmp_path / "c.mp4")
    (tmp_path / "store").mkdir()
    videos_made.write(tmp_path / "store/cafe\u0301.mp4", codec="mpeg4")
    (root / "videos/linked").symlink_to(tmp_path / "store")
    data = check_temporal(root, (*SPLITS, "extra"))
    assert not data.errors
    assert [len(split.usable) for split in data.splits] == [3, 1, 2]


def test_of_several_files_the_least_deep_one_counts(root: Path) -> None:
    (root / "videos/a small").mkdir()
    shutil.copy(root / "videos/a.mp4", root / "videos/a small/c.mp4")
    assert read_temporal(root, ("val",))[0].videos[0].path == root / "videos/c.mp4"


def test_links_to_nothing_and_folders_called_like_files_are_no_files(root: Path) -> None:
    for name in "ab":
        (root / f"videos/{name}.mp4").unlink()
    (root / "videos/a.mp4").symlink_to("away.mp4")
    (root / "videos/b.mp4").mkdir()
    assert told(check_temporal(root, SPLITS))[0].startswith("error V1 training: none of 2 videos")


def test_annotations_without_a_class_are_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r"save those that are no class \(jump, run\)"):
        read_temporal(root, SPLITS, ReadOptions(ignored=("jump", "run")))


def test_files_that_cannot_be_used(root: Path) -> None:
    (root / "videos/b.mp4").write_bytes(b"nothing")
    said = only(check_temporal(root, SPLITS))
    assert said.startswith("error V2 training: 1 video files cannot be used (b: cannot be decoded")


def test_files_that_are_cut_off(root: Path) -> None:
    path = root / "videos/b.mkv"
    videos_made.write(path, 60, codec="mpeg4")
    (root / "videos/b.mp4").unlink()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    said = told(check_temporal(root, SPLITS))
    assert said[0].startswith("warning V3 training: 1 videos are shorter than the annotations")


def test_an_mp4_whose_index_points_beyond_its_end_is_cut_off(root: Path) -> None:
    import av

    path = root / "videos/b.mp4"
    whole = root / "whole.mp4"
    path.rename(whole)
    with (
        av.open(str(whole)) as source,
        av.open(str(path), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    said = told(check_temporal(root, SPLITS))
    assert said[0].startswith("error V3 training: 1 video files are cut off")
    assert "of 60" in said[0]


def test_rates_and_lengths_against_what_is_announced(root: Path) -> None:
    actions = [("jump", 0.1, 0.9), ("run", 0.5, 3.0)]
    changed(root, c=made.entry("validation", actions, 4.0, 25.0))
    assert told(check_temporal(root, SPLITS)) == [
        "warning V3 validation: 1 videos are shorter than the annotations say: "
        "c (3.0 s of 4.0 s).",
        "warning V4 validation: 1 videos have another frame rate than the annotations say, and "
        "the file's counts: c (30.000 for 25.000).",
    ]


def test_variable_rates(root: Path) -> None:
    stamps = np.cumsum([10 + number for number in range(60)]).tolist()
    videos_made.write(root / "videos/b.mp4", 60, stamps=stamps, codec="mpeg4")
    changed(root, b=made.entry("training", made.RUNS, 4.0, 15.0))
    data = check_temporal(root, SPLITS)
    assert [one.code for one in data.findings if one.code != "V4"] == ["V5"]
    assert data.splits[0].videos[1].file is not None


def test_classes_and_splits_without_actions(root: Path) -> None:
    changed(root, b=made.entry("training", []))
    assert told(check_temporal(root, SPLITS)) == [
        "warning V8 training: 1 of 2 classes have no action (run).",
        "error V8 validation: 1 classes occur here but never in training, so they score 0 (run); "
        "'classes' names those to learn.",
    ]
    changed(root, a=made.entry("training", []))
    assert told(check_temporal(root, SPLITS))[0] == (
        "error V8 training: none of 2 videos has an action."
    )


def test_windows_that_do_not_fit_the_actions(root: Path) -> None:
    tight = told(check_temporal(root, SPLITS, wanted=Expectations(Sampling(8))))
    assert tight == [
        "warning V9 training: 20 of 20 actions are too long for a window of 8 positions at "
        "stride 1 to keep 75% of them.",
        "warning V9 training: 2 of 2 videos have no window of 8 positions at stride 1 with an "
        "action, so they are not trained on (a, b).",
        "warning V9 validation: 2 of 2 actions are too long for a window of 8 positions at "
        "stride 1 to keep 75% of them.",
    ]
    wide = told(check_temporal(root, ("train",), wanted=Expectations(Sampling(64, stride=16))))
    assert len(wide) == 2
    assert "20 of 20 actions are shorter than one position" in wide[0]
    assert "2 of 2 videos are shorter than a window" in wide[1]


def test_one_file_in_two_splits(root: Path) -> None:
    shutil.copy(root / "videos/a.mp4", root / "videos/c.mp4")
    changed(root, c=made.entry("validation", [("jump", 0.5, 1.0), ("run", 1.0, 2.0)]),
            b=made.entry("training", made.RUNS))  # fmt: skip
    data = check_temporal(root, SPLITS)
    assert any("V10 training+validation: 1 video files lie in both splits (c)" in one
               for one in told(data))  # fmt: skip
    assert survey_temporal(data, 2).shared == {"training+validation": ("c",)}


def test_the_survey(root: Path) -> None:
    (root / "videos/b.mp4").write_bytes(b"nothing")
    survey = survey_temporal(check_temporal(root, SPLITS), head=2)
    one, other = survey.inputs
    assert (one.what, one.expected, one.found, other.found) == ("videos", 2, 1, 1)
    assert one.formats == other.formats == {".mp4": 1}
    assert one.missing[0].startswith("b (cannot be decoded")
    assert survey.labels[0].counts == {"jump": 10, "run": 10}
    assert (survey.labels[1].units, survey.labels[1].labels, survey.labels[1].highest) == (1, 2, 1)
    assert [found.code for found in survey.findings] == ["V2"]


def test_the_digest_follows_annotations_and_files(root: Path) -> None:
    def digests() -> list[str]:
        return [split.digest for split in read_temporal(root, SPLITS)]

    first = digests()
    assert first == digests()
    changed(root, c=made.entry("validation", [("jump", 0.5, 2.5)], 3.0))
    second = digests()
    assert (second[0] == first[0], second[1] == first[1]) == (True, False)
    videos_made.write(root / "videos/a.mp4", 61, codec="mpeg4")
    assert digests()[0] != first[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [('{"database": []}', "a 'database' of videos"),
     ('{"database": {"a": {}}}', "names its subset"),
     ('{"database": {"a": {"subset": "train", "annotations": [{"label": "x", "segment": [1]}]}}}',
      "expected \\[start, end\\]"), ('{"database"', "not valid JSON")],
)  # fmt: skip
def test_annotations_that_cannot_be_read(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_temporal(path, ("train",))
    with pytest.raises(DataError, match="expected a JSON with a 'database'"):
        read_temporal(tmp_path / "other", ("train",))


@pytest.mark.skipif(not THUMOS.is_file(), reason="../shared/data/thumos14 is not there")
def test_thumos14_as_it_is() -> None:
    data = check_temporal(THUMOS, ("validation", "test"), wanted=Expectations(need_files=False))
    val, test = data.census
    assert (val.videos, val.annotated, val.actions) == (200, 3096, 3003)
    assert (test.videos, test.annotated, test.actions) == (212, 3454, 3332)
    assert val.odd == {"ambiguous": 89, "outside": 4}
    assert test.odd == {"ambiguous": 96, "outside": 26}
    assert len(val.counts) == len(test.counts) == 20
    assert "Ambiguous" not in val.counts
    assert (val.hours, test.hours) == (pytest.approx(11.606, abs=1e-3),
                                       pytest.approx(12.759, abs=1e-3))  # fmt: skip
    assert (val.lengths["0.5"], test.lengths["0.5"]) == (pytest.approx(2.9), pytest.approx(3.2))
    assert val.rates == {"30": 186, "29.97": 7, "25": 6, "24": 1}
    assert not data.errors
