"""A checkpoint that answers: video files in, actions in seconds out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.trainer import EvalRequest
from backend.trainers.adatad.checkpoint import Saved, read_checkpoint
from backend.trainers.adatad.evaluation import evaluate
from backend.trainers.adatad.predictor import SegmentPredictor
from tests.support import adatad_files, temporal_folders, videos_made

CLASSES = ("jump", "run")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    adatad_files.saved(path, classes=CLASSES)
    return read_checkpoint(path)


@pytest.fixture(scope="module")
def predictor(saved: Saved) -> SegmentPredictor:
    return SegmentPredictor(saved, adatad_files.config())


def test_it_finds_what_an_evaluation_finds(
    saved: Saved, predictor: SegmentPredictor, tmp_path: Path
) -> None:
    data = temporal_folders.clean(tmp_path / "data")
    request = EvalRequest(
        checkpoint=str(saved.path), data=str(data), split="val", out=str(tmp_path / "out")
    )
    report = evaluate(saved, request, adatad_files.config())
    (found,) = predictor.predict([data / "videos/c.mp4"], conf=0.0)
    told = Path(report.predictions).read_text(encoding="utf-8")
    assert len(found) > 20
    for one in found[:50]:
        assert f'"label": "{one.label}", "segment": [{one.start}, {one.end}]' in told
        assert f'"score": {one.score}' in told
    assert all(0 <= one.start < one.end <= 3 for one in found)


def test_segments_are_best_first_and_none_below_the_threshold(
    predictor: SegmentPredictor, tmp_path: Path
) -> None:
    paths = [videos_made.write(tmp_path / f"{n}.mp4", n, codec="mpeg4") for n in (40, 70)]
    every = predictor.predict([paths[0], str(paths[1])], conf=0.0)  # type: ignore[list-item]
    assert [len(one) > 5 for one in every] == [True, True]
    for found in every:
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    threshold = every[0][3].score
    assert predictor.predict(paths, threshold) == [
        [one for one in found if one.score >= threshold] for found in every
    ]
    assert predictor.predict(paths, conf=1.0) == [[], []]
    assert predictor.predict([]) == []


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda folder: np.zeros((40, 48, 64, 3), np.uint8), "no frame rate, so its actions"),
        (lambda folder: folder / "gone.mp4", r"gone\.mp4: no such file"),
        (lambda folder: folder, "no such file"),
        (lambda folder: _text(folder / "text.mp4"), r"text\.mp4: cannot be decoded"),
        (
            lambda folder: videos_made.write(folder / "one.mp4", 1, codec="mpeg4"),
            r"one\.mp4: has 1 frames with a time, so no frame rate",
        ),
    ],
)  # fmt: skip
def test_what_is_no_video_is_told_in_one_sentence(
    predictor: SegmentPredictor, tmp_path: Path, made: Any, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        predictor.predict([made(tmp_path)])


def _text(path: Path) -> Path:
    path.write_text("no video", encoding="utf-8")
    return path
