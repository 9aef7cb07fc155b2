"""Registered models: versions that load anywhere, and which of them is the champion."""

import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from backend.core.comparisons import Comparison
from backend.core.digest import sha256
from backend.core.errors import CheckpointError, StoreError
from backend.core.records import Checkpoint, PromotionDecision
from backend.core.trainer import TrainerSpec
from backend.core.workdir import exclusive
from backend.tracking import names
from backend.tracking.client import (
    connect,
    experiment_id,
    find_registered,
    find_runs,
    find_versions,
    slug,
)
from backend.tracking.errors import store_errors
from backend.tracking.home import Home
from backend.tracking.packaging import save_served_model
from backend.tracking.rows import VersionRow
from backend.tracking.store import served_checkpoint
from backend.tracking.summaries import EXPERIMENT, log_decision


class Registry:
    """MLflow's model registry, with the aliases ``champion`` and ``previous``.

    A promotion takes many steps, of which one counts: moving the alias ``champion``. Until then
    all that was made is tagged as pending; a process that dies leaves the old champion, and
    whoever holds the model next completes what was decided or deletes what was not.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._client = connect(home)
        self._held: set[str] = set()

    @contextmanager
    def hold(self, model: str) -> Iterator[None]:
        """Let nobody else of this home change the model meanwhile.

        Homes that share a server do not share the lock: for them the champion is looked at
        again before and after the alias moves. Raises BusyError if another process holds it.
        """
        if model in self._held:
            yield
            return
        database = self._home.database
        locks = (database.parent if database else self._home.root) / "locks"
        with store_errors(locks):
            locks.mkdir(exist_ok=True)
        busy = f"models:/{model}: another process is promoting or rolling back; try again later"
        with exclusive(locks / f"{slug(model)}.lock", busy):
            self._held.add(model)
            try:
                yield
            finally:
                self._held.remove(model)

    def register(
        self,
        decision: PromotionDecision,
        spec: TrainerSpec,
        config_yaml: str,
        evidence: Comparison | None = None,
    ) -> PromotionDecision:
        """Make the decision's checkpoint the champion; the decision with its version.

        The version is an MLflow pyfunc that loads in a process that knows nothing of Assay, with
        the decision and its comparison inside. If anything fails, what was made is deleted
        again. A decision that was carried out already changes nothing. Raises CheckpointError
        if the file is not the one that was judged, StoreError if the champion is no longer
        ``decision.previous``, or BusyError.
        """
        _verify(decision.checkpoint, spec)
        with store_errors(self._home), self.hold(decision.model):
            self.settle(decision.model)
            if done := self._carried_out(decision):
                return done
            self._expect(decision)
            with self._changing(decision):
                folder = self._staging(decision.model) / "model"
                save_served_model(folder, decision, spec, config_yaml, evidence)
                uploaded = self._upload(folder, decision)
                version = self._create_version(decision, spec, uploaded)
                done = decision.model_copy(update={"version": version})
                self._crown(done)
        return done

    def record(self, decision: PromotionDecision) -> None:
        """Keep a decision that changes nothing."""
        log_decision(self._home, decision)

    def rollback(self, model: str, to: str = "", by: str = "", because: str = "") -> str:
        """Make ``to`` the champion, by default the version before; the champion's version.

        The old champion becomes the previous version, so a second rollback undoes the first.
        Recorded like a promotion. Raises StoreError if there is nothing to go back to.
        """
        with store_errors(self._home), self.hold(model):
            self.settle(model)
            aliases = self._aliases(model)
            champion = aliases.get(names.CHAMPION, "")
            target = to or aliases.get(names.PREVIOUS, "")
            if not target:
                raise StoreError(f"model '{model}' has no earlier champion to go back to")
            if target == champion:
                raise StoreError(f"model '{model}': version {target} is the champion already")
            decision = self._retreat(model, champion, target)
            decision = decision.model_copy(update={"by": by, "because": because})
            with self._changing(decision):
                for key, value in self._pending(decision).items():
                    self._client.set_model_version_tag(model, target, key, value)
                self._crown(decision)
        return target

    def champion_version(self, model: str) -> str:
        """The version behind the ``champion`` alias, whoever registered it; empty if none."""
        with store_errors(self._home):
            return self._aliases(model).get(names.CHAMPION, "")

    def settle(self, model: str) -> str:
        """Complete or delete what an interrupted promotion or rollback of this model left.

        Returns the key of the decision that this completed, if any. May be interrupted and
        repeated itself. Touches nothing that another home has under way.
        """
        with store_errors(self._home), self.hold(model):
            shutil.rmtree(self._staging(model), ignore_errors=True)
            champion = self._aliases(model).get(names.CHAMPION, "")
            completed = ""
            for version in find_versions(self._client, model):
                key = version.tags.get(names.PENDING, "")
                if not key or not self._ours(version.tags):
                    continue
                if str(version.version) == champion:
                    self._complete(model, version)
                    completed = key
                else:
                    self._discard(model, version, key)
            self._sweep(model)
        return completed

    def _complete(self, model: str, version: ModelVersion) -> None:
        """What follows once the champion has changed."""
        if previous := version.tags.get(names.PREVIOUS):
            self._client.set_registered_model_alias(model, names.PREVIOUS, previous)
        self._client.delete_registered_model_tag(model, names.PENDING)
        self._client.delete_model_version_tag(model, version.version, names.PENDING)

    def _discard(self, model: str, version: ModelVersion, key: str) -> None:
        """Undo a decision that did not come to change the champion."""
        for run_id in find_runs(self._client, "decision", **{names.DECISION: key}):
            self._client.delete_run(run_id)
        if version.tags.get(names.DECISION) == key:
            self._client.delete_model_version(model, version.version)
        else:  # an older version, to which a rollback was to go
            self._client.delete_model_version_tag(model, version.version, names.PENDING)

    def _sweep(self, model: str) -> None:
        """Delete files that were uploaded for no version, and a model that has none."""
        versions = find_versions(self._client, model)
        used = {version.tags.get(names.DECISION) for version in versions}
        for uploaded in find_registered(self._client, model):
            if self._ours(uploaded.tags) and uploaded.tags[names.DECISION] not in used:
                files = get_artifact_repository(
                    uploaded.artifact_location, self._home.tracking_uri
                )
                files.delete_artifacts()
                self._client.delete_logged_model(uploaded.model_id)
        made = self._model(model)
        if made and not versions and names.PENDING in made.tags and self._ours(made.tags):
            self._client.delete_registered_model(model)

    @contextmanager
    def _changing(self, decision: PromotionDecision) -> Iterator[None]:
        """Steps of which the last one changes the champion.

        If one fails, what was made is deleted, unless the champion has changed nevertheless: an
        answer may be lost on its way. Raises StoreError if another home has changed it again.
        """
        try:
            yield
        except BaseException as error:
            with suppress(Exception):
                if self.settle(decision.model) == decision.key and isinstance(error, Exception):
                    return
            raise
        try:
            completed = self.settle(decision.model)
        except StoreError:
            return  # the next call completes it
        if completed != decision.key:
            raise self._changed(decision)

    def _crown(self, decision: PromotionDecision) -> None:
        """Record the decision, then carry it out by the one step that counts."""
        log_decision(self._home, decision)
        self._expect(decision)
        self._client.set_registered_model_alias(decision.model, names.CHAMPION, decision.version)

    def _expect(self, decision: PromotionDecision) -> None:
        """Raises StoreError unless the champion is the one that the decision is about."""
        if self._aliases(decision.model).get(names.CHAMPION, "") != decision.previous:
            raise self._changed(decision)

    def _changed(self, decision: PromotionDecision) -> StoreError:
        now = self._aliases(decision.model).get(names.CHAMPION, "")
        was = f"version {decision.previous}" if decision.previous else "no version"
        return StoreError(
            f"models:/{decision.model}@champion was {was} when this checkpoint was judged and is "
            f"{f'version {now}' if now else 'gone'} now; judge it again"
        )

    def _carried_out(self, decision: PromotionDecision) -> PromotionDecision | None:
        """This very decision with its version, if that is the champion."""
        champion = self._aliases(decision.model).get(names.CHAMPION, "")
        tags = self._client.get_model_version(decision.model, champion).tags if champion else {}
        if tags.get(names.DECISION) != decision.key:
            return None
        return decision.model_copy(update={"version": champion})

    @property
    def _owner(self) -> str:
        """Who may undo what is pending: any process of a home, or of one home at a server."""
        here = f"{socket.gethostname()}:{self._home.root}"
        return "home" if self._home.database else here

    def _ours(self, tags: Mapping[str, str]) -> bool:
        return tags.get(names.OWNER) == self._owner

    def _pending(self, decision: PromotionDecision) -> dict[str, str]:
        return {
            names.OWNER: self._owner,
            names.PREVIOUS: decision.previous,
            names.PENDING: decision.key,
        }

    def _staging(self, model: str) -> Path:
        return self._home.root / f".model-{slug(model)}"

    def _aliases(self, model: str) -> dict[str, str]:
        found = self._model(model)
        return {a: str(version) for a, version in found.aliases.items()} if found else {}

    def _model(self, model: str) -> RegisteredModel | None:
        try:
            return self._client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _upload(self, folder: Path, decision: PromotionDecision) -> LoggedModel:
        model = self._client.create_logged_model(
            experiment_id(self._home, self._client, EXPERIMENT),
            name=f"{decision.model}-{decision.key}".replace(".", "-"),
            source_run_id=self._run_id(decision.checkpoint),
            tags={
                names.KIND: "registered",
                names.MODEL: decision.model,
                names.DECISION: decision.key,
                names.OWNER: self._owner,
            },
        )
        self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, "READY")
        return model

    def _create_version(
        self, decision: PromotionDecision, spec: TrainerSpec, model: LoggedModel
    ) -> str:
        try:
            self._client.create_registered_model(
                decision.model, tags={names.OWNER: self._owner, names.PENDING: decision.key}
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = self._client.create_model_version(
            decision.model,
            model.artifact_location,
            run_id=self._run_id(decision.checkpoint),
            tags={**_version_tags(decision, spec), **self._pending(decision)},
            description="\n".join([*_forced(decision), *decision.reasons]),
            # a server wants to know whose files these are; without one, MLflow 3.17 would look
            # for the model at its global tracking URI
            model_id=None if self._home.database else model.model_id,
        )
        return str(version.version)

    def _retreat(self, model: str, champion: str, target: str) -> PromotionDecision:
        known = {str(v.version): v for v in find_versions(self._client, model)}
        if target not in known:
            raise StoreError(f"model '{model}' has no version {target}; it has {', '.join(known)}")
        if names.CHECKPOINT not in known[target].tags:
            raise StoreError(
                f"model '{model}': version {target} was not registered by Assay, which cannot "
                "vouch for it; move the alias in MLflow"
            )
        row = VersionRow(model, target, known[target].source, known[target].tags)
        checkpoint = served_checkpoint(self._home, row)
        return PromotionDecision(
            key=self._home.new_key("rollback"),
            created=time.time(),
            model=model,
            checkpoint=checkpoint,
            policy={"rollback": True},
            evidence="",
            promote=True,
            reasons=(f"rolled back from version {champion} to version {target}",),
            version=target,
            previous=champion,
            digests={"checkpoint": checkpoint.sha256},
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


def _version_tags(decision: PromotionDecision, spec: TrainerSpec) -> dict[str, str]:
    return {
        names.DECISION: decision.key,
        names.COMPARISON: decision.evidence,
        "forced": str(decision.forced).lower(),
        names.TRAINER: spec.kind,
        names.RUN: decision.checkpoint.run,
        names.SHA256: decision.checkpoint.sha256,
        names.CHECKPOINT: decision.checkpoint.model_dump_json(),
        names.BY: decision.by,
        names.DATA_SHA: decision.digests.get("target", ""),
    }


def _forced(decision: PromotionDecision) -> list[str]:
    return [f"forced: {decision.because}"] if decision.forced else []
