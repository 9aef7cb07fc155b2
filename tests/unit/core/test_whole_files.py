"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from backend.core.errors import StoreError
from backend.core.workdir import write_atomic


def test_where_nothing_can_be_written_or_removed_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / "file/report.json"
    with pytest.raises(StoreError) as refused:
        write_atomic(path, "{}")
    assert str(refused.value) == f"{path}: cannot be written (Not a directory)"
