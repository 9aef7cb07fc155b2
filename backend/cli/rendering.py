"""assay render."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import home_of, show

if TYPE_CHECKING:
    from backend.analysis.tracks import Recording
    from backend.core.comparisons import Comparison
    from backend.tracking.home import Home

LONGEST = 36
"""Letters of a side's name that fit above its frame."""
SIDE_HELP = "As for assay compare; with --gt a folder of MOT text files."


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(render)


def render(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help=f"{SIDE_HELP} Alone: a comparison's key.")],
    new: Annotated[str | None, typer.Argument(help=SIDE_HELP)] = None,
    sequence: Annotated[
        str | None, typer.Option(help="Which one; default: that which changed most.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The mp4 file to write.")] = Path("tracks.mp4"),
    gt: Annotated[
        Path | None, typer.Option(help="MOT sequences with their images: the sides are files.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="With --gt: the classes, one per line from 1.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second; default: the sequence's.")
    ] = None,
) -> None:
    """What two models tracked, as a video: old left, new right.

    Frames come from a stored comparison of both, or from files of predictions (--gt).
    """
    from backend.analysis.track_video import render_tracks

    if gt is None:
        recording, titles, names = _compared(home_of(context), old, new)
    else:
        recording, titles, names = _files(gt, (old, new), classes)
    tracked = recording.sequence(sequence or _first(names, stored=gt is None))
    frames = tracked.files()
    rate = tracked.video.fps if fps is None else fps
    sides = (tracked.old.all(tracked.numbers), tracked.new.all(tracked.numbers))
    written = render_tracks(out, frames, *sides, titles, rate)
    show(f"{written}: {tracked.name}, {len(frames)} frames at {rate:g} per second")


def _compared(
    home: "Home", old: str, new: str | None
) -> tuple["Recording", tuple[str, str], list[str]]:
    """A stored comparison's recording, titles, and sequences, those that changed most first."""
    from backend.analysis.tracks import Recording, changed_most
    from backend.core.errors import ComparisonError

    found = _stored(home, old, new)
    if found.target.baseline_report.task != "tracking":
        raise ComparisonError(
            f"{found.key}: compares {found.target.baseline_report.task}, which has no tracks"
        )
    recording = Recording.of(found.target)
    titles = (_title("old", found.baseline.label), _title("new", found.candidate.label))
    return recording, titles, changed_most(found.target, recording.names)


def _stored(home: "Home", old: str, new: str | None) -> "Comparison":
    """The newest comparison of both sides, or that of the key ``old``."""
    from backend.core.errors import ComparisonError
    from backend.sides import find_side
    from backend.tracking.store import MlflowStore

    store = MlflowStore(home)
    known = store.comparisons()
    if new is None:
        for one in known:
            if one.key == old:
                return one
        raise ComparisonError(f"no comparison '{old}'; name two sides, as for assay compare")
    wanted = [find_side(home, store, text).contender.checkpoint.sha256 for text in (old, new)]
    for one in known:
        if [side.checkpoint.sha256 for side in (one.baseline, one.candidate)] == wanted:
            return one
    raise ComparisonError(
        f"no comparison of {old} and {new} is stored; make it first: assay compare {old} {new}"
    )


def _files(
    gt: Path, sides: tuple[str, str | None], classes: Path | None
) -> tuple["Recording", tuple[str, str], list[str]]:
    from backend.analysis.tracks import Recording
    from backend.config.compose import validate
    from backend.core.errors import ComparisonError
    from backend.scoring.tracking.task import TrackingOptions

    old, new = sides
    if new is None:
        raise ComparisonError("with --gt name two folders of predictions, old and new")
    given = {} if classes is None else {"classes": classes}
    options = validate(TrackingOptions, given, "assay render")
    recording = Recording.read(gt.absolute(), (Path(old), Path(new)), options)
    titles = (_title("old", Path(old).name), _title("new", Path(new).name))
    return recording, titles, list(recording.names)


def _first(names: list[str], *, stored: bool) -> str:
    """The sequence to draw where none is named. Raises ComparisonError if that is open."""
    from backend.core.errors import ComparisonError
    from backend.core.wording import some

    if len(names) > 1 and not stored:
        raise ComparisonError(f"name one of {len(names)} sequences with --sequence: {some(names)}")
    return names[0]


def _title(side: str, label: str) -> str:
    """``old: baseline``; ``old`` alone where the name says the same."""
    short = label if len(label) <= LONGEST else f"…{label[1 - LONGEST :]}"
    return side if label == side else f"{side}: {short}"
