"""The tiers' settings in a run's report."""

from pathlib import Path

import pytest

from backend.catalog import CATALOG, load_config
from backend.hardware.description import described

CONFIGS = Path(__file__).parents[3] / "configs/train"


@pytest.mark.parametrize("kind", sorted(CATALOG))
def test_each_trainer_s_settings_by_tier(kind: str) -> None:
    knobs = CATALOG[kind].knobs
    assert knobs is not None
    found = described(load_config(CONFIGS / f"{kind}.yaml"), knobs)
    assert found.head[1:3] == ("this run", "cpu")
    assert found.head[-1] == "server, 48 GiB and more"
    assert {len(row) for row in found.rows} == {len(found.head)}
    assert {row[0] for row in found.rows} <= set(knobs.keys)
    assert knobs.batch in {row[0] for row in found.rows}


def test_the_columns_of_the_brief() -> None:
    knobs = CATALOG["adatad"].knobs
    assert knobs is not None
    found = described(load_config(CONFIGS.parent / "base/adatad.yaml", {"data": "d.json"}), knobs)
    columns = {row[0]: row[-2:] for row in found.rows}
    assert columns == {
        "runner.batch": ("4", "8"),
        "runner.workers": ("6", "12"),
        "runner.prefetch": ("4", "6"),
        "videos.threads": ("8", "12"),
        "inference.batch": ("1", "2"),
    }
