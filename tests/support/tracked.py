"""A made tracking comparison: two short sequences with images, an old tracker with faults that
are known, and a new one without."""

import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from backend.analysis.comparison import ComparisonSettings, compare
from backend.config.schema import Section
from backend.core.comparisons import Comparison
from backend.core.records import EvalReport
from backend.scoring.files import evaluate_files
from backend.scoring.tracking.task import TASK, TrackingOptions
from tests.support.detections import contender

FRAMES, SIZE = 8, (64, 48)
NAMES = {1: "Attack", 2: "Block"}
LEFT, RIGHT = (4, 10, 12, 24), (40, 12, 12, 24)
"""Where the two objects are: number 1, an Attack, and number 2, a Block."""
Row = tuple[int, int, tuple[int, int, int, int], int]


@dataclass(frozen=True)
class Folders:
    """Where ground truth (with images) and the files of both trackers lie."""

    truth: Path
    old: Path
    new: Path


def truth_rows() -> list[Row]:
    return [row for n in range(1, FRAMES + 1) for row in ((n, 1, LEFT, 1), (n, 2, RIGHT, 2))]


def faulty_rows() -> list[Row]:
    """Of rally-a: object 2 missed in frames 2 and 3, object 1 gets another identity in frame 5,
    a ghost in frame 7, and the wrong class for object 2 in frame 8."""
    rows = [row for row in truth_rows() if (row[0], row[1]) not in {(2, 2), (3, 2)}]
    rows = [(n, 9 if i == 1 and n >= 5 else i, b, c) for n, i, b, c in rows]
    rows = [(n, i, b, 1 if (n, i) == (8, 2) else c) for n, i, b, c in rows]
    return [*rows, (7, 30, (20, 2, 8, 8), 1)]


def write_folders(root: Path) -> Folders:
    """rally-a as above; in rally-b it is the new tracker that misses an object once."""
    made = Folders(root / "truth", root / "old", root / "new")
    found = {
        "rally-a": (faulty_rows(), truth_rows()),
        "rally-b": (truth_rows(), truth_rows()[1:]),
    }
    for name, sides in found.items():
        folder = made.truth / name
        (folder / "img1").mkdir(parents=True)
        (folder / "gt").mkdir()
        for number in range(1, FRAMES + 1):
            Image.new("RGB", SIZE, (90, 90, 90 + number)).save(folder / f"img1/{number:06}.png")
        about = f"name={name}\nseqLength={FRAMES}\nframeRate=10\n"
        (folder / "seqinfo.ini").write_text(f"[Sequence]\n{about}")
        write_rows(folder / "gt/gt.txt", truth_rows())
        for side, rows in zip((made.old, made.new), sides, strict=True):
            side.mkdir(exist_ok=True)
            write_rows(side / f"{name}.txt", rows)
    (made.truth / "classes.json").write_text(json.dumps({"base": 1, "names": NAMES}))
    return made


def write_rows(path: Path, rows: list[Row]) -> None:
    lines = [f"{n},{i},{','.join(map(str, box))},1,{c},-1,-1\n" for n, i, box, c in rows]
    path.write_text("".join(lines))


def tracking_comparison(root: Path, folders: Folders, key: str = "tracked") -> Comparison:
    """Both trackers compared, as ``assay compare --gt --task tracking`` does it."""

    def report(side: Path) -> EvalReport:
        options: Section = TrackingOptions()
        return evaluate_files(TASK, folders.truth, side, options, root / f"of-{side.name}")

    return compare(
        key=key,
        created=0.0,
        contenders=(contender("before"), contender("after")),
        target=(report(folders.old), report(folders.new)),
        settings=ComparisonSettings(replicates=100),
    )
