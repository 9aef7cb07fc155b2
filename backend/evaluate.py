"""Score checkpoints today, by one code and one config; never the same evaluation twice."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from backend import launch
from backend.catalog import CATALOG, Catalog
from backend.config.schema import TrainConfig
from backend.core.errors import StoreError
from backend.core.records import Checkpoint, EvalReport
from backend.core.trainer import EvalRequest
from backend.core.workdir import write_atomic
from backend.tracking.home import Home


class Evaluations:
    """The evaluations kept in a home, by the digest of the weights that were scored."""

    def __init__(self, home: Home) -> None:
        self._folder = home.root / "evaluations"

    def known(self, sha256: str, split: str) -> tuple[EvalReport, ...]:
        """Those of these weights on this split whose evidence still exists, newest first."""
        found = [r for r in reversed(self._read(sha256)) if r.split == split]
        return tuple(r for r in found if r.evidence and Path(r.evidence).is_file())

    def keep(self, sha256: str, report: EvalReport) -> None:
        """Remember an evaluation. Raises StoreError if the home cannot be written."""
        earlier = self._read(sha256)
        if report in earlier:
            return
        lines = [item.model_dump_json() for item in (*earlier, report)]
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self._folder}: cannot be made ({error.strerror})") from error
        write_atomic(self._file(sha256), "\n".join(lines) + "\n")

    def _file(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.jsonl"

    def _read(self, sha256: str) -> list[EvalReport]:
        """What is remembered; a file of another version or a damaged one is no memory."""
        try:
            lines = self._file(sha256).read_text(encoding="utf-8").splitlines()
            return [EvalReport.model_validate_json(line) for line in lines]
        except (FileNotFoundError, ValidationError, UnicodeDecodeError):
            return []


def evaluate(
    home: Home,
    config: TrainConfig,
    asked: Sequence[tuple[Checkpoint, EvalRequest]],
    folder: Path,
    workers: launch.Workers,
    catalog: Catalog = CATALOG,
) -> list[EvalReport]:
    """Score each checkpoint as its request asks; what was scored before is not scored again.

    Files stay in ``folder``. Raises as ``launch.evaluate`` does.
    """
    kept = Evaluations(home)
    requests = [
        request.model_copy(update={"known": kept.known(checkpoint.sha256, request.split)})
        for checkpoint, request in asked
    ]
    reports = launch.evaluate(config, requests, folder, workers, catalog)
    named = []
    for (checkpoint, request), report in zip(asked, reports, strict=True):
        kept.keep(checkpoint.sha256, report)
        named.append(report.model_copy(update={"checkpoint": request.checkpoint}))
    return named
