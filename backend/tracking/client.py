"""An explicit MLflow client: no global run, no global URI, no telemetry, no chatter."""

from collections.abc import Callable
from functools import partial
from typing import Any

from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from backend.core.errors import StoreError
from backend.tracking.errors import store_errors
from backend.tracking.home import Home
from backend.tracking.names import CHECKPOINT, KIND, MODEL, Kind
from backend.tracking.silence import silence_mlflow

silence_mlflow()

MODELS_PER_PAGE = 100  # MLflow's limit


def connect(home: Home) -> MlflowClient:
    """A client of the home's tracking store and registry. Raises StoreError."""
    with store_errors(home):
        try:
            return MlflowClient(tracking_uri=home.tracking_uri, registry_uri=home.tracking_uri)
        except ModuleNotFoundError as error:
            raise StoreError(
                f"{home}: needs the package '{error.name}', which is not installed"
            ) from error


def experiment_id(home: Home, client: MlflowClient, name: str) -> str:
    """The experiment of this name, made if it is new; ours keep their artifacts in the home."""
    found = client.get_experiment_by_name(name)
    if found is None:
        location = str(home.artifacts / slug(name)) if home.database else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def find_runs(client: MlflowClient, kind: Kind, **tags: str) -> list[str]:
    """The ids of the active runs of a kind that carry these tags, newest first."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    wanted = {KIND: kind, **tags}
    query = " and ".join(f"tags.`{key}` = {_quoted(value)}" for key, value in wanted.items())
    found = client.search_runs(experiments, query, order_by=["start_time DESC"])
    return [run.info.run_id for run in found]


def find_models(client: MlflowClient, run_id: str) -> list[LoggedModel]:
    """The checkpoints that a run has logged and not deleted."""
    experiment = client.get_run(run_id).info.experiment_id
    query = f"source_run_id = '{run_id}' and tags.`{KIND}` = '{CHECKPOINT}'"
    return all_pages(
        partial(client.search_logged_models, [experiment], query, max_results=MODELS_PER_PAGE)
    )


def find_versions(client: MlflowClient, model: str) -> list[ModelVersion]:
    """All versions of a registered model, whoever registered them."""
    return all_pages(partial(client.search_model_versions, f"name = {_quoted(model)}"))


def find_registered(client: MlflowClient, model: str) -> list[LoggedModel]:
    """The files that Assay uploaded for versions of a registered model."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    query = f"tags.`{KIND}` = 'registered' and tags.`{MODEL}` = {_quoted(model)}"
    return all_pages(
        partial(client.search_logged_models, experiments, query, max_results=MODELS_PER_PAGE)
    )


def all_pages(search: Callable[..., Any]) -> list[Any]:
    """Everything that one of MLflow's searches finds."""
    page = search()
    found = list(page)
    while page.token:
        page = search(page_token=page.token)
        found += page
    return found


def discard_run(client: MlflowClient, run_id: str) -> None:
    """Mark a run and its checkpoints as deleted; may be repeated."""
    for model in find_models(client, run_id):
        client.delete_logged_model(model.model_id)
    client.delete_run(run_id)


def slug(name: str) -> str:
    """A name as MLflow takes it for metrics and as every system takes it for folders."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    return kept.strip(".") or "experiment"


def _quoted(value: str) -> str:
    quote = '"' if "'" in value else "'"
    return f"{quote}{value}{quote}"
