"""Registered models: versions that load anywhere, and which of them is the champion."""

import importlib.metadata
import importlib.util
import shutil
import tempfile
import time
import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from backend.core.digest import sha256
from backend.core.errors import CheckpointError, StoreError
from backend.core.records import Checkpoint, Comparison, PromotionDecision
from backend.core.trainer import TrainerSpec
from backend.core.workdir import WorkDir
from backend.tracking import names
from backend.tracking.client import connect, experiment_id, find_runs
from backend.tracking.errors import store_errors
from backend.tracking.home import Home
from backend.tracking.rows import VersionRow
from backend.tracking.store import served_checkpoint
from backend.tracking.summaries import EXPERIMENT, log_decision

SERVING_REQUIREMENTS = ("mlflow", "pandas", "pillow", "pyyaml")
BOXES = Schema(
    [
        ColSpec("long", "image"),
        *(ColSpec("double", corner) for corner in ("x1", "y1", "x2", "y2")),
        ColSpec("double", "score"),
        ColSpec("string", "label"),
    ]
)
SCORE_FLOOR = ParamSchema([ParamSpec("conf", "double", 0.25)])


class Registry:
    """MLflow's model registry, with the aliases ``champion`` and ``previous``."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._client = connect(home)

    def register(
        self,
        decision: PromotionDecision,
        spec: TrainerSpec,
        config_yaml: str,
        evidence: Comparison | None = None,
    ) -> PromotionDecision:
        """Make the decision's checkpoint the champion; the decision with its version.

        The version is an MLflow pyfunc that loads in a process that knows nothing of Assay, with
        the decision and its comparison inside. The aliases move last, so that nothing changes if
        anything fails; then what was made is deleted again. Raises CheckpointError if the file
        is not the one that was judged, or StoreError.
        """
        _verify(decision.checkpoint, spec)
        with store_errors(self._home), ExitStack() as undo:
            previous = self._aliases(decision.model).get(names.CHAMPION, "")
            with tempfile.TemporaryDirectory(dir=self._home.root, prefix=".model-") as folder:
                model = Path(folder) / "model"
                _save(model, decision, spec, config_yaml, evidence)
                uploaded = self._upload(undo, model, decision)
            version = self._create_version(undo, decision, spec, uploaded)
            done = decision.model_copy(update={"version": version, "previous": previous})
            self._record(undo, done)
            self._point(undo, decision.model, champion=version, previous=previous)
            undo.pop_all()
        return done

    def record(self, decision: PromotionDecision) -> None:
        """Keep a decision that changes nothing."""
        log_decision(self._home, decision)

    def rollback(self, model: str) -> str:
        """Swap champion and previous version, and record it; the new champion's version.

        Raises StoreError if there is nothing to go back to.
        """
        with store_errors(self._home), ExitStack() as undo:
            aliases = self._aliases(model)
            champion = aliases.get(names.CHAMPION, "")
            target = aliases.get(names.PREVIOUS, "")
            if not target or target == champion:
                raise StoreError(f"model '{model}' has no earlier champion to go back to")
            self._record(undo, self._retreat(model, champion, target))
            self._point(undo, model, champion=target, previous=champion)
            undo.pop_all()
        return target

    def champion_version(self, model: str) -> str:
        """The version behind the ``champion`` alias, whoever registered it; empty if none."""
        with store_errors(self._home):
            return self._aliases(model).get(names.CHAMPION, "")

    def _aliases(self, model: str) -> dict[str, str]:
        try:
            aliases = self._client.get_registered_model(model).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
        return {alias: str(version) for alias, version in aliases.items()}

    def _upload(self, undo: ExitStack, folder: Path, decision: PromotionDecision) -> LoggedModel:
        model = self._client.create_logged_model(
            experiment_id(self._home, self._client, EXPERIMENT),
            name=f"{decision.model}-{decision.key}".replace(".", "-"),
            source_run_id=self._run_id(decision.checkpoint),
            tags={names.KIND: "registered", names.DECISION: decision.key},
        )
        undo.callback(self._client.delete_logged_model, model.model_id)
        files = get_artifact_repository(model.artifact_location, self._home.tracking_uri)
        undo.callback(files.delete_artifacts)
        self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, "READY")
        return model

    def _create_version(
        self,
        undo: ExitStack,
        decision: PromotionDecision,
        spec: TrainerSpec,
        model: LoggedModel,
    ) -> str:
        try:
            self._client.create_registered_model(decision.model)
            undo.callback(self._client.delete_registered_model, decision.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = self._client.create_model_version(
            decision.model,
            model.artifact_location,
            run_id=self._run_id(decision.checkpoint),
            tags=_version_tags(decision, spec),
            description="\n".join(decision.reasons),
            # a server wants to know whose files these are; without one, MLflow 3.17 would look
            # for the model at its global tracking URI
            model_id=None if self._home.database else model.model_id,
        )
        undo.callback(self._client.delete_model_version, decision.model, version.version)
        return str(version.version)

    def _record(self, undo: ExitStack, decision: PromotionDecision) -> None:
        undo.callback(self._client.delete_run, log_decision(self._home, decision))

    def _point(self, undo: ExitStack, model: str, champion: str, previous: str) -> None:
        """Move both aliases; killed in between, they still name versions that served."""
        point = partial(self._client.set_registered_model_alias, model, names.PREVIOUS)
        before = self._aliases(model).get(names.PREVIOUS)
        if previous:
            point(previous)
            if before:
                undo.callback(point, before)
            else:
                undo.callback(self._client.delete_registered_model_alias, model, names.PREVIOUS)
        self._client.set_registered_model_alias(model, names.CHAMPION, champion)

    def _retreat(self, model: str, champion: str, target: str) -> PromotionDecision:
        version = self._client.get_model_version(model, target)
        if names.CHECKPOINT not in version.tags:
            raise StoreError(
                f"model '{model}': version {target}, its '{names.PREVIOUS}', was not registered "
                "by Assay, which cannot vouch for it; move the alias in MLflow"
            )
        row = VersionRow(model, target, version.source, version.tags)
        return PromotionDecision(
            key=self._home.new_key("rollback"),
            created=time.time(),
            model=model,
            checkpoint=served_checkpoint(self._home, row),
            policy={"rollback": True},
            evidence="",
            promote=True,
            reasons=(f"rolled back from version {champion} to version {target}",),
            version=target,
            previous=champion,
        )

    def _run_id(self, checkpoint: Checkpoint) -> str | None:
        if not checkpoint.run:
            return None
        found = find_runs(self._client, "training", **{names.RUN: checkpoint.run})
        return found[0] if found else None


def _verify(checkpoint: Checkpoint, spec: TrainerSpec) -> None:
    path = Path(checkpoint.path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weight file")
    if path.suffix not in spec.checkpoint_suffixes:
        raise CheckpointError(
            f"{path}: cannot be registered; {spec.title} serves "
            f"{' or '.join(spec.checkpoint_suffixes)} files"
        )
    if sha256(path) != checkpoint.sha256:
        raise CheckpointError(f"{path}: the file has changed since it was judged; judge it again")


def _save(
    folder: Path,
    decision: PromotionDecision,
    spec: TrainerSpec,
    config_yaml: str,
    evidence: Comparison | None,
) -> None:
    """Write the MLflow model: code, weights with their facts, config, evidence."""
    parts = _stage(folder.with_name("parts"), decision, config_yaml, evidence)
    config_class = f"{spec.config.__module__}:{spec.config.__qualname__}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints about typing that MLflow prints on its import, too
        from mlflow.pyfunc import save_model  # noqa: PLC0415

        save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            model_config={
                "entry": spec.entry,
                "config_class": config_class,
                "checkpoint": Path(decision.checkpoint.path).name,
            },
            artifacts={part.stem: str(part) for part in sorted(parts.iterdir())},
            code_paths=[str(path) for path in _code((spec.entry, config_class))],
            pip_requirements=[_pinned(name) for name in _requirements(spec)],
            signature=ModelSignature(outputs=BOXES, params=SCORE_FLOOR),
        )


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


def _version_tags(decision: PromotionDecision, spec: TrainerSpec) -> dict[str, str]:
    return {
        names.DECISION: decision.key,
        names.COMPARISON: decision.evidence,
        "forced": str(decision.forced).lower(),
        names.TRAINER: spec.kind,
        names.RUN: decision.checkpoint.run,
        names.SHA256: decision.checkpoint.sha256,
        names.CHECKPOINT: decision.checkpoint.model_dump_json(),
    }
