"""Folders to paste from, as users have them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps

from backend.config.compose import validate
from backend.config.synthetic import SyntheticConfig
from backend.core.errors import ConfigError, DataError
from backend.datasets.pasting import Composer, Judged, prepare_composer, prepare_pasting
from backend.datasets.pasting.annotated import images_below
from backend.datasets.pasting.backgrounds import read_backgrounds
from backend.datasets.pasting.bank import Bank, Wanted, read_bank
from backend.datasets.pasting.leaks import look_alikes
from backend.scoring.detection.class_names import matched
from tests.support.pasting import KINDS, write_annotated, write_backgrounds
from tests.support.shapes import NAMES, SIZE, write_dataset

NOTHING: dict[bytes, str] = {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_annotated(tmp_path / "annotated")


def bank_of(folder: Path, names: tuple[str, ...] = NAMES, **given: object) -> Bank:
    wanted = {"side": SIZE, "per_class": 500, **given}
    return read_bank(folder, Wanted(names, **wanted))  # type: ignore[arg-type]


def composer_of(folder: Path, backgrounds: Path, **given: object) -> Composer:
    how = {"annotated_dir": folder, "backgrounds_dir": backgrounds, **given}
    return prepare_composer(SyntheticConfig.model_validate(how), NAMES, SIZE, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_mask_was_made_from_is_kept(kind: str, tmp_path: Path) -> None:
    bank = bank_of(write_annotated(tmp_path, kind))
    assert {cutout.kind for cutout in bank.cutouts} == {kind}
    assert [cutout.label for cutout in bank.cutouts] == [0, 1, 2, 0, 1, 2]


def test_classes_are_mapped_by_name(folder: Path) -> None:
    bank = bank_of(folder, ("triangle", "bird", "square", "disc"))
    assert [cutout.label for cutout in bank.cutouts] == [2, 3, 0, 2, 3, 0]


def test_case_and_blanks_of_a_name_make_no_difference(folder: Path) -> None:
    """As where a checkpoint's classes are joined with a dataset's."""
    bank = bank_of(folder, ("Triangle", "SQUARE "), ignore=("Disc",))
    assert [cutout.label for cutout in bank.cutouts] == [1, 0, 1, 0]


def test_names_that_differ_by_case_only_stay_apart() -> None:
    assert matched(("a", "A", " b", "c"), ("A", "a", "B")) == (1, 0, 2, None)


def test_a_class_that_is_not_trained_is_refused_unless_ignored(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"not trained: disc, square; .*list them in synthetic.ign"
    ):
        bank_of(folder, ("triangle",))
    bank = bank_of(folder, ("triangle",), ignore=("disc", "square"))
    assert [cutout.label for cutout in bank.cutouts] == [0, 0]


def test_the_usual_layout_is_understood(folder: Path, tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (usual / kind / "train").mkdir(parents=True)
        for path in folder.glob(f"[0-9]*.{suffix}"):
            shutil.copy(path, usual / kind / "train")
    (usual / "data.yaml").write_text(yaml.safe_dump({"names": list(NAMES)}))
    for place in (usual, usual / "images" / "train"):
        bank = bank_of(place)
        assert len(bank.cutouts) == 6
        assert bank.digest == bank_of(folder).digest, "what counts is the content"


def test_links_in_a_circle_are_followed_once(folder: Path) -> None:
    images = len(images_below(folder, "key"))
    (folder / "again").symlink_to(folder)
    (folder / "once more").symlink_to(folder)
    assert len(images_below(folder, "key")) == images


def test_without_names_the_labels_mean_nothing(folder: Path) -> None:
    (folder / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"does not say what its classes .* add a data.yaml"):
        bank_of(folder)
    (folder / "classes.txt").write_text("square\nsquare\n")
    with pytest.raises(DataError, match="expected one class name in each line, each once"):
        bank_of(folder)


def test_damaged_files_are_told_and_left_out(folder: Path) -> None:
    (folder / "00.png").write_bytes(b"no image")
    (folder / "01.txt").write_text("1 nonsense\n")
    bank = bank_of(folder)
    assert len(bank.cutouts) == 4
    assert sorted(said.split(" (")[0].split("/")[-1] for said in bank.damaged) == [
        "00.png", "01.txt, line 1: expected numbers, got '1 nonsense'",
    ]  # fmt: skip


def test_a_lack_of_memory_is_no_damage_of_a_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(image: Image.Image) -> Image.Image:
        raise MemoryError

    backgrounds = write_backgrounds(tmp_path / "backgrounds")
    monkeypatch.setattr(ImageOps, "exif_transpose", exhausted)
    with pytest.raises(MemoryError):
        bank_of(folder)
    with pytest.raises(MemoryError):
        read_backgrounds(backgrounds, SIZE)
    with pytest.raises(MemoryError):
        look_alikes({"key": [folder / "00.png"]}, {})


def test_nothing_left_to_paste_is_refused_with_the_reasons(folder: Path) -> None:
    for path in folder.glob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="nothing to cut out: 6 files are damaged; the first: 00"):
        bank_of(folder)
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="has no images"):
        bank_of(folder / "empty")
    with pytest.raises(DataError, match=r"synthetic\.annotated_dir: .* is no folder"):
        bank_of(folder / "nowhere")


def test_a_limit_per_class_takes_them_from_all_over(tmp_path: Path) -> None:
    folder = write_annotated(tmp_path, count=30)
    bank, twice = bank_of(folder, per_class=2), bank_of(folder, per_class=2)
    assert [cutout.label for cutout in bank.cutouts] == [0, 1, 2, 0, 1, 2]
    assert list(bank.files.values()) == [
        "00.png",
        "01.png",
        "02.png",
        "15.png",
        "16.png",
        "17.png",
    ]
    assert all(
        (a.pixels == b.pixels).all() for a, b in zip(bank.cutouts, twice.cutouts, strict=True)
    )


def test_a_rectangle_that_shows_another_object_is_not_cut_out(folder: Path) -> None:
    (folder / "00.txt").write_text("0 0.5 0.5 0.6 0.6\n1 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.0 0.1\n")
    bank = bank_of(folder)
    assert bank.unused == {"their rectangles show other objects too": 1}
    assert [cutout.kind for cutout in bank.cutouts].count("box") == 1, "the small one, alone"


def test_cut_outs_have_the_size_that_they_are_trained_at(folder: Path) -> None:
    (cutout, *_) = bank_of(folder, side=SIZE // 2).cutouts
    (whole, *_) = bank_of(folder).cutouts
    (larger, *_) = bank_of(folder, side=SIZE * 2).cutouts
    inner = np.subtract(whole.pixels.shape[:2], 8)
    assert np.abs(np.subtract(cutout.pixels.shape[:2], 8) - inner / 2).max() <= 1
    assert (cutout.grow, whole.grow, larger.grow) == (1, 1, 2)


def test_backgrounds_that_cannot_be_read_are_told(folder: Path, tmp_path: Path) -> None:
    backgrounds = write_backgrounds(tmp_path / "rooms")
    (backgrounds / "broken.jpg").write_bytes(b"\xff\xd8")
    composer = composer_of(folder, backgrounds)
    pasting = prepare_pasting(composer, {}, NOTHING, 10)
    assert "1 files cannot be read and are left out: broken.jpg" in pasting.warnings[0]
    for path in backgrounds.glob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"no image in .* can be read; the first: broken"):
        composer_of(folder, backgrounds)


def test_the_digest_is_of_both_folders(folder: Path, tmp_path: Path) -> None:
    backgrounds = write_backgrounds(tmp_path / "rooms")
    digests = {prepare_pasting(composer_of(folder, backgrounds), {}, NOTHING, 1).digest}
    write_backgrounds(backgrounds, count=4)
    digests.add(prepare_pasting(composer_of(folder, backgrounds), {}, NOTHING, 1).digest)
    (folder / "00.txt").write_text("1 0.5 0.5 0.4 0.4\n")
    digests.add(prepare_pasting(composer_of(folder, backgrounds), {}, NOTHING, 1).digest)
    assert len(digests) == 3


@pytest.mark.parametrize("pasted", ["annotated", "rooms"])
def test_a_held_out_image_is_refused_by_its_content(
    pasted: str, folder: Path, tmp_path: Path
) -> None:
    backgrounds = write_backgrounds(tmp_path / "rooms")
    composer = composer_of(folder, backgrounds)
    files = composer.bank.files if pasted == "annotated" else composer.backgrounds.files
    judged = {"val": Judged({next(iter(files)): "elsewhere.png"}, [])}
    with pytest.raises(DataError, match=r"1 images are also in the 'val' split \(0"):
        prepare_pasting(composer, judged, NOTHING, 10)


def test_a_held_out_image_that_was_saved_anew_is_told(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "shapes", {"train": 4, "val": 4})
    held = sorted((data.parent / "images" / "val").iterdir())
    folder = write_annotated(tmp_path / "annotated")
    with Image.open(held[0]) as image:
        image.resize((96, 96)).save(folder / "00.jpg", quality=80)
    shutil.copy(data.parent / "labels" / "val" / "000.txt", folder / "00.txt")
    composer = composer_of(folder, write_backgrounds(tmp_path / "rooms"))
    pasting = prepare_pasting(composer, {"val": Judged({}, held)}, NOTHING, 4)
    assert any(
        "1 images look like images of the 'val' split (00.jpg)" in w for w in pasting.warnings
    )
    others = prepare_pasting(composer, {"val": Judged({}, held[1:])}, NOTHING, 4)
    assert not any("look like" in warning for warning in others.warnings)


def test_a_background_with_labelled_objects_is_told(folder: Path, tmp_path: Path) -> None:
    backgrounds = write_backgrounds(tmp_path / "rooms")
    shutil.copy(folder / "00.png", backgrounds / "scene.png")
    (warning,) = prepare_pasting(composer_of(folder, backgrounds), {}, NOTHING, 4).warnings
    assert "1 images have labelled objects elsewhere (scene.png)" in warning


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"annotated_dir": "cups"},
            "'annotated_dir' is given without 'backgrounds_dir'; name both",
        ),
        ({"backgrounds_dir": "rooms"}, "'backgrounds_dir' is given without 'annotated_dir'"),
        ({"scale": [1.5, 0.5]}, "'scale': expected two factors, the smaller first"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate(SyntheticConfig, given, "here")
    assert not SyntheticConfig.model_validate({"annotated_dir": "cups", "enabled": False}).active
