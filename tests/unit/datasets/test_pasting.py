"""Made images: what is visible, and what the boxes say."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from backend.config.synthetic import SyntheticConfig
from backend.datasets.pasting import Composer, Made, contact_sheet, prepare_composer
from backend.datasets.pasting.composing import HALF
from backend.datasets.pasting.cutting import MARGIN
from tests.support.pasting import COLOURS, KINDS, write_annotated, write_backgrounds
from tests.support.shapes import NAMES, SIZE

SAMPLES = 200


@pytest.fixture(scope="module", params=KINDS)
def composer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Composer:
    return composer_of(tmp_path_factory, request.param)


def composer_of(tmp_path_factory: pytest.TempPathFactory, kind: str, **given: object) -> Composer:
    folder = tmp_path_factory.mktemp(kind)
    annotated = write_annotated(folder / "annotated", kind)
    backgrounds = write_backgrounds(folder / "backgrounds")
    how = SyntheticConfig.model_validate(
        {"annotated_dir": annotated, "backgrounds_dir": backgrounds, **given}
    )
    return prepare_composer(how, NAMES, SIZE, 0.5)


def images(composer: Composer, count: int = SAMPLES) -> list[Made]:
    rng = np.random.default_rng(3)
    return [composer.make(rng) for _ in range(count)]


def bounds(visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of what is visible: left, top, right, bottom, the latter exclusive."""
    rows, columns = np.nonzero(visible.any(1))[0], np.nonzero(visible.any(0))[0]
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def test_boxes_are_the_bounds_of_what_is_visible(composer: Composer) -> None:
    for made in images(composer):
        assert len(made.labels) == len(made.boxes) == made.owners.max()
        for number, box in enumerate(made.boxes, start=1):
            assert (box == bounds(made.owners == number)).all()
            assert (box[:2] >= 0).all()
            assert (box[2:] <= SIZE).all()


@pytest.mark.parametrize("kind", ["polygon", "alpha"])
def test_boxes_are_those_of_the_colours_in_the_picture(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Judged by the pixels alone: a lone shape, bright in its class's colour on the dark."""
    composer = composer_of(tmp_path_factory, kind, max_objects=1)
    for made in images(composer):
        colour = np.array(COLOURS[NAMES[made.labels[0]]])
        strong = int(colour.argmax())
        # half of the colour over a background of at most 40
        visible = made.image[..., strong].astype(int) >= (250 + 20) // 2
        assert np.abs(bounds(visible) - made.boxes[0]).max() <= 1
        assert made.image[made.owners == 1].mean(axis=0).argmax() == strong


def test_a_rectangle_keeps_the_box_of_its_label(tmp_path_factory: pytest.TempPathFactory) -> None:
    composer = composer_of(tmp_path_factory, "box", max_objects=1, scale=(1.0, 1.0), degrees=90)
    sizes = [(c.label, np.subtract(c.pixels.shape[:2], 2 * MARGIN)) for c in composer.bank.cutouts]
    for made in images(composer, 60):
        size = (made.boxes[0, 2:] - made.boxes[0, :2])[::-1]
        known = [own for label, own in sizes if label == made.labels[0]]
        assert min(np.abs(size - own).max() for own in known) <= 2


@pytest.mark.parametrize(("max_hidden", "kept"), [(0.1, 0.9), (0.99, HALF)])
def test_no_object_is_hidden_more_than_told_nor_more_than_half(
    max_hidden: float, kept: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    given: dict[str, object] = {"max_objects": 12, "scale": (1.0, 1.0), "degrees": 0}
    composer = one_cut_out(
        composer_of(tmp_path_factory, "polygon", max_hidden=max_hidden, **given)
    )
    whole = max(area(made, n) for made in images(composer) for n in numbers(made))
    least = min(area(made, n) for made in images(composer) for n in numbers(made))
    assert kept * whole <= least < (kept + 0.1) * whole


def test_whatever_is_seen_has_a_label(tmp_path_factory: pytest.TempPathFactory) -> None:
    composer = composer_of(tmp_path_factory, "polygon", max_objects=12, max_hidden=0.99)
    for made in images(composer):
        bright = made.image.max(axis=-1) > 140
        owned = binary_dilation(made.owners > 0)  # soft edges shine a little beyond
        assert not (bright & ~owned).any()


def one_cut_out(composer: Composer) -> Composer:
    """Pasting the same object again and again, never mirrored."""
    bank = replace(composer.bank, cutouts=composer.bank.cutouts[:1])
    return replace(composer, bank=bank, flip=0.0)


def area(made: Made, number: int) -> int:
    return int((made.owners == number).sum())


def numbers(made: Made) -> range:
    return range(1, len(made.labels) + 1)


def test_classes_come_alike_often_and_the_seed_decides(composer: Composer) -> None:
    first, again = images(composer), images(composer)
    assert all((a.image == b.image).all() for a, b in zip(first, again, strict=True))
    counts = np.bincount(np.concatenate([made.labels for made in first]))
    assert counts.min() > 0.7 * counts.max()
    assert {len(made.labels) for made in first} == {1, 2, 3, 4}


def test_a_cut_out_is_mirrored_only_as_often_as_training_mirrors(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Of the half of a shape."""
    composer = composer_of(tmp_path_factory, "alpha", max_objects=1, degrees=0, scale=(1.0, 1.0))
    cutout = composer.bank.cutouts[1]
    half = cutout.pixels.copy()
    half[:, half.shape[1] // 2 :, 3] = 0
    bank = replace(composer.bank, cutouts=(replace(cutout, pixels=half),))
    left, right = (
        replace(composer, bank=bank, flip=flip).make(np.random.default_rng(0))
        for flip in (0.0, 1.0)
    )
    shape = left.owners[bounds_of(left)]
    assert (shape == right.owners[bounds_of(right)][:, ::-1]).all()
    assert (shape != shape[:, ::-1]).any()


def bounds_of(made: Made) -> tuple[slice, slice]:
    left, top, right, bottom = made.boxes[0].astype(int)
    return slice(top, bottom), slice(left, right)


def test_a_sheet_shows_so_many_images(composer: Composer) -> None:
    sheet = contact_sheet(composer, 5, seed=1)
    assert (sheet.width, sheet.height) == (3 * 320 + 2 * 4, 2 * 320 + 4)
    assert sheet.tobytes() == contact_sheet(composer, 5, seed=1).tobytes()
