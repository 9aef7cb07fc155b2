"""A user's YOLO dataset: read, checked and digested before anything is trained. No torch.

Nothing in the dataset's folder is executed, unpickled or written: its ``download`` entry and
its ``.cache`` files are left alone.
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from backend.core.errors import DataError
from backend.core.records import DatasetInput
from backend.hardware.memory import diagnose
from backend.scoring.detection.yolo_datafile import DataFile, label_path
from backend.scoring.detection.yolo_labels import Labels, parse_labels

FORMATS = {
    *("AVIF", "BMP", "DNG", "HEIC", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP"),
}
MIN_PIXELS = 10
THREADS = 4


@dataclass(frozen=True)
class Example:
    """One readable image. ``name`` is its path in the dataset; ``label_file`` may not exist;
    ``digest`` is the sha256 of the image's file."""

    image: Path
    name: str
    label_file: Path
    labels: Labels
    digest: bytes = b""


@dataclass(frozen=True)
class Split:
    """The readable part of one split, in order of name.

    ``skipped`` names the images that cannot be read, with the reason. ``digest`` is the
    sha256 over class names, image bytes and label bytes; it does not depend on where the
    dataset lies.
    """

    data: Path
    split: str
    names: tuple[str, ...]
    examples: tuple[Example, ...]
    skipped: tuple[str, ...]
    digest: str

    @property
    def instances(self) -> int:
        return sum(len(example.labels.rows) for example in self.examples)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before training on it."""
        notes = []
        if self.skipped:
            shown = "; ".join(self.skipped[:5]) + ("; …" if len(self.skipped) > 5 else "")
            notes.append(
                f"{len(self.skipped)} of {len(self.skipped) + len(self.examples)} images of "
                f"{self.split} cannot be read and are left out: {shown}"
            )
        flat = sum(example.labels.flat for example in self.examples)
        if flat:
            notes.append(f"{flat} boxes of {self.split} have no area and are left out")
        return tuple(notes)

    def as_input(self) -> DatasetInput:
        """What a run records of it."""
        return DatasetInput(
            name=self.data.parent.name or self.data.stem,
            path=str(self.data),
            split=self.split,
            digest=self.digest,
            images=len(self.examples),
            instances=self.instances,
        )


def load_split(data: DataFile, split: str) -> Split:
    """Read and check every image and label of one split.

    Raises DataError if the split is missing, no image is readable, no object is labelled, or
    a label is wrong (naming file and line).
    """
    images = data.images(split)
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(partial(_read, len(data.names)), *zip(*images, strict=True)))
    found = [result for result in results if not isinstance(result, str)]
    skipped = tuple(result for result in results if isinstance(result, str))
    if not found:
        raise DataError(
            f"{data.path}: none of the {len(images)} images of '{split}' can be read; the first: "
            f"{skipped[0]}"
        )
    examples = tuple(example for example, _ in found)
    _check_labelled(data, split, examples)
    return Split(
        data=data.path,
        split=split,
        names=data.names,
        examples=examples,
        skipped=skipped,
        digest=_digest(data.names, [digest for _, digest in found]),
    )


def _check_labelled(data: DataFile, split: str, examples: Sequence[Example]) -> None:
    if any(example.labels.rows for example in examples):
        return
    files = sum(example.label_file.is_file() for example in examples)
    expected = examples[0].label_file
    what = f"its {files} label files are empty" if files else f"there is no file like {expected}"
    raise DataError(f"{data.path}: no object is labelled in '{split}': {what}")


def _read(classes: int, image: Path, name: str) -> tuple[Example, bytes] | str:
    """The example and the digest of its bytes, or why the image cannot be read."""
    try:
        content = image.read_bytes()
        _check_image(content)
    except Exception as error:
        if diagnose(error):
            raise  # not the image's fault
        return f"{name} ({_reason(error)})"
    label_file = label_path(image)
    label = _label_bytes(label_file)
    labels = parse_labels(label, label_file, classes)
    digest = hashlib.sha256(content).digest()
    example = Example(image, name, label_file, labels, digest)
    return example, digest + hashlib.sha256(label).digest()


def _label_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""  # a background
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _check_image(content: bytes) -> None:
    """Raise if the bytes are not a whole image; JPEG and PNG are checked without decoding."""
    with Image.open(BytesIO(content)) as image:
        kind, (width, height) = image.format, image.size
        image.verify()
    if kind not in FORMATS:
        raise ValueError(f"format {kind} is not supported")
    if min(width, height) < MIN_PIXELS:
        raise ValueError(f"only {width} x {height} pixels")
    whole = kind == "PNG" or (
        kind in {"JPEG", "MPO"} and content.rstrip(b"\0")[-2:] == b"\xff\xd9"
    )
    if not whole:
        with Image.open(BytesIO(content)) as image:
            image.load()


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError | ModuleNotFoundError):
        return "not an image"  # Ultralytics, once loaded, asks for a HEIF package first
    return str(error) or type(error).__name__


def _digest(names: Sequence[str], contents: Sequence[bytes]) -> str:
    digest = hashlib.sha256(json.dumps(list(names)).encode())
    for content in contents:
        digest.update(content)
    return digest.hexdigest()
