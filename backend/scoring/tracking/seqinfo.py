"""``seqinfo.ini``: what MOTChallenge says of a sequence beside its rows."""

import configparser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.core.errors import DataError

FILE = "seqinfo.ini"
_SECTION = "Sequence"


@dataclass(frozen=True)
class SeqInfo:
    """The entries of ``[Sequence]`` as texts; keys in small letters."""

    path: Path
    values: Mapping[str, str]

    def text(self, key: str) -> str | None:
        """An entry, None where it is absent or empty."""
        return self.values.get(key.lower()) or None

    def whole(self, key: str, what: str = "pixels") -> int | None:
        """A whole number from 1, None where it is absent. Raises DataError for another one."""
        text = self.text(key)
        if text is None:
            return None
        if not text.isdecimal():
            raise DataError(f"{self.path}: no usable {key} in [{_SECTION}] ({text!r})")
        if int(text) < 1:
            raise DataError(f"{self.path}: {key} is {text}; expected a number of {what}")
        return int(text)


def read_seqinfo(path: Path) -> SeqInfo:
    """Raises DataError with one sentence for a file that cannot be read as a ``seqinfo.ini``."""
    parser: Any = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        values = dict(parser.items(_SECTION))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: no usable [{_SECTION}] with seqLength ({reason})") from None
    return SeqInfo(path, {key: value.strip() for key, value in values.items()})
