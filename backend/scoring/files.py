"""Files of ground truth and predictions as an evaluation, whoever made them."""

import json
from collections.abc import Mapping
from pathlib import Path

from backend.config.schema import Section
from backend.core.errors import StoreError
from backend.core.records import EvalReport
from backend.scoring.evidence import Evidence, Task
from backend.scoring.tasks import save_evidence


def evaluate_files(task: Task, gt: Path, pred: Path, options: Section, out: Path) -> EvalReport:
    """Score ``pred`` against ``gt``; the evidence is written to the folder ``out``.

    The data's digest is that of the units, classes and ground truth as the evaluator sees
    them. Raises DataError for damaged files, StoreError if ``out`` cannot be written.
    """
    return report_of(task, task.read(gt, pred, options), (gt, pred), options, out)


def report_of(
    task: Task, evidence: Evidence, files: tuple[Path, Path], options: Section, out: Path
) -> EvalReport:
    """The evaluation of ``files`` (ground truth, predictions) that gave this evidence."""
    gt, pred = (file.absolute() for file in files)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out}: cannot be made ({error.strerror})") from error
    save_evidence(out / "evidence.npz", task.name, evidence)
    scores = evidence.scores()
    return EvalReport(
        task=task.name,
        trainer="",
        checkpoint=str(pred),
        data=str(gt),
        split="",
        data_digest=evidence.truth_digest,
        evaluator=task.evaluator,
        settings=settings_of(options),
        classes=tuple(dict.fromkeys(c.label for c in evidence.columns if c.label)),
        unit=task.unit,
        units=scores.units,
        metrics=scores.metrics,
        per_class=scores.per_class,
        predictions=str(pred),
        ground_truth=str(gt),
        evidence=str(out / "evidence.npz"),
        warnings=scores.warnings,
    )


def settings_of(options: Section) -> dict[str, str]:
    """A task's options as an evaluation records them."""
    given = options.model_dump(mode="json", exclude_none=True)
    return {key: value if isinstance(value, str) else json.dumps(value)
            for key, value in given.items()}  # fmt: skip


def options_of(task: Task, settings: Mapping[str, str]) -> Section:
    """The options that an evaluation recorded; its other settings are left out."""
    known = {
        key: _value(text) for key, text in settings.items() if key in task.options.model_fields
    }
    return task.options.model_validate(known)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
