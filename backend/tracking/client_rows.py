"""Any MLflow database or server, read through its client: complete, and slower."""

import tempfile
from functools import partial
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from backend.tracking.artifacts import local_folder
from backend.tracking.client import all_pages, connect, find_models
from backend.tracking.home import Home
from backend.tracking.names import KIND, Kind
from backend.tracking.rows import (
    ModelRow,
    Point,
    RunRow,
    VersionRow,
    contents,
    local_file,
    real,
)


class ClientRows:
    """Rows over an MlflowClient."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._client: MlflowClient = connect(home)

    def runs(self, kind: Kind) -> list[RunRow]:
        experiments = [e.experiment_id for e in self._client.search_experiments()]
        search = partial(
            self._client.search_runs,
            experiments,
            f"tags.`{KIND}` = '{kind}'",
            order_by=["attributes.start_time DESC"],
        )
        return [_run_row(run) for run in all_pages(search)]

    def history(self, run_id: str, key: str) -> list[Point]:
        points = self._client.get_metric_history(run_id, key)  # it reads all pages by itself
        ordered = sorted(points, key=lambda point: (point.step, point.timestamp))
        return [(point.step, point.value, point.timestamp / 1000) for point in ordered]

    def models(self, run_id: str) -> list[ModelRow]:
        found = sorted(find_models(self._client, run_id), key=lambda m: m.creation_timestamp)
        return [
            ModelRow(
                model.model_id,
                model.tags,
                {
                    m.key: real(m.value)
                    for m in sorted(model.metrics or [], key=lambda m: m.timestamp)
                },
            )
            for model in found
        ]

    def aliased(self, alias: str) -> list[VersionRow]:
        rows = []
        for model in all_pages(self._client.search_registered_models):
            if alias in model.aliases:
                version = self._client.get_model_version(model.name, model.aliases[alias])
                row = VersionRow(model.name, str(version.version), version.source, version.tags)
                rows.append(row)
        return sorted(rows, key=lambda row: row.model)

    def text(self, run: RunRow, name: str) -> str | None:
        if local_folder(run.artifacts) is not None:
            path = local_file(run.artifacts, self._home.artifacts, name)
            return path.read_text(encoding="utf-8") if path else None
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = Path(self._client.download_artifacts(run.run_id, name, folder))
            except MlflowException as error:
                if "404" in str(error) or error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
            return path.read_text(encoding="utf-8")

    def files(self, run: RunRow, folder: str) -> dict[str, bytes]:
        if local_folder(run.artifacts) is not None:
            return contents(local_file(run.artifacts, self._home.artifacts, folder))
        if not self._client.list_artifacts(run.run_id, folder):
            return {}
        with tempfile.TemporaryDirectory() as place:
            return contents(Path(self._client.download_artifacts(run.run_id, folder, place)))


def _run_row(run: Run) -> RunRow:
    info, data = run.info, run.data
    return RunRow(
        run_id=info.run_id,
        name=info.run_name or "",
        status=info.status,
        started=info.start_time,
        ended=info.end_time,
        artifacts=info.artifact_uri,
        params=data.params,
        metrics={key: real(value) for key, value in data.metrics.items()},
        tags=data.tags,
    )
