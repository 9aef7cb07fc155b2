"""An imported run and one of ours lie in one chart: both translate Ultralytics alike."""

from importlib.util import find_spec

import pytest

from backend.importers.ultralytics import NAMES


@pytest.mark.skipif(find_spec("ultralytics") is None, reason="needs the extra 'yolo'")
def test_the_names_are_those_of_our_own_trainer() -> None:
    from backend.trainers.yolo.recorder import VALIDATION

    assert VALIDATION.items() <= NAMES.items()
