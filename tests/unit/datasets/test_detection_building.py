"""Detection databases from what detectors write: three formats, one spelling, no guesses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.datasets.tracking import read_mot
from backend.datasets.tracking.detection_building import (
    Building,
    Built,
    build_database,
    examined,
)
from backend.datasets.tracking.detection_db import DetectionDatabase, read_database
from backend.datasets.tracking.detection_frames import Frames
from backend.datasets.tracking.detection_sources import format_of, read_detections
from tests.support import tracking_folders as made

SPLITS = ("train", "val")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made.clean(tmp_path / "data")


def frames_of(root: Path, *splits: str) -> Frames:
    return Frames([read_mot(root, split) for split in splits or SPLITS])


def built(frames: Frames, *paths: Path, annotations: Path | None = None, **how: Any) -> Built:
    sources = [read_detections(path, format_of(path), frames, annotations) for path in paths]
    return build_database(frames, sources, Building(**how))


def written(one: Built, out: Path) -> DetectionDatabase:
    one.write(out)
    return read_database(out)


def rows(database: DetectionDatabase, key: str) -> list[list[float]]:
    first, last = database.rows[key]
    return [
        [*database.boxes[at].tolist(), int(database.labels[at]), float(database.scores[at])]
        for at in range(first, last)
    ]


def det_files(root: Path, *, labels: bool = True, score: float = 0.9) -> None:
    """``det/det.txt`` in each sequence: the true boxes, frames 3 and later only."""
    for folder in made.folders(root):
        (folder / "det").mkdir()
        lines = [
            f"{row[0]:g},-1,{row[2]:g},{row[3]:g},{row[4]:g},{row[5]:g},{score}"
            + (f",{row[7]:g},-1" if labels else ",-1,-1,-1")
            for row in made.rows_of(folder)
            if row[0] >= 3
        ]
        (folder / "det" / "det.txt").write_text("\n".join(lines))


def coco(root: Path, names: dict[int, str], spelling: str = "path") -> tuple[Path, Path]:
    """Annotations and results of a detector that finds the boxes of every frame of val."""
    sequence = root / "val" / "c"
    images = [
        {"id": 100 + number, "width": 96, "height": 64, "file_name": f"{number:06d}.png",
         "path": str(sequence / "img1" / f"{number:06d}.png")}
        for number in range(1, made.FRAMES + 1)
    ]  # fmt: skip
    if spelling != "path":
        for image in images:
            del image["path"]
            image["file_name"] = spelling.format(int(str(image["id"])) - 100)
    results = [
        {"image_id": 100 + int(row[0]), "category_id": int(row[7]), "bbox": row[2:6],
         "score": 0.25 + row[0] / 100}
        for row in made.rows_of(sequence)
    ]  # fmt: skip
    categories = [{"id": key, "name": name} for key, name in names.items()]
    truth, found = root.parent / "truth.json", root.parent / "found.json"
    truth.write_text(json.dumps({"images": images, "annotations": [], "categories": categories}))
    found.write_text(json.dumps(results))
    return truth, found


def yolo(folder: Path, sequence: Path, tail: str = " 0.5") -> None:
    """The true boxes as Ultralytics saves its predictions; frame 1 has none, so no file."""
    folder.mkdir(parents=True)
    for row in made.rows_of(sequence):
        if row[0] > 1:
            x, y = (row[2] + row[4] / 2) / 96, (row[3] + row[5] / 2) / 64
            with (folder / f"{int(row[0]):06d}.txt").open("a") as file:
                line = f"{int(row[7]) - 1} {x:.9f} {y:.9f} {row[4] / 96:.9f} {row[5] / 64:.9f}"
                file.write(f"{line}{tail}\n")


def test_det_files_inside_the_sequences(root: Path, tmp_path: Path) -> None:
    det_files(root)
    one = built(frames_of(root), root)
    database = written(one, tmp_path / "db.json")
    assert database.fields == "xywhcs"
    assert database.names == made.CLASSES
    assert len(database.rows) == 3 * made.FRAMES
    assert rows(database, "val/c:2") == []
    truth = [row for row in made.rows_of(root / "val" / "c") if row[0] == 7]
    assert rows(database, "val/c:7") == [[*row[2:6], int(row[7]) - 1, 0.9] for row in truth]
    told = examined(tmp_path / "db.json", one.splits)
    assert [census.recall for census in told.census] == pytest.approx([10 / 12, 10 / 12])
    assert [found.code for found in told.findings] == ["S1"]


def test_a_database_in_the_brief_s_order_matches_the_data(root: Path, tmp_path: Path) -> None:
    """What is written is what validation reads: not a single finding but the oracle's."""
    det_files(root)
    for folder in made.folders(root):
        path = folder / "det" / "det.txt"
        lines = path.read_text().splitlines()
        moved = [line.replace(",0.9,", f",0.{place % 8 + 1},") for place, line in enumerate(lines)]
        path.write_text("\n".join(moved))
    one = built(frames_of(root), root)
    one.write(tmp_path / "db.json")
    assert examined(tmp_path / "db.json", one.splits).findings == ()


