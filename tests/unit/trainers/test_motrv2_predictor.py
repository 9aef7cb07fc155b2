"""A checkpoint that answers: sequences, videos with and without detections, arrays."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from backend.core.errors import DataError
from backend.core.trainer import Track
from backend.trainers.motrv2.asked_clips import NOTHING, read_detections, video_frames
from backend.trainers.motrv2.predictor import TrackPredictor
from tests.support.motrv2_tracking import EIGHT, config_of, data_of, handset, saved_of
from tests.support.tracking_folders import SIZE

VIDEO = Path(__file__).parents[4] / "shared" / "data" / "video" / "street.mp4"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_of(tmp_path_factory.mktemp("asked") / "data")


@pytest.fixture(scope="module")
def predictor(root: Path) -> TrackPredictor:
    return TrackPredictor(saved_of(handset()), config_of(root))


def at(tracks: list[Track], frame: int) -> list[Track]:
    return [one for one in tracks if one.frame == frame]


def test_a_sequence_begins_at_its_detections(predictor: TrackPredictor, root: Path) -> None:
    (tracks,) = predictor.predict([root / "val" / "c"])
    assert {one.frame for one in tracks} == set(range(12))
    assert {one.label for one in tracks} == {"u"}
    assert min(one.id for one in tracks) == 5, "the four learned queries came first, too small"
    assert tracks[0].score == pytest.approx(0.9526, abs=1e-4)
    first = at(tracks, 0)
    rows = [one for one in (root / "val/c/gt/gt.txt").read_text().splitlines() if one[:2] == "1,"]
    for row in rows:
        x, y = (float(cell) for cell in row.split(",")[2:4])
        assert any(abs(one.box[0] - x) < 5 and abs(one.box[1] - y) < 5 for one in first), row
    assert predictor.predict([root / "val" / "c"], conf=0.99) == [[]]


def test_a_sequence_without_a_database_is_tracked_by_learned_queries(
    predictor: TrackPredictor, root: Path, tmp_path: Path
) -> None:
    pictures = [np.array(Image.open(p)) for p in sorted((root / "val/c/img1").iterdir())]
    (tmp_path / "img1").mkdir()
    for number, picture in enumerate(pictures, start=1):
        Image.fromarray(picture).save(tmp_path / "img1" / f"{number}.png")
    alone, array = predictor.predict([tmp_path, np.stack(pictures)])
    assert alone == array


def test_a_video_is_tracked_from_the_rows_beside_it(
    predictor: TrackPredictor, tmp_path: Path
) -> None:
    path = tmp_path / "one.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, SIZE)
    for grey in range(3):
        writer.write(np.full((SIZE[1], SIZE[0], 3), 40 * grey, np.uint8))
    writer.release()
    assert predictor.predict([path]) == [[]], "the learned queries see next to nothing"
    path.with_suffix(".txt").write_text("2,-1,30,10,20,30,0.9,6\n3,-1,31,10,20,30,0.8\n")
    (tracks,) = predictor.predict([str(path)])  # type: ignore[list-item]
    assert [one.frame for one in tracks] == [1, 2, 2]
    assert tracks[0].box == pytest.approx((30, 10, 20, 30), abs=0.05)
    assert tracks[1].id != tracks[0].id == tracks[2].id


def test_colours_of_a_video_are_in_order(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, SIZE)
    writer.write(np.full((SIZE[1], SIZE[0], 3), (0, 0, 255), np.uint8))
    writer.release()
    (frame,) = video_frames(path, config_of(root), 8).frames
    red, green, blue = frame.image.mean((1, 2)).tolist()
    assert red > 2
    assert green < -1.5
    assert blue < -1.5


@pytest.mark.skipif(not VIDEO.is_file(), reason="../shared/data/video is not there")
def test_a_real_video_is_decoded_frame_by_frame(root: Path) -> None:
    asked = video_frames(VIDEO, config_of(root), 8)
    capture = cv2.VideoCapture(str(VIDEO))
    assert asked.size == (
        int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )
    frames = iter(asked.frames)
    first, second = next(frames), next(frames)
    assert max(first.image.shape) <= 96
    assert len(first.proposals) == 0
    assert not first.image.equal(second.image)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("1,-1,5,5,9,9", "without a score"),
        ("0,-1,5,5,9,9,0.5", "line 1: frames are whole numbers"),
        ("1,-1,5,5,9,9,0.5\n2,-1,5,5,0,9,0.5", "line 2: a box needs"),
        ("1,-1,5,5,9,9,87", "a score lies in 0 to 1"),
    ],
)
def test_wrong_detections_are_refused(tmp_path: Path, rows: str, why: str) -> None:
    path = tmp_path / "one.txt"
    path.write_text(rows + "\n")
    with pytest.raises(DataError, match=why):
        read_detections(path, 8)


def test_detections_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("3,-1,5,5,9,9,0.5,2\n1,-1,1,1,4,4,1,-1\n3,-1,6,6,9,9,0.4,9\n")
    found = read_detections(path, 8)
    assert found.keys() == {1, 3}
    assert found[3].labels.tolist() == [1, -1]
    assert found[3].scores.tolist() == [0.5, 0.4]
    assert found[1].labels.tolist() == [-1]
    assert len(NOTHING.boxes) == 0


def test_what_is_no_clip_is_refused(predictor: TrackPredictor, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    for clip, why in (
        (tmp_path / "none.mp4", "no such video"),
        (tmp_path, "has no images"),
        (broken, "no frame of it can be decoded"),
        (np.zeros((2, 5, 5), np.uint8), "uint8 array"),
        (np.zeros((2, 5, 5, 3)), "uint8 array"),
    ):
        with pytest.raises(ValueError, match=why):
            predictor.predict([clip])  # type: ignore[list-item]


def test_classes_without_names_are_numbered(root: Path) -> None:
    saved = saved_of(handset(), ("",) * len(EIGHT))
    (tracks,) = TrackPredictor(saved, config_of(root)).predict([root / "val" / "c"])
    assert {one.label for one in tracks} == {"6"}
