"""Small files beside a run in MLflow, written whole or not at all."""

from pathlib import Path

from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from backend.core.workdir import write_atomic


def put_text(client: MlflowClient, run_id: str, name: str, text: str) -> None:
    """Write an artifact, replacing an older one of the same name."""
    folder = local_folder(client.get_run(run_id).info.artifact_uri)
    if folder is None:
        client.log_text(run_id, text, name)
        return
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)  # MLflow copies, so a reader could see half a file


def put_file(client: MlflowClient, run_id: str, path: Path, folder: str | None = None) -> None:
    """Write a copy of a file, if it exists, below the run's artifacts or a folder of them."""
    if path.is_file():
        client.log_artifact(run_id, str(path), folder)


def local_folder(uri: str) -> Path | None:
    """The folder of a local artifact URI; None if a server keeps it."""
    return Path(local_file_uri_to_path(uri)) if is_local_uri(uri) else None