def test_a_folder_of_text_files_by_sequence(root: Path, tmp_path: Path) -> None:
    det_files(root)
    for split, names in made.SEQUENCES.items():
        for name in names:
            (tmp_path / "found" / split).mkdir(parents=True, exist_ok=True)
            shutil.move(
                root / split / name / "det" / "det.txt", tmp_path / "found" / split / f"{name}.txt"
            )
    one = built(frames_of(root), tmp_path / "found")
    assert len(one.content) == 1 + 3 * made.FRAMES


def test_det_files_without_classes_of_data_with_several(root: Path, tmp_path: Path) -> None:
    det_files(root, labels=False)
    one = built(frames_of(root), root)
    assert written(one, tmp_path / "db.json").fields == "xywhs"
    assert "proposal_class: ignore" in one.notes[-1]


def test_det_files_without_classes_of_data_with_one(root: Path, tmp_path: Path) -> None:
    (root / "classes.json").write_text(json.dumps({"base": 1, "names": ["player"]}))
    det_files(root, labels=False)
    database = written(built(frames_of(root), root), tmp_path / "db.json")
    assert database.fields == "xywhcs"
    assert set(database.labels.tolist()) == {0}


def test_scores_beyond_one_are_refused_or_mapped(root: Path, tmp_path: Path) -> None:
    det_files(root, score=2.5)
    path = root / "val" / "c" / "det" / "det.txt"
    path.write_text(path.read_text().replace("2.5", "-1.5"))
    frames = frames_of(root)
    with pytest.raises(DataError, match=r"scores reach from -1.5 to 2.5"):
        built(frames, root)
    ranged = written(built(frames, root, scores="range"), tmp_path / "range.json")
    assert set(ranged.scores.tolist()) == {0.0, 1.0}
    logistic = written(built(frames, root, scores="sigmoid"), tmp_path / "sigmoid.json")
    assert logistic.scores.max() == pytest.approx(1 / (1 + np.exp(-2.5)), abs=1e-6)


@pytest.mark.parametrize(
    "spelling", ["path", "val/c/img1/{:06d}.png", "c/{:08d}.jpg", "c_{:d}.png", "val/c-{:04d}.png"]
)
def test_coco_results_in_several_spellings(root: Path, tmp_path: Path, spelling: str) -> None:
    truth, found = coco(root, dict(enumerate(made.CLASSES, start=1)), spelling)
    one = built(frames_of(root, "val"), found, annotations=truth)
    database = written(one, tmp_path / "db.json")
    assert len(database.rows) == made.FRAMES
    told = examined(tmp_path / "db.json", one.splits)
    assert told.census[0].recall == 1
    assert "S2" in {finding.code for finding in told.findings}


def test_coco_results_of_images_that_the_folder_links_to(root: Path, tmp_path: Path) -> None:
    """As dataset convert --to mot leaves them: file names of the export say no frame."""
    folder, export = root / "val" / "c" / "img1", tmp_path / "export"
    export.mkdir()
    for number, image in enumerate(sorted(folder.iterdir()), start=1):
        shutil.move(image, export / f"shot-{'abcdefghijkl'[number - 1]}.png")
        image.symlink_to(export / f"shot-{'abcdefghijkl'[number - 1]}.png")
    truth, found = coco(root, dict(enumerate(made.CLASSES, start=1)))
    content = json.loads(truth.read_text())
    for image in content["images"]:
        letter = "abcdefghijkl"[image["id"] - 101]
        image["path"] = None
        image["file_name"] = f"shot-{letter}.png"
    truth.write_text(json.dumps(content))
    database = written(
        built(frames_of(root, "val"), found, annotations=truth), tmp_path / "db.json"
    )
    assert rows(database, "val/c:7")[0][5] == pytest.approx(0.32)


