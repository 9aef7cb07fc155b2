"""Real input: annotated street scenes of MOTChallenge, and a video of a street."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from backend.core.errors import DataError
from backend.datasets.tracking import read_mot, read_sequence
from backend.trainers.motrv2.data import ClipSamples, SequenceFrames
from backend.trainers.motrv2.data_reading import read_data
from backend.trainers.motrv2.spec import Motrv2Config

SHARED = Path(__file__).parents[4] / "shared" / "data"
MOT15, VIDEO = SHARED / "mot15", SHARED / "video" / "street.mp4"
FRAMES = 3


def config(data: Path) -> Motrv2Config:
    small = {"short": 96, "long": 192}
    return Motrv2Config.model_validate({"data": data, "det_db": {"use": False}, "images": small})


@pytest.mark.skipif(not MOT15.is_dir(), reason="../shared/data/mot15 is not here")
def test_annotations_of_motchallenge() -> None:
    split = read_mot(MOT15, "mot15")
    assert len(split.classes) == 1
    found = {one.name: one for one in split.sequences}
    for name, sequence in found.items():
        rows = np.loadtxt(MOT15 / name / "gt" / "gt.txt", delimiter=",", ndmin=2)
        assert len(sequence.numbers) == len(np.unique(rows[:, 0])) == sequence.length
        frame = sequence.frame(4)
        there = rows[(rows[:, 0] == 5) & (rows[:, 6] != 0)]
        assert frame.number == 5
        assert sorted(frame.ids[frame.targets].tolist()) == sorted(there[:, 1].tolist())
    read = read_data(config(MOT15), ["mot15"])
    assert not [one for one in read.errors if one.code != "N9"], "only the images are missing"
    samples = ClipSamples(read.splits[0], config(MOT15))
    assert len(samples) == sum(len(one.numbers) - 4 for one in found.values())
    with pytest.raises(DataError, match=r"has no images, and seqinfo.ini tells no size"):
        SequenceFrames(split.sequences[0], config(MOT15))


@pytest.mark.skipif(not VIDEO.is_file(), reason="../shared/data/video is not here")
def test_frames_of_a_video_without_annotations(tmp_path: Path) -> None:
    opened = cv2.VideoCapture(str(VIDEO))
    (tmp_path / "street" / "img1").mkdir(parents=True)
    for number in range(FRAMES):
        there, pixels = opened.read()
        assert there
        path = tmp_path / "street" / "img1" / f"{number:08d}.jpg"
        Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(path)
    opened.release()
    frames = SequenceFrames(read_sequence(tmp_path / "street"), config(tmp_path))
    assert frames.numbers == tuple(range(FRAMES))
    assert frames.size == (pixels.shape[1], pixels.shape[0])
    for frame in frames:
        height, width = frame.image.shape[1:]
        assert max(height, width) <= 192
        assert width / height == pytest.approx(frames.size[0] / frames.size[1], rel=0.02)
        assert 0.2 < float(frame.image.std()) < 3, "a picture, normalised"
        assert len(frame.boxes) == len(frame.proposals) == 0
