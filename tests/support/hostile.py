"""Files that write a mark when something unpickles them."""

import os
from pathlib import Path


class Bomb:
    """Unpickled, it makes the folder ``mark``."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._mark),)