def test_classes_are_joined_by_name(root: Path, tmp_path: Path) -> None:
    """The detector's order differs, and one of its classes is none of the data's."""
    truth, found = coco(root, {1: "Ball", 2: "person", 3: "spectator"})
    frames = frames_of(root, "val")
    one = built(frames, found, annotations=truth, classes=("ball", "person=player"))
    database = written(one, tmp_path / "db.json")
    assert [row[4] for row in rows(database, "val/c:5")] == [2, 0, 2]
    assert "12 detections of classes that the data have not" in one.notes[0]
    with pytest.raises(DataError, match="it has no class 'dog', but Ball"):
        built(frames, found, annotations=truth, classes=("dog",))
    truth, found = coco(root, {1: "person", 2: "car", 3: "dog"})
    with pytest.raises(DataError, match="such as person=player"):
        built(frames, found, annotations=truth)


def test_a_class_of_another_name_is_named_with_the_way_to_rename_it(root: Path) -> None:
    truth, found = coco(root, {1: "Person", 2: "ball", 3: "ball"})
    one = built(frames_of(root, "val"), found, annotations=truth)
    name = read_mot(root, "val").classes[0]
    assert f"(Person; --classes Person={name} would rename one)" in one.notes[0]


def test_results_without_a_detection_are_told(root: Path) -> None:
    truth, found = coco(root, dict(enumerate(made.CLASSES, start=1)))
    found.write_text("[]")
    one = built(frames_of(root, "val"), found, annotations=truth)
    assert any("Not one detection is left" in told for told in one.notes)


def test_a_lowest_score(root: Path, tmp_path: Path) -> None:
    truth, found = coco(root, dict(enumerate(made.CLASSES, start=1)))
    one = built(frames_of(root, "val"), found, annotations=truth, min_score=0.3)
    database = written(one, tmp_path / "db.json")
    assert database.scores.min() >= 0.3
    assert rows(database, "val/c:4") == []
    assert len(database.rows) == made.FRAMES
    assert one.notes == ("Left out: 16 detections with a score below 0.3.",)


@pytest.mark.parametrize("tail", [" 0.5", " 0.5 17"])
def test_yolo_texts(root: Path, tmp_path: Path, tail: str) -> None:
    yolo(tmp_path / "labels" / "c", root / "val" / "c", tail)
    yolo(tmp_path / "labels" / "a" / "labels", root / "train" / "a", tail)
    one = built(frames_of(root), tmp_path / "labels")
    database = written(one, tmp_path / "db.json")
    assert len(database.rows) == 2 * made.FRAMES
    assert rows(database, "val/c:1") == []
    truth = [row for row in made.rows_of(root / "val" / "c") if row[0] == 7]
    for row, line in zip(rows(database, "val/c:7"), truth, strict=True):
        assert row[:4] == pytest.approx(line[2:6], abs=1e-5)
        assert row[4:] == [int(line[7]) - 1, 0.5]
    assert one.notes == ("train: 12 of 24 frames were not looked at, and have no key.",)


def test_yolo_texts_named_by_sequence_and_frame(root: Path, tmp_path: Path) -> None:
    yolo(tmp_path / "labels", root / "val" / "c")
    for file in list((tmp_path / "labels").iterdir()):
        file.rename(file.with_name(f"c_{int(file.stem)}.txt"))
    one = built(frames_of(root, "val"), tmp_path / "labels")
    assert len(one.content) == 1 + made.FRAMES


def test_a_source_for_each_split(root: Path, tmp_path: Path) -> None:
    yolo(tmp_path / "first" / "train" / "a", root / "train" / "a")
    truth, found = coco(root, dict(enumerate(made.CLASSES, start=1)))
    frames = frames_of(root)
    texts = read_detections(tmp_path / "first", "yolo", frames)
    results = read_detections(found, "coco", frames, truth)
    one = build_database(frames, [texts, results])
    assert [split.split for split in one.splits] == ["train", "val"]
    yolo(tmp_path / "second" / "c", root / "val" / "c")
    with pytest.raises(DataError, match="frame 2 of val/c is in"):
        build_database(frames, [results, read_detections(tmp_path / "second", "yolo", frames)])


def test_a_split_without_detections_is_not_made_up(root: Path) -> None:
    truth, found = coco(root, dict(enumerate(made.CLASSES, start=1)))
    one = built(frames_of(root), found, annotations=truth)
    assert [split.split for split in one.splits] == ["val"]
    assert not any(key.startswith("train/") for key in one.content)
    assert "train: no detections were given" in one.notes[0]


