"""A MOT data set on disk: all of it, or nothing."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from backend.core.errors import DataError
from backend.core.folders import whole_folder
from backend.core.workdir import write_json
from backend.datasets.coco import SAMPLE, Place, image_folder
from backend.datasets.tracking.coco_videos import UNNAMED, Picture
from backend.datasets.tracking.mot_folder import CLASSES_FILE, IMAGE_FOLDER, MANIFEST_FILE
from backend.scoring.tracking.seqinfo import FILE


class Row(NamedTuple):
    """One row of gt.txt: box in pixels; ``mark`` 0 is to be ignored, classes count from 1."""

    frame: int
    id: int
    box: tuple[float, float, float, float]
    mark: int
    label: int

    def text(self) -> str:
        """As it stands in the file, wholly visible."""
        box = ",".join(f"{value:.10g}" for value in self.box)
        return f"{self.frame},{self.id},{box},{self.mark},{self.label},1"


@dataclass(frozen=True)
class MotSequence:
    """A sequence to write: frame numbers from 1 with their pictures, and the rows."""

    name: str
    place: Place
    pictures: Sequence[tuple[int, Picture]]
    rate: float | None
    rows: Sequence[Row]

    @property
    def folder(self) -> str:
        """Its name as a folder's."""
        name = self.name.replace(UNNAMED, "video_")
        return re.sub(r"[^\w.-]+", "_", name).strip(".") or "sequence"


def write_mot(
    out: Path,
    splits: Mapping[str, Sequence[MotSequence]],
    classes: Sequence[str],
    manifest: Mapping[str, object],
    *,
    copy: bool = False,
) -> None:
    """``<out>/<split>/<sequence>/{seqinfo.ini,img1,gt/gt.txt}``, classes.json, manifest.json.

    Images are linked to, or copied. Raises DataError if an image is missing, sizes differ within
    a sequence, ``out`` has something in it or cannot be written.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise DataError(f"{out}: already has something in it; name a new folder")
    with whole_folder(out) as making:
        for split, sequences in splits.items():
            _refuse_twins(split, sequences)
            for sequence in sequences:
                _write_sequence(making / split / sequence.folder, sequence, copy=copy)
        write_json(making / CLASSES_FILE, {"base": 1, "names": list(classes)})
        write_json(making / MANIFEST_FILE, dict(manifest))


def _refuse_twins(split: str, sequences: Sequence[MotSequence]) -> None:
    names: dict[str, str] = {}
    for sequence in sequences:
        other = names.setdefault(sequence.folder.casefold(), sequence.name)
        if other != sequence.name:
            raise DataError(
                f"{split}: {other} and {sequence.name} would have the same folder; rename one"
            )


def _write_sequence(folder: Path, sequence: MotSequence, *, copy: bool) -> None:
    (folder / "gt").mkdir(parents=True)
    (folder / IMAGE_FOLDER).mkdir()
    names = [{"file_name": picture.file} for _, picture in sequence.pictures[:SAMPLE]]
    images = image_folder(sequence.place, names, sequence.place.annotations)
    suffixes = set()
    for number, picture in sequence.pictures:
        source = images / picture.file
        if not source.is_file():
            raise DataError(f"{sequence.place.annotations}: its image {source} does not exist")
        target = folder / IMAGE_FOLDER / f"{number:08d}{source.suffix}"
        suffixes.add(source.suffix)
        if copy:
            shutil.copyfile(source, target)
        else:
            target.symlink_to(source.resolve())
    rows = "".join(f"{row.text()}\n" for row in sequence.rows)
    (folder / "gt" / "gt.txt").write_text(rows, encoding="utf-8")
    (folder / FILE).write_text(_seqinfo(sequence, suffixes), encoding="utf-8")


def _seqinfo(sequence: MotSequence, suffixes: set[str]) -> str:
    """Its text; what is not known is left out."""
    sizes = {picture.size for _, picture in sequence.pictures}
    if len(sizes) > 1:
        raise DataError(
            f"{sequence.place.annotations}: images of {sequence.name} have different sizes; "
            "frames of a video have one"
        )
    size = sizes.pop() if sizes else None
    entries: dict[str, object] = {"name": sequence.folder, "imDir": IMAGE_FOLDER}
    if sequence.rate is not None:
        entries["frameRate"] = f"{sequence.rate:g}"
    entries["seqLength"] = max((number for number, _ in sequence.pictures), default=1)
    if size is not None:
        entries |= {"imWidth": size[0], "imHeight": size[1]}
    if len(suffixes) == 1:
        entries["imExt"] = next(iter(suffixes))
    lines = "".join(f"{key}={value}\n" for key, value in entries.items())
    return f"[Sequence]\n{lines}"
