"""The only list of trainers. A new one is a folder, one import and one name here."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from backend.config import compose
from backend.config.hardware import HardwareConfig
from backend.config.schema import TrainConfig
from backend.core.errors import ConfigError
from backend.core.trainer import TrainerSpec
from backend.hardware.forecast import tier_for
from backend.hardware.machine import survey
from backend.trainers.adatad.spec import SPEC as ADATAD
from backend.trainers.mdfed.spec import SPEC as MDFED
from backend.trainers.moe_rtdetr.spec import SPEC as MOE_RTDETR
from backend.trainers.motrv2.spec import SPEC as MOTRV2
from backend.trainers.yolo.spec import SPEC as YOLO

Catalog = Mapping[str, TrainerSpec]

CATALOG: Catalog = {spec.kind: spec for spec in (YOLO, MOE_RTDETR, MDFED, MOTRV2, ADATAD)}

FAST, SET = "--fast", "--set"
KEPT = "what was set"
KEEP = "hardware.keep"


@dataclass(frozen=True)
class Loaded:
    """A config, its trainer, and the source of each value by dotted key: a file, ``FAST``,
    ``SET``, ``KEPT`` or ``compose.DEFAULT``. ``fast`` is what ``FAST`` changed."""

    config: TrainConfig
    spec: TrainerSpec
    origins: Mapping[str, str]
    fast: Mapping[str, object]


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
    """A validated config from a mapping and dotted overrides, which the tier leaves alone."""
    composed = compose.apply_overrides(data, overrides)
    spec = spec_of(composed.get("kind"), source, catalog)
    config = cast(TrainConfig, compose.validate(spec.config, composed, source))
    return kept(config, spec, compose.flatten(dict(overrides)))


def kept(config: TrainConfig, spec: TrainerSpec, keys: Iterable[str]) -> TrainConfig:
    """The config with those of ``keys`` that the machine may change in ``hardware.keep``, where
    a tier is to scale it. Raises ConfigError if a key is kept that no tier changes."""
    hardware = getattr(config, "hardware", None)
    if spec.knobs is None or not isinstance(hardware, HardwareConfig) or not hardware.auto_scale:
        return config
    if unknown := [key for key in hardware.keep if key not in spec.knobs.keys]:
        raise ConfigError(
            f"{KEEP}: a tier does not change '{unknown[0]}'; of {spec.kind} it may change "
            f"{', '.join(spec.knobs.keys)}"
        )
    keep = dict.fromkeys((*hardware.keep, *(key for key in keys if key in spec.knobs.keys)))
    if len(keep) == len(hardware.keep):
        return config
    return config.replace({KEEP: tuple(keep)})


def load_config(
    path: Path, overrides: Mapping[str, object] | None = None, catalog: Catalog = CATALOG
) -> TrainConfig:
    """The config in a YAML file, with overrides. Raises ConfigError."""
    return load(path, overrides, catalog=catalog).config


def load(
    path: Path,
    overrides: Mapping[str, object] | None = None,
    fast: bool = False,
    catalog: Catalog = CATALOG,
) -> Loaded:
    """The same with the sources of its values; ``fast`` puts the trainer's short first training
    between the file and the overrides. Raises ConfigError."""
    composed, chosen = compose.load(path), dict(overrides or {})
    changes: dict[str, object] = {}
    if fast:
        changes = _fast(resolve(composed.data, chosen, str(path), catalog), catalog)
        composed = composed.overridden(changes, FAST)
    config = resolve(composed.data, chosen, str(path), catalog)
    spec = catalog[config.kind]
    composed = composed.overridden(chosen, SET)
    config = kept(config, spec, changes)
    origins = {key: composed.origin(key) for key in config.flat()}
    if origins.get(KEEP) == compose.DEFAULT and config.flat()[KEEP] != "[]":
        origins[KEEP] = KEPT
    told = {key: value for key, value in changes.items() if origins.get(key) == FAST}
    return Loaded(config, spec, origins, told)


def _fast(config: TrainConfig, catalog: Catalog) -> dict[str, object]:
    """What a short first training changes of a config."""
    spec = catalog[config.kind]
    if spec.fast is None:
        raise ConfigError(
            f"--fast: the trainer '{spec.kind}' has no short first training; lower its epochs "
            "with --set"
        )
    flat = config.flat()
    changes = spec.fast(flat, tier_for(config, survey()).tier.name)
    return {key: value for key, value in changes.items() if str(value) != flat[key]}


def json_schema(spec: TrainerSpec) -> str:
    """The JSON Schema of a trainer's config, with ``extends`` as files may have it."""
    schema = spec.config.model_json_schema()
    schema["properties"]["extends"] = {
        "description": "Parent files, relative to this one; later ones win.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    schema.pop("required", None)  # a parent may bring what a file itself lacks
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
