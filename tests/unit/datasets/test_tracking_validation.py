"""Each finding is caused by a broken copy of a small clean data set, and not by the clean one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.core.errors import DataError
from backend.core.evidence import DataFinding, DataSurvey
from backend.datasets.tracking import (
    Detections,
    Expectations,
    MotOptions,
    read_tracking,
    survey_tracking,
)
from backend.datasets.tracking.check_frames import shared_images
from tests.support import tracking_folders as made

MOT15 = Path(__file__).parents[4] / "shared" / "data" / "mot15"
WANTED = Expectations(num_classes=3, classes=made.CLASSES)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.clean(tmp_path_factory.mktemp("tracking") / "set")


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "set")
    return tmp_path / "set"


def found(
    root: Path, wanted: Expectations = WANTED, fields: str = "auto", **options: Any
) -> list[DataFinding]:
    database = Detections(root / made.DATABASE, fields)
    read = read_tracking(root, ["train", "val"], database, MotOptions(**options), wanted)
    return list(read.findings)


def codes(findings: list[DataFinding]) -> set[tuple[str, str]]:
    return {(one.code, one.level) for one in findings}


def rewritten(root: Path, change: Callable[[str, list[str]], tuple[str, list[str]]]) -> None:
    made.write_detections(
        root, dict(change(key, lines) for key, lines in made.detections(root).items())
    )


def test_the_clean_set_has_no_findings(sound: Path) -> None:
    assert found(sound) == []
    assert found(sound, Expectations()) == []


def test_every_finding_reads_as_a_sentence_and_a_record(root: Path) -> None:
    made.write_detections(root, {"elsewhere/img1/1": ["1,2,3,4,1,0.5"]})
    findings = found(root)
    survey = DataSurvey(findings=tuple(findings))
    assert DataSurvey.model_validate_json(survey.model_dump_json()) == survey
    for one in findings:
        assert one.sentence.endswith(".")
        assert one.numbers


def test_n1_no_key_fits(root: Path) -> None:
    rewritten(root, lambda key, lines: (key.replace("train", "t").replace("val", "v"), lines))
    findings = found(root)
    assert codes(findings) == {("N1", "error")}
    assert findings[0].numbers == {"hits": 0, "frames": 24, "rate": 0}
    assert "looked for as train/a:1, train/b:1" in findings[0].sentence
    assert "t/a/img1/000001 (read as t/a:1)" in findings[0].sentence


def test_an_image_folder_of_another_name_is_no_part_of_keys(root: Path) -> None:
    for folder in made.folders(root):
        (folder / "img1").rename(folder / "frames")
        made.write_info(folder, imDir="frames")
    assert found(root) == [], "keys have img1"
    rewritten(root, lambda key, lines: (key.replace("img1", "frames"), lines))
    assert found(root) == []


def test_n1_some_frames_have_no_key(root: Path) -> None:
    kept = {k: v for k, v in made.detections(root).items() if not k.endswith("000004")}
    made.write_detections(root, kept)
    assert codes(found(root)) == {("N1", "warning")}


def test_n1_two_keys_of_one_frame(root: Path) -> None:
    twice = made.detections(root)
    made.write_detections(root, twice | {"val/c/img1/1.txt": twice["val/c/img1/000001"]})
    assert codes(found(root)) == {("N1", "error")}


@pytest.mark.parametrize(
    "line", ["1,2,3", "1,2,3,4,five,0.5", "1,2,-3,4,1,0.5", "1,2,3,4,1,7.5", "1,2,3,4,0.5"]
)
def test_n2_a_line_that_cannot_be_used(root: Path, line: str) -> None:
    rewritten(root, lambda key, lines: (key, [*lines, line]))
    findings = found(root, fields="xywhcs")
    assert codes(findings) == {("N2", "error")}
    assert "det_db.json, train/a:1" in findings[0].sentence


def test_n2_an_order_that_cannot_be_told(root: Path) -> None:
    rewritten(root, lambda key, lines: (key, [made.line([5, 5, 9, 9], 1, 1, "xywhs") + ",1.0"]))
    assert codes(found(root)) == {("N2", "error")}


def test_n2_corners_instead_of_sizes(root: Path) -> None:
    def corners(key: str, lines: list[str]) -> tuple[str, list[str]]:
        changed = []
        for line in lines:
            x, y, w, h, *rest = line.split(",")
            changed.append(",".join([x, y, f"{float(x) + float(w):.2f}",
                                     f"{float(y) + float(h):.2f}", *rest]))  # fmt: skip
        return key, changed

    rewritten(root, corners)
    findings = found(root)
    assert ("N2", "error") in codes(findings)
    assert "two corners" in next(one.sentence for one in findings if one.code == "N2")


def test_n2_shares_of_the_image(root: Path) -> None:
    rewritten(root, lambda key, lines: (key, ["0.1,0.2,0.1,0.2,1,0.5"]))
    assert codes(found(root)) == {("N2", "error")}


@pytest.mark.parametrize(("kept", "level"), [(1, "warning"), (0, "error")])
def test_n3_proposals_that_miss(root: Path, kept: int, level: str) -> None:
    """One good proposal of four per frame, or none; the others lie in the corner."""
    away = [made.line([1 + n, 50, 4, 5 + n], 0.3 + n / 10, 1) for n in range(4)]
    rewritten(root, lambda key, lines: (key, [*lines[-1:][:kept], *away]))
    findings = found(root)
    assert codes(findings) == {("N3", level)}
    assert findings[0].numbers["recall"] == pytest.approx(kept / 4, abs=0.01)


def test_n4_no_classes_in_the_database(root: Path) -> None:
    made.write_detections(root, made.detections(root, "xywhs"))
    assert codes(found(root)) == {("N4", "error")}
    assert found(root, Expectations(num_classes=3, embeds_classes=False)) == []


def test_n5_classes_that_are_not_declared(root: Path) -> None:
    made.edit_rows(root, lambda n, row: [*row[:7], 9 if n == 0 else row[7], 1])
    findings = found(root)
    assert codes(findings) == {("N5", "error")}
    assert findings[0].numbers == {"boxes": 2, "lowest": 9, "highest": 9}


def test_n5_classes_that_count_from_zero(root: Path) -> None:
    made.edit_rows(root, lambda n, row: [*row[:7], row[7] - 1, 1])
    findings = [one for one in found(root) if one.code == "N5"]
    assert codes(findings) == {("N5", "error")}
    assert all("seem to count from 0" in one.sentence for one in findings)


def test_n5_a_class_of_the_database(root: Path) -> None:
    rewritten(root, lambda key, lines: (key, [*lines, "1,2,3,4,4,0.5"]))
    assert codes(found(root)) == {("N5", "error")}


def test_n5_numbers_are_no_names(root: Path) -> None:
    """As a checkpoint reads data without classes.json that it was trained on."""
    (root / "classes.json").unlink()
    meta = {"_meta": {"classes": made.CLASSES}}
    made.write_detections(root, meta | made.detections(root))
    numbers = ("1", "2", "3")
    read = read_tracking(
        root, ["val"], Detections(root / made.DATABASE), MotOptions(numbers),
        Expectations(classes=numbers),
    )  # fmt: skip
    assert read.splits[0].declared
    assert read.findings == ()


def test_n5_names_in_another_order(root: Path) -> None:
    meta = {"_meta": {"classes": ["referee", "player", "ball"]}}
    made.write_detections(root, meta | made.detections(root))
    findings = found(root)
    assert codes(findings) == {("N5", "error")}
    assert "in another order" in findings[0].sentence
    made.write_detections(root, made.detections(root))
    other = Expectations(classes=("player", "referee", "coach"))
    assert codes(found(root, other)) == {("N5", "error")}


def test_n6_another_number_of_classes(root: Path) -> None:
    findings = found(root, Expectations(num_classes=1))
    assert codes(findings) == {("N6", "error")}
    assert findings[0].numbers == {"wanted": 1, "declared": 3, "annotated": 3}


def test_n6_classes_without_a_box(root: Path) -> None:
    made.edit_rows(root, lambda n, row: [*row[:7], min(row[7], 2), 1])
    findings = found(root)
    assert codes(findings) == {("N6", "warning")}
    assert "without a box: ball" in findings[0].sentence
    made.edit_rows(root, lambda n, row: [*row[:7], 1, 1])
    assert codes(found(root)) == {("N6", "error")}


def test_n6_nothing_to_learn(root: Path) -> None:
    made.edit_rows(root, lambda n, row: None)
    assert ("N6", "error") in codes(found(root))


def test_n6_classes_that_nobody_named_are_those_of_all_splits(root: Path) -> None:
    (root / "classes.json").unlink()
    narrow = root / "val/c"
    made.write_rows(narrow, [row for row in made.rows_of(narrow) if row[7] < 3])
    read = read_tracking(root, ["train", "val"], wanted=Expectations(num_classes=3))
    assert read.findings == ()
    assert [one.classes for one in read.splits] == [("1", "2", "3")] * 2


def test_n7_an_id_for_every_box(root: Path) -> None:
    made.edit_rows(root, lambda n, row: [row[0], n + 1, *row[2:]])
    findings = found(root)
    assert codes(findings) == {("N7", "error")}
    assert findings[0].numbers == {"median_length": 1, "once": 1, "ids": 96}
    assert "the ids are the numbers of the rows" in findings[0].sentence
    assert "have at most 1 frame, 100% of the ids 1 (" in findings[0].sentence
    assert found(root, Expectations(pseudo_clips=True)) == []


def test_n7_tracks_of_two_frames(root: Path) -> None:
    made.edit_rows(root, lambda n, row: [row[0], row[1] + 10 * (row[0] // 2), *row[2:]])
    assert codes(found(root)) == {("N7", "error")}


def test_n8_a_filter_takes_whole_classes(root: Path) -> None:
    drop = {"non-person": [2, 3]}
    findings = found(root, drop=drop)
    errors = [one for one in findings if one.level == "error" and one.code == "N8"]
    assert [one.split for one in errors] == ["train", "val"]
    assert errors[0].numbers == {"boxes": 48, "classes": 2, "entirely": 2}
    assert "'non-person' drops 48 boxes: class 2 (24), class 3 (24)" in errors[0].sentence
    confirmed = found(root, Expectations(confirmed=frozenset({"non-person"})), drop=drop)
    assert ("N8", "warning") in codes(confirmed)
    assert ("N8", "error") not in codes(confirmed)


def test_n8_rows_to_be_ignored(root: Path) -> None:
    made.edit_rows(root, lambda n, row: [*row[:6], 0 if n % 8 == 2 else 1, *row[7:]])
    assert found(root) == []
    made.edit_rows(root, lambda n, row: [*row[:6], 0 if row[7] == 3 else 1, *row[7:]])
    assert ("N8", "error") in codes(found(root))


def test_n9_frames_without_an_image(root: Path) -> None:
    (root / "val/c/img1/000005.png").unlink()
    findings = found(root)
    assert codes(findings) == {("N9", "error")}
    assert findings[0].sentence == "1 annotated frames have no image: c (1)."
    shutil.rmtree(root / "val/c/img1")
    assert codes(found(root)) == {("N9", "error")}


def test_n9_images_beyond_the_annotations(root: Path) -> None:
    made.edit_rows(root, lambda n, row: row if row[0] <= 9 else None)
    findings = found(root)
    assert codes(findings) == {("N9", "warning")}
    assert [one.numbers["frames"] for one in findings] == [6, 3]


def test_n9_a_shifted_numbering(root: Path) -> None:
    for path in sorted((root / "val/c/img1").iterdir()):
        path.rename(path.with_name(f"{int(path.stem) - 1:05d}.png"))
    findings = [one for one in found(root) if one.code == "N9"]
    assert codes(findings) == {("N9", "error")}
    assert "c (+1)" in findings[0].sentence


def test_n9_an_id_twice_in_a_frame(root: Path) -> None:
    made.edit_rows(root, lambda n, row: [row[0], 1 if n == 1 else row[1], *row[2:]])
    findings = found(root)
    assert codes(findings) == {("N9", "error")}
    assert [one.numbers["duplicates"] for one in findings] == [2, 1]


def test_n9_sequences_shorter_than_a_clip(root: Path) -> None:
    findings = found(root, Expectations(clip_length=13))
    assert codes(findings) == {("N9", "warning")}
    assert findings[0].numbers == {"sequences": 2, "clip_length": 13}


def test_s1_scores_that_say_nothing(root: Path) -> None:
    rewritten(root, lambda k, lines: (k, [line.rpartition(",")[0] + ",1.0" for line in lines]))
    assert codes(found(root)) == {("S1", "warning")}


def test_s2_proposals_that_are_the_truth(root: Path) -> None:
    exact: made.Lines = {}
    for folder in made.folders(root):
        for n, (frame, _, *box, _, label, _) in enumerate(made.rows_of(folder)):
            key = f"{folder.relative_to(root)}/img1/{int(frame)}"
            exact.setdefault(key, []).append(made.line(box, 0.5 + n / 100, int(label)))
    made.write_detections(root, exact)
    assert codes(found(root)) == {("S2", "warning")}


def test_s3_objects_that_jump(root: Path) -> None:
    def jump(number: int, row: made.Row) -> made.Row:
        return [*row[:2], (row[0] * 40 + row[1] * 16) % 80, row[1] * 10, *row[4:]]

    made.edit_rows(root, jump)
    made.write_detections(root, made.detections(root))
    findings = found(root)
    assert codes(findings) == {("S3", "warning")}
    assert findings[0].numbers["overlap"] < 0.1


def test_s3_pictures_that_do_not_belong_together(root: Path) -> None:
    for folder in made.folders(root):
        for number, path in enumerate(sorted((folder / "img1").iterdir())):
            chance = np.random.default_rng([number, ord(folder.name)])
            pixels = np.full((64, 96, 3), chance.integers(256), np.uint8)
            Image.fromarray(pixels).save(path)
    findings = [one for one in found(root) if one.code == "S3"]
    assert codes(findings) == {("S3", "warning")}
    assert "neighbours differ as much as any two" in findings[0].sentence


def test_s4_frames_without_boxes_or_detections(root: Path) -> None:
    made.edit_rows(root, lambda n, row: row if row[0] % 11 == 1 else None)
    findings = [one for one in found(root) if one.code == "S4"]
    assert {one.sentence.split(" of ")[0] for one in findings} == {"83%"}
    made.clean(root.parent / "other")
    other = root.parent / "other"
    rewritten(other, lambda key, lines: (key, lines if int(key[-2:]) % 3 == 0 else []))
    assert ("S4", "warning") in codes(found(other))


def test_s4_images_in_both_splits(root: Path) -> None:
    for number in (3, 4):
        path = f"img1/{number:06d}.png"
        (root / "val/c" / path).write_bytes((root / "train/a" / path).read_bytes())
    findings = [one for one in found(root) if one.code == "S4"]
    assert [one.split for one in findings] == ["train+val"]
    assert findings[0].numbers == {"images": 2}
    read = read_tracking(root, ["train", "val"])
    assert shared_images(read.splits) == {
        "train+val": ("val/c/img1/000003.png", "val/c/img1/000004.png")
    }


def test_the_briefs_failed_training(root: Path) -> None:
    """A head of one class, a database without classes, labels filtered away."""
    made.write_detections(root, made.detections(root, "xywhs"))
    findings = found(root, Expectations(num_classes=1), drop={"non-person": [2, 3]})
    assert {one.code for one in findings if one.level == "error"} == {"N4", "N6", "N8"}


def test_training_is_refused_with_the_first_error(root: Path) -> None:
    read = read_tracking(root, ["train", "val"], wanted=WANTED)
    read.refuse()
    faulty = read_tracking(root, ["train"], wanted=Expectations(num_classes=1))
    with pytest.raises(DataError, match=r"set, train: N6: the model has 1 classes"):
        faulty.refuse()


def test_the_census(sound: Path) -> None:
    read = read_tracking(sound, ["train", "val"], Detections(sound / made.DATABASE))
    train, val = read.census
    assert (train.sequences, train.frames, train.images, train.boxes, train.ids) == (
        2,
        24,
        24,
        96,
        8,
    )
    assert train.counts == {"player": 48, "referee": 24, "ball": 24}
    assert (train.track_length, train.empty_frames, train.fields) == (12, 0, "xywhcs")
    assert (train.proposals, train.without_proposals, train.recall, train.sampled) == (
        104,
        0,
        1,
        24,
    )
    assert val.proposals_per_frame == pytest.approx(52 / 12)
    bare = read_tracking(sound, ["val"]).census[0]
    assert (bare.proposals, bare.recall, bare.fields) == (None, None, "")
    survey = DataSurvey(tracks=read.census)
    assert DataSurvey.model_validate_json(survey.model_dump_json()) == survey


def test_the_survey_carries_all_of_it(root: Path) -> None:
    made.edit_rows(root, lambda n, row: [*row[:7], 9 if n == 0 else row[7], 1])
    (root / "val/c/img1/000005.png").unlink()
    data = read_tracking(root, ["train", "val"])
    survey = survey_tracking(data, head=3)
    assert survey.tracks == data.census
    assert {one.code for one in survey.findings} == {"N5", "N9"}
    assert [(one.expected, one.found) for one in survey.inputs] == [(24, 24), (12, 11)]
    assert survey.inputs[1].missing == ("c, frame 5",)
    train = survey.labels[0]
    assert (train.labels, train.unknown, train.highest, train.head) == (96, {"9": 2}, 2, 3)
    assert train.counts == {"player": 46, "referee": 24, "ball": 24}
    assert survey.shared == {}


@pytest.mark.skipif(not MOT15.exists(), reason="../shared/data/mot15 is not there")
def test_real_annotations_without_images_have_findings_and_numbers() -> None:
    read = read_tracking(MOT15, ["mot15"])
    assert codes(list(read.findings)) == {("N9", "error")}
    (numbers,) = read.census
    assert (numbers.frames, numbers.images, numbers.boxes, numbers.ids) == (250, 0, 1515, 18)
