"""assay render: a video of what two models tracked."""

from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner

from backend.cli import rendering
from backend.core.errors import AssayError
from backend.tracking.home import Home
from tests.support.tracked import FRAMES, Folders, write_folders


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    monkeypatch.chdir(tmp_path)
    return write_folders(tmp_path)


def run(folders: Folders, *arguments: str) -> str:
    """What the command prints, or the sentence that it raises for the top level to print."""
    app = typer.Typer()
    app.command()(rendering.render)
    done = CliRunner().invoke(app, list(arguments), obj=Home(folders.truth.parent / "home"))
    if done.exception is None:
        return done.stdout
    assert isinstance(done.exception, AssayError), done.exception
    assert "\n" not in str(done.exception)
    assert not list(folders.truth.parent.glob("*.mp4")), "no half-written video"
    return str(done.exception)


FILES = ("old", "new", "--gt", "truth")


def test_files_of_predictions_become_a_video(folders: Folders) -> None:
    said = run(folders, *FILES, "--sequence", "rally-a", "--out", "made.mp4", "--fps", "5")
    assert said == "made.mp4: rally-a, 8 frames at 5 per second\n"
    video = cv2.VideoCapture(str(folders.truth.parent / "made.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert video.get(cv2.CAP_PROP_FPS) == 5
    video.release()
    assert not (folders.truth.parent / "home").exists(), "files need no home"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (FILES, "name one of 2 sequences with --sequence: rally-a, rally-b"),
        ((*FILES, "--sequence", "x"), "no sequence 'x'; there is: rally-a, rally-b"),
        (("old", "--gt", "truth"), "with --gt name two folders of predictions"),
        (("old", "gone", "--gt", "truth"), "gone: no such file or folder of predictions"),
        (("old", "new", "--gt", "nowhere"), "nowhere: no such folder of ground truth"),
        ((*FILES, "--sequence", "rally-a", "--out", "v.avi"), "videos are written as mp4"),
        ((*FILES, "--sequence", "rally-a", "--fps", "0"), "fps 0: must be above 0"),
        (("old", "new"), "no run 'old'"),
        (("old",), "no comparison 'old'; name two sides, as for assay compare"),
    ],
)
def test_one_sentence_for_each_mistake(
    folders: Folders, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in run(folders, *arguments)


def test_images_that_are_gone_are_refused(folders: Folders) -> None:
    (folders.truth / "rally-a/img1/000008.png").unlink()
    said = run(folders, *FILES, "--sequence", "rally-a")
    assert said == "rally-a: the image of frame 8 is gone; restore it"
