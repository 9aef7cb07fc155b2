"""Every YAML file that we ship is valid, and the JSON Schemas are fresh."""

from pathlib import Path

import pytest

from backend.catalog import CATALOG, json_schema, load_config
from backend.config.compose import load_yaml

CONFIGS = Path(__file__).parents[3] / "configs"
RUNNABLE = sorted([*(CONFIGS / "train").glob("*.yaml"), *(CONFIGS / "demo").glob("*.yaml")])
GIVEN = {
    "yolo": {"data": "data.yaml", "model": "model.safetensors"},
    "moe_rtdetr": {"data": "traffic"},
    "motrv2": {"data": "players", "source": "people", "model.pretrained": "one_class.safetensors"},
    "mdfed": {"data": "rallies", "model.pretrained": "stage.safetensors"},
    "adatad": {"data": "films", "model.pretrained": "backbone.safetensors"},
}


def test_there_is_one_runnable_file_per_trainer() -> None:
    assert {path.stem for path in (CONFIGS / "train").glob("*.yaml")} >= set(CATALOG)


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_configs_validate(path: Path) -> None:
    given = GIVEN[str(load_yaml(path)["kind"])] if path.parent.name == "demo" else None
    load_config(path, given)


@pytest.mark.parametrize("kind", CATALOG)
def test_schemas_are_fresh(kind: str) -> None:
    stored = (CONFIGS / "schema" / f"{kind}.json").read_text()
    assert stored == json_schema(CATALOG[kind]), (
        f"run: assay config schema {kind} --write configs/schema"
    )
