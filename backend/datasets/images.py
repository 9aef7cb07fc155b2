"""An image file, examined without decoding more of it than needed."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image

MISSING = "image missing"
UNREADABLE = "image unreadable"

_LYING = {5, 6, 7, 8}  # orientations in EXIF that turn width into height
_END_OF_JPEG = b"\xff\xd9"


class UnusableError(Exception):
    """A frame cannot be used; says why in a few words."""


class Examined(NamedTuple):
    """Width and height as the image is shown, and the sha256 of its file."""

    width: int
    height: int
    digest: bytes


def examine(path: Path) -> Examined:
    """Size and digest of an image that is whole. Raises UnusableError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UnusableError(MISSING) from None
    except OSError:
        raise UnusableError(UNREADABLE) from None
    try:
        width, height = _size(content)
    except Exception:  # noqa: BLE001 (decoders raise what they like at damaged files)
        raise UnusableError(UNREADABLE) from None
    return Examined(width, height, hashlib.sha256(content).digest())


def _size(content: bytes) -> tuple[int, int]:
    """Width and height as shown. A JPEG with its end is taken for whole; others are decoded."""
    with Image.open(BytesIO(content)) as image:
        ended = content.rstrip(b"\0")[-2:] == _END_OF_JPEG
        if not (ended and image.format in {"JPEG", "MPO"}):
            image.load()
        turned = image.getexif().get(ExifTags.Base.Orientation) in _LYING
        width, height = image.size  # of a TIFF, turned by load already
    return (height, width) if turned else (width, height)
