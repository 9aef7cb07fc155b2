"""The demo's datasets on disk: whole or absent, repeatable, and fair to the holdout."""

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from backend.core.errors import ConfigError, DataError
from backend.synthetic.digits import DOMAINS, IMAGES, NAMES, SIDE, SPLITS, DigitsData, write_digits

pytest.importorskip("sklearn.datasets", reason="needs the extra 'demo'")

FEW = {"source": (12, 4, 5), "target-same": (4, 3, 6), "target-new": (7, 4, 5)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DigitsData:
    return write_digits(tmp_path_factory.mktemp("made") / "digits", images=FEW)


def _contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def _coco(root: Path, name: str, split: str) -> dict[str, Any]:
    path = root / name / "annotations" / f"{split}.json"
    coco: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return coco


def _places() -> list[tuple[str, str]]:
    return [(name, split) for name in DOMAINS for split in SPLITS]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    made: DigitsData, tmp_path: Path
) -> None:
    again = write_digits(tmp_path / "again", images=FEW)
    other = write_digits(tmp_path / "other", images=FEW, seed=1)
    assert _contents(again.root) == _contents(made.root)
    image = "target-new/images/train/0001.jpg"
    assert _contents(other.root)[image] != _contents(made.root)[image]


def test_every_split_has_its_images_and_a_label_file_each(made: DigitsData) -> None:
    for name, counts in FEW.items():
        for split, count in zip(SPLITS, counts, strict=True):
            images = sorted(p.stem for p in (made.root / name / "images" / split).glob("*.jpg"))
            labels = sorted(p.stem for p in (made.root / name / "labels" / split).glob("*.txt"))
            assert len(images) == count
            assert images == labels


def test_data_yaml_finds_its_splits_from_where_it_lies(made: DigitsData) -> None:
    for path in (made.source, made.target_same, made.target_new):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert data["names"] == dict(enumerate(NAMES))
        assert "path" not in data
        for split in SPLITS:
            assert (path.parent / data[split]).is_dir()


def test_yolo_labels_and_coco_annotations_are_the_same_boxes(made: DigitsData) -> None:
    for name, split in _places():
        coco = _coco(made.root, name, split)
        for image in coco["images"]:
            boxes = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
            stem = Path(image["file_name"]).stem
            text = (made.root / name / "labels" / split / f"{stem}.txt").read_text()
            rows = np.array([line.split() for line in text.splitlines()], dtype=float)
            assert rows[:, 0].tolist() == [a["category_id"] for a in boxes]
            width_height = rows[:, 3:] * SIDE
            corners = rows[:, 1:3] * SIDE - width_height / 2
            found = np.concatenate([corners, width_height], axis=1)
            np.testing.assert_allclose(found, [a["bbox"] for a in boxes], atol=1e-3)


def test_coco_files_load_and_describe_the_images(made: DigitsData) -> None:
    for name, split in _places():
        coco = COCO(str(made.root / name / "annotations" / f"{split}.json"))
        assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(NAMES)
        for image in coco.loadImgs(coco.getImgIds()):
            with Image.open(made.root / name / "images" / split / image["file_name"]) as opened:
                assert opened.size == (image["width"], image["height"]) == (SIDE, SIDE)
        assert min(coco.getAnnIds()) == 1  # 0 would read as 'unmatched' in pycocotools


def test_boxes_fit_the_ink_in_the_jpeg_files(made: DigitsData) -> None:
    """On paper, dark pixels are ink; their bounds near a box agree with it within 2 pixels."""
    for split in SPLITS:
        coco = _coco(made.root, "source", split)
        for box in coco["annotations"]:
            image = coco["images"][box["image_id"] - 1]["file_name"]
            with Image.open(made.root / "source" / "images" / split / image) as opened:
                grey = np.asarray(opened.convert("L")).astype(float)
            left, top, width, height = box["bbox"]
            inside = grey[top : top + height, left : left + width]
            dark = inside < (inside.min() + np.median(grey)) / 2
            rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
            gaps = (rows[0], columns[0], height - 1 - rows[-1], width - 1 - columns[-1])
            assert max(gaps) <= 2


def test_no_scan_is_used_in_two_places_and_the_label_is_the_scans(tmp_path: Path) -> None:
    """At full size, so that pools are dealt out many times over."""
    from sklearn.datasets import load_digits

    truth = load_digits().target
    root = write_digits(tmp_path / "digits").root
    seen: dict[int, tuple[str, str]] = {}
    for place in _places():
        coco = _coco(root, *place)
        assert len(coco["images"]) == IMAGES[place[0]][SPLITS.index(place[1])]
        assert {a["category_id"] for a in coco["annotations"]} == set(range(10))
        for box in coco["annotations"]:
            assert seen.setdefault(box["scan"], place) == place
            assert truth[box["scan"]] == box["category_id"]
    assert len(seen) > 1500


def test_a_second_call_changes_nothing(made: DigitsData) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.root.rglob("*")}
    calls: list[tuple[int, int]] = []
    again = write_digits(made.root, images=FEW, progress=lambda *now: calls.append(now))
    assert again == made
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in made.root.rglob("*")} == before


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_digits(tmp_path / "digits", images=FEW, progress=lambda *now: calls.append(now))
    assert calls == [(n, 50) for n in range(1, 51)]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_write_leaves_nothing(stop: type[BaseException], tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 15:
            raise stop

    with pytest.raises(stop):
        write_digits(tmp_path / "digits", images=FEW, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    """Writes beyond ``size`` bytes of one file fail, as they do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 600, 10_000], ids=["none", "an image fails", "a json fails"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(room: int, tmp_path: Path) -> None:
    many = {name: (40, 1, 1) for name in DOMAINS}
    wanted = r"digits: the demo data could not be written \(.+\); make room or choose another"
    with pytest.raises(DataError, match=wanted), _file_size_limit(room):
        write_digits(tmp_path / "digits", images=many)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="holds no digits dataset"):
        write_digits(tmp_path, images=FEW)
    assert _contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert write_digits(tmp_path, images=FEW).source.is_file()


def test_digits_of_another_seed_are_refused(made: DigitsData) -> None:
    with pytest.raises(DataError, match="another version, seed or size"):
        write_digits(made.root, seed=5, images=FEW)


def test_a_dataset_with_a_lost_file_is_refused(tmp_path: Path) -> None:
    root = write_digits(tmp_path / "digits", images=FEW).root
    (root / "target-new" / "labels" / "holdout" / "0002.txt").unlink()
    with pytest.raises(DataError, match="target-new: files of split 'holdout' are missing"):
        write_digits(root, images=FEW)


def test_two_writers_at_once_leave_one_whole_dataset(made: DigitsData, tmp_path: Path) -> None:
    """The second starts and finishes while the first is at its work."""
    root = tmp_path / "digits"

    def overtake(done: int, total: int) -> None:
        if done == total:
            write_digits(root, images=FEW)

    write_digits(root, images=FEW, progress=overtake)
    assert _contents(root) == _contents(made.root)
    assert list(tmp_path.iterdir()) == [root]


def test_without_scikit_learn_the_sentence_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match=r"assay\[demo\]"):
        write_digits(tmp_path / "digits", images=FEW)
    assert list(tmp_path.iterdir()) == []
