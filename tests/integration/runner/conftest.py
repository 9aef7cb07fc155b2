from pathlib import Path

import pytest

from tests.support.toy import write_toy_data


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images with bright squares in each split."""
    return write_toy_data(tmp_path_factory.mktemp("squares"))
