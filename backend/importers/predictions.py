"""Predictions of a model that others trained, scored against ground truth."""

from pathlib import Path

from backend.config.schema import Section
from backend.core.digest import sha256_of_tree
from backend.core.errors import CheckpointError, DataError
from backend.core.records import EvalReport
from backend.importers.source import Found, Weights
from backend.scoring.evidence import Evidence, Task
from backend.scoring.files import report_of


def read(task: Task, files: tuple[Path, Path], options: Section, checkpoint: Path | None) -> Found:
    """Score ``files`` (ground truth, predictions) by the options of their task.

    ``checkpoint`` is the weight file that made them, only digested. Raises DataError or
    CheckpointError.
    """
    gt, pred = files
    for what, path in (("ground truth", gt), ("predictions", pred)):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder with {what}")
    if checkpoint is not None and not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: no such weight file")
    evidence = task.read(gt, pred, options)
    metrics = evidence.scores().metrics

    def score(out: Path) -> EvalReport:
        report = report_of(task, evidence, files, options, out)
        said = str(checkpoint or pred)
        return report.model_copy(update={"checkpoint": said, "trainer": "predictions"})

    weights = (Weights(checkpoint, epoch=0, step=0, best=True),) if checkpoint else ()
    return Found(
        trainer="predictions",
        paths=(pred, gt),
        name=pred.stem,
        weights=weights,
        params=_params(task, evidence, files, options),
        headline=task.primary,
        specs=tuple(spec for spec in task.metrics if spec.name in metrics) or task.metrics,
        finished=True,
        score=score,
    )


def _params(
    task: Task, evidence: Evidence, files: tuple[Path, Path], options: Section
) -> dict[str, object]:
    gt, pred = files
    return {
        "task": task.name,
        "data": str(gt),
        "data_digest": evidence.truth_digest,
        "predictions": str(pred),
        "predictions_sha256": sha256_of_tree(pred),
        "evaluator": task.evaluator,
        "scoring": options.model_dump(mode="json"),
    }
