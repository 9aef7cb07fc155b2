"""MOT folders as sequences: numbering, marks, classes, filters; what cannot be read."""

import json
from pathlib import Path

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.datasets.tracking import (
    MotOptions,
    read_mot,
    read_sequence,
    read_together,
    split_folders,
)
from tests.support import tracking_folders as made

MOT15 = Path(__file__).parents[4] / "shared" / "data" / "mot15"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made.clean(tmp_path / "set")


def refusal(root: Path, split: str = "val") -> str:
    with pytest.raises(DataError) as caught:
        read_mot(root, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_split_with_its_frames(root: Path) -> None:
    assert list(split_folders(root)) == ["train", "val"]
    split = read_mot(root, "train")
    assert [sequence.name for sequence in split.sequences] == ["a", "b"]
    assert (split.classes, split.class_ids, split.frames) == (made.CLASSES, (1, 2, 3), 24)
    first = split.sequences[0]
    assert (first.width, first.height, first.fps, first.length) == (96, 64, 25.0, 12)
    frame = first.frame(4)
    assert frame.number == 5
    assert frame.image == root / "train/a/img1/000005.png"
    assert frame.ids.tolist() == [1, 2, 3, 4]
    assert frame.labels.tolist() == [0, 1, 2, 0]
    assert frame.marks.all()
    assert frame.visibility.tolist() == [1, 1, 1, 1]
    rows = [row for row in made.rows_of(root / "train/a") if row[0] == 5]
    assert frame.boxes.tolist() == [row[2:6] for row in rows]


def test_other_names_of_a_split(root: Path) -> None:
    (sequence,) = read_mot(root, "validation").sequences
    assert sequence.folder == root / "val/c"
    assert refusal(root, "test") == (
        f"{root}: no split 'test'; it has train, val; put its sequences at "
        f"{root / 'test'}/<sequence>/, each with img1/ and gt/gt.txt, as MOTChallenge has them"
    )
    assert "no split 'val'; put" in refusal(root / "empty")


def test_the_frames_number_is_that_of_the_file(root: Path) -> None:
    """Numbering with gaps, from anywhere, padded anyhow; rows in any order."""
    folder = root / "val/c"
    numbers = {n: 100 + 3 * n for n in range(1, 13)}
    for old, new in numbers.items():
        (folder / f"img1/{old:06d}.png").rename(folder / f"img1/{new}.png")
    made.write_rows(folder, [[numbers[int(r[0])], *r[1:]] for r in made.rows_of(folder)][::-1])
    sequence = read_sequence(folder)
    assert sequence.numbers.tolist() == list(numbers.values())
    assert sequence.frame(11).number == 136
    assert len(sequence.frame(11).ids) == 4
    assert None not in sequence.images


def test_marks_and_visibility(root: Path) -> None:
    made.write_rows(root / "val/c", [
        [1, 1, 5, 5, 9, 9, 0, 1, 1], [1, 2, 5, 5, 9, 9, 1, 2, 0.25], [2, 2, 5, 5, 9, 9, 1, 2, 1],
    ])  # fmt: skip
    (sequence,) = read_mot(root, "val").sequences
    frame = sequence.frame(0)
    assert frame.marks.tolist() == [False, True]
    assert frame.visibility.tolist() == [1, 0.25]
    assert sequence.truth.targets.tolist() == [False, True, True]


def test_numbers_with_a_point_are_whole(root: Path) -> None:
    """ "1.0" as mark or class, which the original's reader stops at."""
    gt = root / "val/c/gt/gt.txt"
    gt.write_text("1.0,1.0,5,5,9,9,1.0,2.0,1.0\n")
    (sequence,) = read_mot(root, "val").sequences
    assert sequence.frame(0).labels.tolist() == [1]


def test_a_filter_drops_classes_and_counts_them(root: Path) -> None:
    split = read_mot(root, "train", MotOptions(drop={"non-person": [2, 3, 9]}))
    assert split.dropped == {"non-person": {2: 24, 3: 24, 9: 0}}
    assert {label for s in split.sequences for label in s.truth.labels.tolist()} == {0}


def test_where_classes_come_from(root: Path) -> None:
    (root / "classes.json").write_text(json.dumps({"7": "x", "2": "y"}))
    split = read_mot(root, "val")
    assert (split.classes, split.class_ids, split.declared) == (("y", "x"), (2, 7), True)
    assert set(split.sequences[0].truth.labels.tolist()) == {-1, 0}
    (root / "classes.json").unlink()
    split = read_mot(root, "val")
    assert (split.classes, split.declared) == (("1", "2", "3"), False)
    named = read_mot(root, "val", MotOptions(classes=("p", "q", "r", "s")))
    assert (named.classes, named.declared) == (("p", "q", "r", "s"), True)


@pytest.mark.parametrize("narrow", ["train", "val"])
def test_splits_read_together_have_one_list_of_classes(root: Path, narrow: str) -> None:
    """Also if one of them lacks the highest class."""
    (root / "classes.json").unlink()
    for folder in (root / narrow).iterdir():
        write = [[*row[:7], min(row[7], 2), *row[8:]] for row in made.rows_of(folder)]
        made.write_rows(folder, write)
    assert read_mot(root, narrow).classes == ("1", "2")
    read = read_together(root, ["train", "val"])
    assert [(one.split, one.classes, one.class_ids, one.declared) for one in read] == [
        ("train", ("1", "2", "3"), (1, 2, 3), False),
        ("val", ("1", "2", "3"), (1, 2, 3), False),
    ]
    for one in read:
        found = {label for s in one.sequences for label in s.truth.labels.tolist()}
        assert found == ({0, 1} if one.split == narrow else {0, 1, 2})


def test_a_split_without_class_ids_beside_one_with_them(root: Path) -> None:
    (root / "classes.json").unlink()
    made.write_rows(root / "val/c", [row[:7] for row in made.rows_of(root / "val/c")])
    train, val = read_together(root, ["train", "val"])
    assert train.classes == val.classes == ("1", "2", "3")
    assert set(val.sequences[0].truth.labels.tolist()) == {-1}


def test_without_seqinfo_the_first_image_tells_the_size(root: Path) -> None:
    (root / "val/c/seqinfo.ini").unlink()
    sequence = read_sequence(root / "val/c")
    assert (sequence.width, sequence.height, sequence.fps, sequence.length) == (96, 64, None, None)


def test_a_sequence_without_annotations_is_left_out(root: Path) -> None:
    (root / "train/b/gt/gt.txt").unlink()
    split = read_mot(root, "train")
    assert [sequence.name for sequence in split.sequences] == ["a"]
    assert split.notes == ("Left out, for want of gt/gt.txt: b.",)
    assert len(read_sequence(root / "train/b").truth.ids) == 0


def test_refusals(root: Path) -> None:
    folder = root / "val/c"
    rows = made.rows_of(folder)
    made.write_rows(folder, [rows[0], [1, 2, 3, 4, 0, 5, 1, 1, 1]])
    assert "gt.txt, line 2: the box has no width" in refusal(root)
    made.write_rows(folder, [rows[0], [1, -1, 3, 4, 5, 5, 1, 1, 1]])
    assert "line 2: id -1" in refusal(root)
    (root / "classes.json").rename(root / "names.json")
    made.write_rows(folder, [[1, 1, 3, 4, 5, 5, 1, 10_001, 1]])
    assert "the id 10001; name the classes in classes.json" in refusal(root)
    (root / "names.json").rename(root / "classes.json")
    made.write_rows(folder, rows)
    (folder / "img1/3.png").write_bytes((folder / "img1/000003.png").read_bytes())
    assert "frame 3 has another image, 000003.png" in refusal(root)
    (folder / "img1/3.png").unlink()
    made.write_info(folder, frameRate="fast")
    assert "frameRate is 'fast'" in refusal(root)
    made.write_info(folder, imWidth="0")
    assert "imWidth is 0" in refusal(root)
    (folder / "seqinfo.ini").write_text("name=c\n")
    assert "no usable [Sequence]" in refusal(root)
    made.write_info(folder)
    (root / "manifest.json").write_text('{"ids": "guessed"}')
    assert "'ids' must be one of file, pseudo, per-box" in refusal(root)


def test_an_image_that_is_none(root: Path) -> None:
    (root / "val/c/seqinfo.ini").unlink()
    (root / "val/c/img1/000001.png").write_text("no image")
    assert "000001.png: cannot be read as an image" in refusal(root)


@pytest.mark.skipif(not MOT15.exists(), reason="../shared/data/mot15 is not there")
def test_real_annotations_without_images() -> None:
    """The 2015 format: world coordinates where later ones have class and visibility."""
    split = read_mot(MOT15, "mot15")
    campus, stadtmitte = split.sequences
    assert (campus.name, len(campus.numbers), len(campus.truth.ids)) == ("TUD-Campus", 71, 359)
    assert (len(stadtmitte.numbers), len(stadtmitte.truth.ids)) == (179, 1156)
    assert (split.classes, split.declared) == (("object",), False)
    assert np.concatenate([s.truth.labels for s in split.sequences]).tolist() == [0] * 1515
    assert campus.frame(0).image is None
    assert campus.frame(0).boxes[0].tolist() == [399, 182, 121, 229]


@pytest.mark.parametrize("asked", ["val", "valid", "validation"])
@pytest.mark.parametrize("folder", ["val", "valid", "validation"])
def test_a_split_is_found_under_the_names_that_people_give_it(
    tmp_path: Path, asked: str, folder: str
) -> None:
    root = made.clean(tmp_path)
    (root / "val").rename(root / folder)
    assert list(split_folders(root)) == ["train", folder]
    read = read_mot(root, asked)
    assert (read.split, [one.name for one in read.sequences]) == (asked, ["c"])
