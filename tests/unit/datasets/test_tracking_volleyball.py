"""The synthetic volleyball set is clean, in every spelling of its detection database."""

import json
from pathlib import Path

import pytest

from backend.datasets.tracking import Detections, Expectations, read_tracking
from backend.synthetic.volleyball import (
    CLASSES,
    FIELDS,
    KEYS,
    database,
    make_clip,
    write_volleyball,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_volleyball(tmp_path_factory.mktemp("volleyball") / "set", train=2, val=1)
    return made["target"]


@pytest.mark.parametrize("fields", FIELDS)
def test_only_a_database_without_classes_has_an_error(root: Path, fields: str) -> None:
    wanted = Expectations(num_classes=8, classes=tuple(CLASSES["target"]))
    clips = [
        make_clip("target", split, n) for split, n in (("train", 1), ("train", 2), ("val", 1))
    ]
    for keys in KEYS:
        path = root / f"{fields}_{keys}.json"
        path.write_text(json.dumps(database(clips, CLASSES["target"], fields, keys, meta=False)))
        read = read_tracking(root, ["train", "val"], Detections(path), wanted=wanted)
        assert {one.code for one in read.errors} == ({"N4"} if fields == "xywhs" else set())
        for numbers in read.census:
            assert numbers.fields == fields
            assert numbers.recall is not None
            assert 0.8 < numbers.recall < 1, "8 % of the boxes are missed"
