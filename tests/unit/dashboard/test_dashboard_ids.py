"""Ids that Dash can find again."""

import pytest

from dashboard import ids


@pytest.mark.parametrize("name", ["scores/车", "GPU °C", "acc 50%", "val/mAP50-95", "a%20b"])
def test_a_name_of_any_letters_comes_back_from_an_ascii_id(name: str) -> None:
    id_ = ids.graph(ids.CURVES, name)
    plain = str(id_["name"])
    assert plain.isascii()
    assert ids.name_of({"name": plain}) == name
    assert ids.zoom(name)["name"] == ids.caption(name)["name"] == plain
