"""Real data with one fault in it: the data rules name it before the first step."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.trainers.mdfed.spec import MdFedConfig
from backend.trainers.mdfed.training import build
from tests.support.induced import BEGAN, Induced, checked
from tests.support.spotting_folders import REAL

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(rallies: Path, tmp_path: Path) -> Path:
    """The dataset, to be damaged."""
    return Path(shutil.copytree(rallies, tmp_path / "data"))


def surveyed(config: MdFedConfig, work: Path, **keys: object) -> Induced:
    """One step, if the data lets it."""
    keyed = {key.replace("__", "."): value for key, value in keys.items()}
    work.mkdir(exist_ok=True)
    return checked(build(config.replace(keyed), work), work)


def rewrite(files: list[Path], change: Change) -> None:
    for path in files:
        content = pickle.loads(path.read_bytes())
        change(content)
        path.write_bytes(pickle.dumps(content))


def test_sound_data_is_clear(smallest: MdFedConfig, tmp_path: Path) -> None:
    found = surveyed(smallest, tmp_path / "work")
    assert {"D01", "D02", "D05"} <= set(found.diagnosis.clear)
    assert all(finding.severity in {"info", "warning"} for finding in found.diagnosis.findings)
    assert found.error == BEGAN


@pytest.mark.rule("D01")
@pytest.mark.parametrize("missing", ["error", "mask", "zeros"])
def test_an_empty_folder_ends_it_whatever_is_done_with_what_is_missing(
    smallest: MdFedConfig, tmp_path: Path, missing: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    found = surveyed(
        smallest, tmp_path / "work", skeletons__pose_dir=empty, skeletons__missing=missing
    )
    assert found.error.startswith("D01: 32 of 32 skeleton files of 'train' are missing in ")
    assert (found.head.rule, found.head.severity) == ("D01", "stop")
    said = found.head.action.advice
    assert "match001" in said, "a name that was searched for"
    assert "start no study" in said


@pytest.mark.rule("D01")
def test_a_twentieth_of_the_files_gone_is_an_error_with_their_names(
    smallest: MdFedConfig, folder: Path, tmp_path: Path
) -> None:
    gone = [clip["video"] for clip in json.loads((folder / "train.json").read_text())[:2]]
    for name in gone:
        (folder / "skeletons" / f"{name}.pkl").unlink()
    found = surveyed(smallest, tmp_path / "work", data=folder, skeletons__missing="mask")
    assert (found.head.rule, found.head.severity) == ("D01", "error")
    assert "2 of 32" in found.head.headline
    assert all(name in found.head.action.advice for name in gone)
    assert found.error == BEGAN, "an error ends no run unless that is asked for"


@pytest.mark.rule("D02")
def test_one_file_of_integers_is_named_with_its_channels(
    smallest: MdFedConfig, folder: Path, tmp_path: Path
) -> None:
    first = sorted((folder / "skeletons").glob("match001*.pkl"))[0]
    rewrite([first], lambda c: c.update(keypoint=c["keypoint"].astype(np.int32)))
    found = surveyed(smallest, tmp_path / "work", data=folder)
    assert (found.head.rule, found.head.severity) == ("D02", "error")
    assert "1 of 32 skeleton files of 'train' have whole numbers for coordinates" in (
        found.head.headline
    )
    assert first.stem in found.head.headline
    assert "x" in found.head.headline.partition(first.stem)[2], "the channel"


@pytest.mark.rule("D02")
@pytest.mark.parametrize(
    ("change", "severity", "said"),
    [
        (lambda c: c.update(keypoint=c["keypoint"] * 0), "stop",
         "32 of 32 skeleton files of 'train' are all zeros"),
        (lambda c: c.update(keypoint=c["keypoint"][::-1]), "error",
         "have a near person smaller than the far one"),
        (lambda c: c["keypoint"].__setitem__((0, 3, 5), np.nan), "error",
         "hold values that are no number"),
        (lambda c: c.update(img_shape=(360, 640)), "error",
         "of the joints of 'train' lie outside the image"),
        (lambda c: c.update({k: c[k][:, : c["total_frames"] // 2]
                             for k in ("keypoint", "keypoint_score")}), "error",
         "have another length than their annotation"),
    ],
    ids=["zeros", "swapped", "nan", "image size", "half the frames"],
)  # fmt: skip
def test_skeletons_that_say_nothing_or_the_wrong_thing(
    smallest: MdFedConfig, folder: Path, tmp_path: Path, change: Change, severity: str, said: str
) -> None:
    rewrite(sorted((folder / "skeletons").glob("*.pkl")), change)
    found = surveyed(smallest, tmp_path / "work", data=folder)
    (finding,) = (f for f in found.seen.values() if f.rule == "D02")
    assert finding.severity == severity
    assert said in finding.headline
    assert (found.error == BEGAN) == (severity == "error")


@pytest.mark.rule("D03")
def test_a_wrong_separator_ends_it_and_the_right_one_is_proposed(
    smallest: MdFedConfig, tmp_path: Path
) -> None:
    found = surveyed(smallest, tmp_path / "work", separator=" ")
    assert (found.head.rule, found.head.severity) == ("D03", "stop")
    assert found.error.startswith("D03: 100 % of ")
    assert "at '_' more of them are understood" in found.head.action.advice


@pytest.mark.rule("D03")
def test_finediving_with_an_underscore(smallest: MdFedConfig, tmp_path: Path) -> None:
    real = REAL / "f3set-others" / "finediving"
    if not real.is_dir():
        pytest.skip(f"{real} is not there")
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(real / "elements.txt", data)
    for split in ("train", "val"):
        shutil.copy(real / "val.json", data / f"{split}.json")
    found = surveyed(smallest, tmp_path / "work", data=data, skeletons__missing="mask")
    assert "100 % of 1,513 events have no known element" in found.seen["D03"].headline
    assert found.seen["D03"].severity == "stop"
    assert found.error.startswith("D0")


@pytest.mark.rule("D04")
def test_rare_events_that_weigh_no_more_than_any_frame(
    smallest: MdFedConfig, tmp_path: Path
) -> None:
    found = surveyed(smallest, tmp_path / "work", loss__fg_weight=1.0)
    finding = found.seen["D04"]
    assert "with weight 1 they carry 4 % of the loss" in finding.headline
    share = next(f.value for f in finding.evidence if f.name.startswith("share"))
    rate = next(f.value for f in finding.evidence if f.name == "positions with a label")
    assert share == rate
    balanced = surveyed(smallest, tmp_path / "balanced", loss__fg_weight=30.0)
    assert "of the loss" not in balanced.seen["D04"].headline


@pytest.mark.rule("D05")
def test_events_past_the_end_out_of_order_and_a_match_in_two_splits(
    smallest: MdFedConfig, folder: Path, tmp_path: Path
) -> None:
    path = folder / "train.json"
    clips = json.loads(path.read_text())
    clips[0]["events"][-1]["frame"] = clips[0]["num_frames"] + 3
    several = next(clip for clip in clips[1:] if len(clip["events"]) > 1)
    several["events"].reverse()
    path.write_text(json.dumps(clips))
    val = json.loads((folder / "val.json").read_text())
    (folder / "val.json").write_text(json.dumps([*val[1:], clips[2]]))
    found = surveyed(smallest, tmp_path / "work", data=folder)
    finding = found.seen["D05"]
    assert finding.severity == "warning"
    assert f"1 events of 'train' lie past the end of their clip ({clips[0]['video']}" in (
        finding.headline
    )
    assert f"1 clips of 'train' have events out of order ({several['video']}" in finding.headline
    assert f"train and val share {clips[2]['video']}" in finding.headline


@pytest.mark.rule("D05")
def test_tennis_doubles_as_annotated(smallest: MdFedConfig, tmp_path: Path) -> None:
    real = REAL / "f3set-others" / "f3set-tennis-doubles"
    if not real.is_dir():
        pytest.skip(f"{real} is not there")
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(real / "elements.txt", data)
    for split in ("train", "val"):
        shutil.copy(real / "train.json", data / f"{split}.json")
    found = surveyed(smallest, tmp_path / "work", data=data, skeletons__missing="mask")
    said = found.seen["D05"].headline
    assert "14 events of 'train' lie past the end" in said
    assert "5 clips of 'train' have events out of order" in said
