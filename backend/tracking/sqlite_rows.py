"""A home's MLflow database, read as SQLite.

Needs no MLflow, whose import takes seconds, and reads curves of any length at once. Only for
the schema that ``database.SCHEMA`` names; MLflow itself reads any other.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from backend.tracking.names import CHECKPOINT, KIND, Kind
from backend.tracking.rows import (
    ModelRow,
    Point,
    RunRow,
    VersionRow,
    contents,
    local_file,
    real,
)

OURS = (
    "SELECT run_uuid FROM runs JOIN tags USING (run_uuid) "
    "WHERE lifecycle_stage = 'active' AND tags.key = ? AND tags.value = ?"
)
MODELS = (
    "SELECT model_id FROM logged_models JOIN logged_model_tags USING (model_id) "
    "WHERE source_run_id = ? AND lifecycle_stage = 'active' AND tag_key = ? AND tag_value = ?"
)
VALUE = "CASE WHEN is_nan THEN NULL ELSE value END"


class SqliteRows:
    """Rows over an open read-only connection; ``artifacts`` is the home's folder of them."""

    def __init__(self, connection: sqlite3.Connection, artifacts: Path) -> None:
        self._connection = connection
        self._artifacts = artifacts

    def runs(self, kind: Kind) -> list[RunRow]:
        ours = (KIND, kind)
        tags = self._pairs(
            f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN ({OURS})", ours
        )
        params = self._pairs(
            f"SELECT run_uuid, key, value FROM params WHERE run_uuid IN ({OURS})", ours
        )
        metrics = self._pairs(
            f"SELECT run_uuid, key, {VALUE} FROM latest_metrics WHERE run_uuid IN ({OURS})", ours
        )
        found = self._connection.execute(
            "SELECT run_uuid, name, status, start_time, end_time, artifact_uri FROM runs "
            f"WHERE run_uuid IN ({OURS}) ORDER BY start_time DESC, run_uuid",
            ours,
        )
        return [
            RunRow(i, name, status, start, end, uri, params[i], _real(metrics[i]), tags[i])
            for i, name, status, start, end, uri in found
        ]

    def history(self, run_id: str, key: str) -> list[Point]:
        return self._connection.execute(
            f"SELECT step, {VALUE}, timestamp / 1000.0 FROM metrics "
            "WHERE run_uuid = ? AND key = ? ORDER BY step, timestamp",
            (run_id, key),
        ).fetchall()

    def models(self, run_id: str) -> list[ModelRow]:
        ours = (run_id, KIND, CHECKPOINT)
        tags = self._pairs(
            "SELECT model_id, tag_key, tag_value FROM logged_model_tags "
            f"WHERE model_id IN ({MODELS})",
            ours,
        )
        metrics = self._pairs(
            "SELECT model_id, metric_name, metric_value FROM logged_model_metrics "
            f"WHERE model_id IN ({MODELS}) ORDER BY metric_timestamp_ms",
            ours,
        )
        found = self._connection.execute(
            f"SELECT model_id FROM logged_models WHERE model_id IN ({MODELS}) "
            "ORDER BY creation_timestamp_ms, rowid",
            ours,
        )
        return [ModelRow(i, tags[i], _real(metrics[i])) for (i,) in found]

    def aliased(self, alias: str) -> list[VersionRow]:
        found = self._connection.execute(
            "SELECT name, version, source FROM registered_model_aliases "
            "JOIN model_versions USING (workspace, name, version) WHERE alias = ? ORDER BY name",
            (alias,),
        )
        return [
            VersionRow(name, str(version), source, self._version_tags(name, version))
            for name, version, source in found
        ]

    def text(self, run: RunRow, name: str) -> str | None:
        path = local_file(run.artifacts, self._artifacts, name)
        return path.read_text(encoding="utf-8") if path else None

    def files(self, run: RunRow, folder: str) -> dict[str, bytes]:
        return contents(local_file(run.artifacts, self._artifacts, folder))

    def _version_tags(self, name: str, version: int) -> dict[str, str]:
        query = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
        return dict(self._connection.execute(query, (name, version)))

    def _pairs(self, query: str, values: Iterable[str]) -> Mapping[str, dict[str, Any]]:
        """Owner to key to value."""
        owners: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for owner, key, value in self._connection.execute(query, tuple(values)):
            owners[owner][key] = value
        return owners


def _real(metrics: dict[str, float | None]) -> dict[str, float]:
    return {key: real(value) for key, value in metrics.items()}
