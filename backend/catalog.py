"""The only list of trainers. A new one is a folder, one import and one name here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from backend.config import compose
from backend.config.schema import TrainConfig
from backend.core.errors import ConfigError
from backend.core.trainer import TrainerSpec
from backend.trainers.mdfed.spec import SPEC as MDFED
from backend.trainers.moe_rtdetr.spec import SPEC as MOE_RTDETR
from backend.trainers.yolo.spec import SPEC as YOLO

Catalog = Mapping[str, TrainerSpec]

CATALOG: Catalog = {spec.kind: spec for spec in (YOLO, MOE_RTDETR, MDFED)}


def spec_of(kind: object, source: str, catalog: Catalog = CATALOG) -> TrainerSpec:
    """The trainer named ``kind``. Raises ConfigError that lists the known ones."""
    if kind is None:
        raise ConfigError(f"{source}: 'kind' is missing; known trainers: {', '.join(catalog)}")
    if not isinstance(kind, str) or kind not in catalog:
        raise ConfigError(f"{source}: unknown trainer '{kind}'; known: {', '.join(catalog)}")
    return catalog[kind]


def resolve(
    data: Mapping[str, object],
    overrides: Mapping[str, object],
    source: str,
    catalog: Catalog = CATALOG,
) -> TrainConfig:
    """A validated config from a mapping and dotted overrides."""
    composed = compose.apply_overrides(data, overrides)
    spec = spec_of(composed.get("kind"), source, catalog)
    return cast(TrainConfig, compose.validate(spec.config, composed, source))


def load_config(
    path: Path, overrides: Mapping[str, object] | None = None, catalog: Catalog = CATALOG
) -> TrainConfig:
    """The config in a YAML file, with overrides. Raises ConfigError."""
    return resolve(compose.load_yaml(path), overrides or {}, str(path), catalog)


def json_schema(spec: TrainerSpec) -> str:
    """The JSON Schema of a trainer's config, with ``extends`` as files may have it."""
    schema = spec.config.model_json_schema()
    schema["properties"]["extends"] = {
        "description": "Parent files, relative to this one; later ones win.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    schema.pop("required", None)  # a parent may bring what a file itself lacks
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
