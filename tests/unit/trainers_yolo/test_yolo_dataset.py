"""Datasets as users have them."""

import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from backend.core.errors import DataError
from backend.scoring.detection.yolo_datafile import label_path, read_datafile
from backend.trainers.yolo.dataset import Split, load_split
from tests.support.shapes import NAMES, write_dataset


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "shapes", {"train": 4, "val": 3, "holdout": 2})


def load(data: Path, split: str = "train") -> Split:
    return load_split(read_datafile(data), split)


def edit(data: Path, **changes: object) -> Path:
    content = {**yaml.safe_load(data.read_text()), **changes}
    data.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return data


def test_a_dataset_is_read_in_order_of_name(data: Path) -> None:
    split = load(data)
    assert split.names == NAMES
    assert [e.name for e in split.examples] == [f"images/train/00{n}.png" for n in range(4)]
    assert split.instances == 8
    assert split.notes == ()
    recorded = split.as_input()
    assert (recorded.name, recorded.split, recorded.images) == ("shapes", "train", 4)
    assert len(recorded.digest) == 64


def test_the_digest_follows_content_and_not_place(data: Path, tmp_path: Path) -> None:
    first = load(data).digest
    moved = tmp_path / "elsewhere"
    shutil.copytree(data.parent, moved)
    assert load(moved / "data.yaml").digest == first
    assert load(data, "val").digest != first
    label = data.parent / "labels/train/001.txt"
    label.write_text(label.read_text().replace("0.", "0.1", 1))
    changed = load(data).digest
    assert changed != first
    edit(data, names=["a", "b", "c"])
    assert load(data).digest != changed


@pytest.mark.parametrize("form", ["folder", "list", "file", "absolute", "dotted"])
def test_splits_may_be_given_in_every_usual_form(data: Path, form: str) -> None:
    expected = load(data).digest
    folder = data.parent
    names = [f"images/train/00{n}.png" for n in range(4)]
    if form == "folder":
        edit(data, path="..", train=f"{folder.name}/images/train")
    elif form == "list":
        (folder / "images/part").mkdir()
        shutil.move(folder / names[3], folder / "images/part/003.png")
        shutil.copytree(folder / "labels/train", folder / "labels/part")
        edit(data, train=["images/train", "images/part"])
        assert load(data).instances == 8
        return
    elif form == "file":
        (folder / "train.txt").write_text("\n".join(names))
        edit(data, train="train.txt")
    elif form == "absolute":
        edit(data, path=str(folder), train=str(folder / "images/train"))
    else:
        (folder / "train.txt").write_text("\n".join(f"./{name}" for name in names))
        edit(data, train="train.txt")
    assert load(data).digest == expected


def test_roboflow_exports_are_understood(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "x", {"train": 2, "val": 2})
    root = data.parent
    for split, name in (("train", "train"), ("val", "valid")):
        (root / name).mkdir()
        shutil.move(root / "images" / split, root / name / "images")
        shutil.move(root / "labels" / split, root / name / "labels")
    content = {
        "train": "../train/images",
        "valid": "../valid/images",
        "nc": 3,
        "names": list(NAMES),
        "roboflow": {"license": "MIT"},
    }
    data.write_text(yaml.safe_dump(content))
    assert load(data, "val").instances == 4


def test_names_may_be_a_mapping_or_counted(data: Path) -> None:
    assert read_datafile(edit(data, names={0: "a", 1: "b", 2: "c"})).names == ("a", "b", "c")
    assert read_datafile(edit(data, names=None, nc=2)).names == ("class_0", "class_1")


def test_labels_lie_beside_the_last_images_folder() -> None:
    assert label_path(Path("/images/a/images/b.c.jpg")) == Path("/images/a/labels/b.c.txt")
    assert label_path(Path("/photos/b.jpg")) == Path("/photos/b.txt")


def test_images_without_a_label_file_are_backgrounds(data: Path) -> None:
    (data.parent / "labels/train/000.txt").unlink()
    split = load(data)
    assert len(split.examples) == 4
    assert split.instances == 6


