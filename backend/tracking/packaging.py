"""What a registered version consists of: an MLflow model that needs nothing of this machine."""

import importlib.metadata
import importlib.util
import shutil
import warnings
from pathlib import Path

import yaml
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from backend.config.compose import flatten
from backend.core.comparisons import Comparison
from backend.core.records import PromotionDecision
from backend.core.trainer import TrainerSpec
from backend.core.workdir import WorkDir
from backend.tracking import names
from backend.tracking.tables import TABLES

SERVING_REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow", "pydantic", "pyyaml")
CONFIDENCE = 0.25
"""Lowest score that counts, where a trainer has no threshold of its own."""


def save_served_model(
    folder: Path,
    decision: PromotionDecision,
    spec: TrainerSpec,
    config_yaml: str,
    evidence: Comparison | None,
) -> None:
    """Write the MLflow model: code, weights with their facts, config, evidence."""
    parts = _stage(folder.with_name("parts"), decision, config_yaml, evidence)
    config_class = f"{spec.config.__module__}:{spec.config.__qualname__}"
    conf = confidence(spec, config_yaml)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints about typing that MLflow prints on its import, too
        from mlflow.pyfunc import save_model  # noqa: PLC0415

        save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            model_config={
                "entry": spec.entry,
                "config_class": config_class,
                "task": spec.task,
                "conf": conf,
                "checkpoint": Path(decision.checkpoint.path).name,
            },
            artifacts={part.stem: str(part) for part in sorted(parts.iterdir())},
            code_paths=[str(path) for path in _code((spec.entry, config_class))],
            pip_requirements=[_pinned(name) for name in _requirements(spec)],
            signature=ModelSignature(
                outputs=_outputs(spec), params=ParamSchema([ParamSpec("conf", "double", conf)])
            ),
        )


def confidence(spec: TrainerSpec, config_yaml: str) -> float:
    """The threshold that the model was evaluated and gated with."""
    config = flatten(yaml.safe_load(config_yaml) or {})
    keys = spec.levers.get("threshold", ())
    return next((float(config[key]) for key in keys if key in config), CONFIDENCE)


def _outputs(spec: TrainerSpec) -> Schema:
    return Schema([ColSpec(kind, name) for name, kind in TABLES[spec.task].columns.items()])


def _stage(
    parts: Path, decision: PromotionDecision, config_yaml: str, evidence: Comparison | None
) -> Path:
    """The model's artifacts, laid out like a work directory, so that it can be judged again."""
    weights = Path(decision.checkpoint.path)
    for name in (names.CHECKPOINT, "evidence"):
        (parts / name).mkdir(parents=True)
    facts = weights.with_suffix(".json")
    for path in (weights, facts) if facts.is_file() else (weights,):
        shutil.copy2(path, parts / names.CHECKPOINT)
    (parts / "config.yaml").write_text(config_yaml, encoding="utf-8")
    run = WorkDir(weights.parent.parent).run
    if run.is_file():
        shutil.copy2(run, parts)
    json = decision.model_dump_json(indent=2)
    (parts / "evidence" / names.DECISION_FILE).write_text(json, encoding="utf-8")
    if evidence is not None:
        json = evidence.model_dump_json(indent=2)
        (parts / "evidence" / names.COMPARISON_FILE).write_text(json, encoding="utf-8")
    return parts


def _code(entries: tuple[str, ...]) -> list[Path]:
    """The packages that a trainer needs: this one, and its own if it comes from elsewhere."""
    found = []
    for package in dict.fromkeys(("backend", *(entry.partition(".")[0] for entry in entries))):
        spec = importlib.util.find_spec(package.partition(":")[0])
        if spec is not None and spec.submodule_search_locations:
            found.append(Path(next(iter(spec.submodule_search_locations))))
        elif spec is not None and spec.origin:
            found.append(Path(spec.origin))
    return found


def _requirements(spec: TrainerSpec) -> list[str]:
    return sorted({*SERVING_REQUIREMENTS, *spec.pip_requirements})


def _pinned(requirement: str) -> str:
    """The version that is installed here, without the build (``+cpu``)."""
    try:
        version = importlib.metadata.version(requirement)
    except importlib.metadata.PackageNotFoundError:
        return requirement
    return f"{requirement}=={version.partition('+')[0]}"
