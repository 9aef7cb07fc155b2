"""The evidence that the data rules judge, from a split's files to what the loader yields."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.analysis.diagnostics.evidence import evidence_of
from backend.analysis.diagnostics.rule import Clear, Fired, Rule, Turn
from backend.analysis.diagnostics.rules.d01_input_missing import RULE as D01
from backend.analysis.diagnostics.rules.d02_input_degenerate import RULE as D02
from backend.analysis.diagnostics.rules.d03_labels_and_heads import RULE as D03
from backend.core.events import DataSurveyed
from backend.core.evidence import DataSurvey
from backend.datasets.spotting import ReadOptions, SpottingSplit, read_spotting
from backend.trainers.mdfed.data_survey import sampled_table, shared, survey
from backend.trainers.mdfed.spec import MdFedConfig
from tests.support.spotting_folders import (
    REAL,
    clip,
    standing,
    write_folder,
    write_skeleton,
    write_standing,
)

TRAIN = [
    clip(f"m{number:02}_0_100", 100, (20, "near_serve"), (70, "far_gs")) for number in range(20)
]
VAL = [clip(f"v{number:02}_0_100", 100, (20, "far_return")) for number in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path, {"train": TRAIN, "val": VAL})
    return write_standing(tmp_path, [*TRAIN, *VAL])


def splits(folder: Path) -> list[SpottingSplit]:
    return [read_spotting(folder, name, ReadOptions()) for name in ("train", "val")]


def config(folder: Path, **about: Any) -> MdFedConfig:
    small = {"data": folder, "clips": {"length": 32}, "loss": {"fg_weight": 7}}
    return MdFedConfig.model_validate(small | about)


def test_every_split_is_looked_at_and_the_training_is_sampled(folder: Path) -> None:
    found = survey(splits(folder), config(folder))
    assert [(c.split, c.expected, c.found) for c in found.inputs] == [
        ("train", 20, 20),
        ("val", 4, 4),
    ]
    assert [quality.units for quality in found.quality] == [20, 4]
    assert [(c.split, c.labels, c.head) for c in found.labels] == [("train", 40, 5), ("val", 4, 5)]
    (sampled,) = found.sampled
    assert (sampled.split, sampled.weight) == ("train", 7)
    assert sampled.counts["gs"] + sampled.counts["serve"] == sampled.positive
    assert sampled.counts["return"] == 0
    assert (found.shared, found.baselines) == ({}, ())


def test_sampled_labels_are_those_of_the_loader_with_its_dilation(folder: Path) -> None:
    plain = sampled_table(splits(folder)[0], config(folder))
    about = {"clips": {"length": 32, "dilation": 1}}
    wide = sampled_table(splits(folder)[0], config(folder, **about))
    assert len(plain.coarse) == len(wide.coarse) == 4000
    assert plain.frame_rate == pytest.approx(2 / 50, rel=0.1)
    assert wide.frame_rate == pytest.approx(3 * plain.frame_rate, rel=0.1)
    again = sampled_table(splits(folder)[0], config(folder))
    np.testing.assert_array_equal(again.coarse, plain.coarse)


def fired(rule: Rule, found: DataSurvey) -> Fired:
    verdict = rule.judge(evidence_of([DataSurveyed(survey=found)]))
    assert isinstance(verdict, Fired)
    return verdict


def test_five_percent_of_the_skeletons_gone_and_one_of_integers(folder: Path) -> None:
    healthy = evidence_of([DataSurveyed(survey=survey(splits(folder), config(folder)))])
    assert isinstance(D01.judge(healthy), Clear)
    assert isinstance(D02.judge(healthy), Clear)
    (folder / "skeletons" / "m07_0_100.pkl").unlink()
    whole = standing(100, keypoint=standing(100)["keypoint"].astype(np.int32))
    write_skeleton(folder / "skeletons" / "m03_0_100.pkl", whole)
    found = survey(splits(folder), config(folder))
    train = found.inputs[0]
    assert (train.found, train.missing, train.policy) == (19, ("m07_0_100",), "error")
    assert found.quality[0].integer == 1
    assert found.quality[0].examples["integer"] == ("m03_0_100 (keypoint x, keypoint y)",)
    assert found.inputs[1].missing == ()
    missing = fired(D01, found)
    assert missing.severity == "error"
    assert "1 of 20" in missing.headline
    assert "m07_0_100" in missing.advice.text
    degenerate = fired(D02, found)
    assert degenerate.severity == "error"
    assert "m03_0_100 (keypoint x, keypoint y)" in degenerate.headline


@pytest.mark.skipif(
    not (REAL / "f3set-others").is_dir(), reason="../shared/data/f3set-others is not there"
)
def test_finediving_with_underscores_is_stopped_before_training(tmp_path: Path) -> None:
    wrong = read_spotting(REAL / "f3set-others" / "finediving", "val", ReadOptions())
    about = config(tmp_path, skeletons={"missing": "zeros", "pose_dir": str(tmp_path)})
    stopped = fired(D03, survey([wrong], about))
    assert stopped.severity == "stop"
    assert "100 % of 1,513 events" in stopped.headline
    assert "no known element" in stopped.headline
    assert stopped.advice.change == (Turn("separator", values=(" ",)),)


def test_a_wrong_folder_stops_and_the_right_one_is_named(folder: Path) -> None:
    wrong = [
        read_spotting(folder, name, ReadOptions(skeletons=folder / "poses"))
        for name in ("train", "val")
    ]
    stopped = fired(D01, survey(wrong, config(folder, skeletons={"missing": "zeros"})))
    assert stopped.severity == "stop"
    assert str(folder / "skeletons") in stopped.advice.text


def test_clips_and_matches_in_two_splits_are_told(folder: Path) -> None:
    same = [TRAIN[3], clip("m05_200_300", 100), clip("m_5", 50), *VAL[:1]]
    write_folder(folder, {"val": same, "test": [clip("m05_400_500", 100), clip("m_6", 50)]})
    three = [*splits(folder), read_spotting(folder, "test", ReadOptions())]
    assert shared(three) == {
        "train+val": ("m03_0_100",),
        "train+test": ("m05",),
        "val+test": ("m05",),
    }
    assert shared(three, matches=False) == {"train+val": ("m03_0_100",)}


def test_few_clips_of_one_match_are_parted_by_protocol(folder: Path) -> None:
    clips = [clip(f"m_{number}_{number + 100}", 100) for number in range(10)]
    write_folder(folder, {"train": clips})
    write_standing(folder, clips)
    options = ReadOptions(few_shot=10)
    both = [read_spotting(folder, name, options) for name in ("train", "val")]
    about = {"clips": {"length": 32, "few_shot": 10}}
    assert survey(both, config(folder, **about)).shared == {}
    leaked = survey(both, config(folder))
    assert leaked.shared == {"train+val": ("m",)}
    assert leaked.shared_counts == {"train+val": 1}