def test_corrupt_images_are_named_and_left_out(data: Path) -> None:
    images = data.parent / "images/train"
    (images / "001.png").write_bytes(b"not an image")
    whole = (images / "002.png").read_bytes()
    (images / "002.png").write_bytes(whole[: len(whole) // 2])
    split = load(data)
    assert [e.name[-7:] for e in split.examples] == ["000.png", "003.png"]
    (note,) = split.notes
    assert "2 of 4 images of train cannot be read" in note
    assert "images/train/001.png (not an image)" in note
    assert "002.png" in note


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "webp"])
def test_images_cut_short_are_noticed_in_every_format(data: Path, suffix: str) -> None:
    images = data.parent / "images/train"
    with Image.open(images / "000.png") as image:
        image.save(images / f"cut.{suffix}")
    whole = (images / f"cut.{suffix}").read_bytes()
    (images / f"cut.{suffix}").write_bytes(whole[: int(len(whole) * 0.6)])
    assert [name.partition(" ")[0] for name in load(data).skipped] == [
        f"images/train/cut.{suffix}"
    ]


def test_hidden_files_are_not_images(data: Path) -> None:
    (data.parent / "images/train/._000.png").write_bytes(b"resource fork")
    assert load(data).skipped == ()


def test_a_split_of_corrupt_images_only_is_refused(data: Path) -> None:
    for image in (data.parent / "images/train").iterdir():
        image.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 4 images of 'train' can be read"):
        load(data)


def test_a_split_without_any_label_is_refused(data: Path) -> None:
    shutil.rmtree(data.parent / "labels/train")
    with pytest.raises(
        DataError, match=r"no object is labelled in 'train'.*no file like .*000\.txt"
    ):
        load(data)


def test_a_split_of_empty_labels_is_refused(data: Path) -> None:
    for label in (data.parent / "labels/train").iterdir():
        label.write_text("")
    with pytest.raises(DataError, match="its 4 label files are empty"):
        load(data)


def test_a_wrong_label_is_named_by_file_and_line(data: Path) -> None:
    label = data.parent / "labels/train/002.txt"
    label.write_text(label.read_text() + "7 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"002\.txt, line 3: class id 7, but the dataset has 3"):
        load(data)


def test_missing_images_folder(data: Path) -> None:
    shutil.rmtree(data.parent / "images/train")
    with pytest.raises(DataError, match=r"'train' points to .*images/train, which does not exist"):
        load(data)


def test_an_empty_images_folder(data: Path) -> None:
    shutil.rmtree(data.parent / "images/train")
    (data.parent / "images/train").mkdir()
    with pytest.raises(DataError, match="no images for 'train' in images/train"):
        load(data)


def test_a_list_that_is_no_text(data: Path) -> None:
    (data.parent / "train.txt").write_bytes(b"\xff\xfeimages/train/000.png")
    with pytest.raises(DataError, match=r"train\.txt: cannot be read as a list of images"):
        load(edit(data, train="train.txt"))


def test_a_folder_of_a_user_who_does_not_exist(data: Path) -> None:
    with pytest.raises(DataError, match=r"'train' points to .*~nobody-of-that-name"):
        load(edit(data, path="~nobody-of-that-name/shapes"))


def test_an_unknown_split_lists_the_known(data: Path) -> None:
    with pytest.raises(DataError, match="no split 'test'; it has train, val, holdout"):
        load(data, "test")


def test_a_download_entry_is_never_run(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    shutil.rmtree(data.parent / "images/val")
    edit(data, download=f"open({str(target)!r}, 'w').close()")
    with pytest.raises(DataError, match="'download' is never run"):
        load(data, "val")
    assert not target.exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"names": None}, "'names' is missing"),
        ({"names": ["a", "b", "a"]}, "class 'a' is listed twice"),
        ({"names": {1: "a", 2: "b"}}, "keys of 'names' must be 0 to 1"),
        ({"nc": 5}, "'nc' is 5, but 'names' has 3"),
        ({"path": 3}, "'path' must be a folder"),
    ],
)
def test_a_wrong_data_file_is_explained(
    data: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        read_datafile(edit(data, **changes))


def test_files_that_are_no_data_file(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.yaml: no such file"):
        read_datafile(tmp_path / "none.yaml")
    with pytest.raises(DataError, match="is a folder; name the"):
        read_datafile(data.parent)
    data.write_text("names: [a\n- b")
    with pytest.raises(DataError, match="line 2: not valid YAML"):
        read_datafile(data)
    data.write_text("just text")
    with pytest.raises(DataError, match="expected a YOLO data"):
        read_datafile(data)
    data.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(DataError, match="not valid YAML"):
        read_datafile(data)


def test_real_photographs() -> None:
    data = Path(__file__).parents[4] / "shared/data/coco256/data.yaml"
    if not data.is_file():
        pytest.skip(f"{data} is not here")
    split = load(data, "val")
    assert (len(split.examples), len(split.names), split.skipped) == (128, 80, ())
    assert split.instances == 898