def test_no_detections_of_the_chosen_splits(root: Path) -> None:
    det_files(root)
    (root / "val" / "c" / "det" / "det.txt").unlink()
    with pytest.raises(DataError, match="no detections of val"):
        built(frames_of(root, "val"), root)


def twins(root: Path) -> None:
    """Both splits have a sequence of the same name, as in the brief."""
    shutil.move(root / "val" / "c", root / "val" / "a")


def test_a_sequence_of_two_splits_must_be_told_apart(root: Path, tmp_path: Path) -> None:
    twins(root)
    yolo(tmp_path / "labels" / "a", root / "val" / "a")
    with pytest.raises(DataError, match="'a' may be train/a, val/a"):
        built(frames_of(root), tmp_path / "labels")
    one = built(frames_of(root, "val"), tmp_path / "labels")
    assert "val/a/img1/00000007" in one.content


def wrong_rows(root: Path, tmp_path: Path) -> list[tuple[Path, str, str]]:
    """Files that must be refused, with their format and the sentence."""
    cases = [
        ("c/000099.txt", "0 .5 .5 .1 .1 .9", "yolo", "val/c has no frame 99"),
        ("z/000001.txt", "0 .5 .5 .1 .1 .9", "yolo", "there is no sequence 'z'"),
        ("c/000001.txt", "0 .5 .5 .1 .1", "yolo", "line 1: expected cls cx cy w h conf"),
        ("c/000001.txt", "0 50 50 10 10 .9", "yolo", "line 1: a box in pixels"),
        ("c/000001.txt", "7 .5 .5 .1 .1 .9", "yolo", "class 7 is none of the data's 3"),
        ("c.txt", "1,-1,1,1,5,5,0.5\n40,-1,1,1,5,5,0.5", "mot", "val/c has no frame 40"),
        ("z.txt", "1,-1,1,1,5,5,0.5", "mot", "there is no sequence 'z'"),
        ("c.txt", "1,-1,1,1,5,5", "mot", "rows have no score"),
        ("c.txt", "1,-1,1,1,5,5,0.5,1.5", "mot", "line 1: a class must be a whole number"),
        ("c.txt", "1,-1,1,nan,5,5,0.5,1", "mot", "line 1: frame, box and score must be finite"),
        ("c.txt", "1,-1,1,1,5,5,0.5,9", "mot", "class 9 is none of the data's 3"),
    ]
    made_ = []
    for place, (name, text, form, sentence) in enumerate(cases):
        path = tmp_path / str(place) / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        made_.append((tmp_path / str(place), form, sentence))
    return made_


def test_what_fits_no_frame_is_refused_in_a_sentence(root: Path, tmp_path: Path) -> None:
    frames = frames_of(root, "val")
    for folder, form, sentence in wrong_rows(root, tmp_path):
        assert format_of(folder) == form
        with pytest.raises(DataError) as caught:
            built(frames, folder)
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)


def test_coco_results_without_their_images_are_refused(root: Path) -> None:
    truth, found = coco(root, dict(enumerate(made.CLASSES, start=1)))
    frames = frames_of(root, "val")
    with pytest.raises(DataError, match="name it with --annotations"):
        built(frames, found)
    truth.rename(found.with_name("ground_truth.json"))
    assert len(built(frames, found).content) == 1 + made.FRAMES
    found.write_text(json.dumps([{"image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2],
                                  "score": 0.5}]))  # fmt: skip
    with pytest.raises(DataError, match="has no image 5"):
        built(frames, found)
    found.write_text(json.dumps([{"image_id": 101, "category_id": 1, "bbox": [1, 1, 2]}]))
    with pytest.raises(DataError, match="result 0: expected image_id"):
        built(frames, found)


def test_images_of_another_size_are_refused(root: Path) -> None:
    truth, found = coco(root, dict(enumerate(made.CLASSES, start=1)))
    content = json.loads(truth.read_text())
    content["images"][0]["width"] = 192
    truth.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"is \(192, 64\) pixels, but val/c \(96, 64\)"):
        built(frames_of(root, "val"), found, annotations=truth)


def test_the_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from backend.cli._detections import Asked, build
    from backend.core.errors import ConfigError

    det_files(root)
    asked, how = Asked((root,), None, (), ("val",)), ((), 0.0, "given")
    build(root, tmp_path / "db.json", asked, how, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["hits"] == {"val": made.FRAMES}
    assert told["splits"][0]["recall"] == pytest.approx(10 / 12)
    with pytest.raises(ConfigError, match="is there already"):
        build(root, tmp_path / "db.json", asked, how, as_json=False)
