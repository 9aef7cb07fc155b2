"""One training: what it was, what it did, what follows and what does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from backend.analysis import text
from backend.analysis.experts import DenseTwin
from backend.analysis.report import (
    described,
    diagnosis,
    experts,
    machine,
    outlook,
    pair,
    progress,
    settings,
)
from backend.analysis.report.blocks import (
    Block,
    Document,
    Drawing,
    bullets,
    cell,
    code,
    facts,
    table,
)
from backend.analysis.report.conclusions import Remark, conclude, steps_of
from backend.analysis.report.course import Course
from backend.analysis.report.results import (
    best_epoch,
    evaluation,
    exported,
    losses_per_epoch,
    results_per_epoch,
)
from backend.core.comparisons import Comparison
from backend.core.description import Described
from backend.core.diagnosis import Diagnosis
from backend.core.events import HardwareSampled, Setting
from backend.core.experts import ExpertReport
from backend.core.records import Checkpoint, Finding, Run


@dataclass(frozen=True)
class Training:
    """All that is known of a run. ``checkpoints`` still exist; ``comparisons`` name this run.

    ``other`` is the run that it stands beside, ``because`` says why that one. ``experts`` is
    what they did at the best checkpoint, ``dense`` what they are held against. ``findings`` are
    those that are not in the ``diagnosis``. ``hardware`` is what was seen of the
    machine, ``effective`` are the settings that it decided, by config key. ``described`` is what
    the config comes to in its trainer's words, ``epochs`` the pair of checkpoints to look at
    (None: the last ones), ``sizes`` are bytes of checkpoints by path.
    """

    run: Run
    course: Course
    findings: tuple[Finding, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    other: Run | None = None
    because: str = ""
    experts: ExpertReport | None = None
    dense: DenseTwin | None = None
    diagnosis: Diagnosis | None = None
    hardware: tuple[HardwareSampled, ...] = ()
    effective: Mapping[str, Setting] = field(default_factory=dict)
    described: tuple[Described, ...] = ()
    epochs: pair.Pair | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def imported(self) -> bool:
        """Was it trained by another program?"""
        return "imported" in self.run.tags


def document(training: Training, curves: Sequence[Drawing] = ()) -> Document:
    """The whole report: what follows first, then what it rests on.

    Raises ComparisonError if nothing was measured at both epochs that were asked for.
    """
    run, course = training.run, training.course
    remarks = remarks_of(training)
    blocks: list[Block] = [
        f"# Training report: {cell(run.name)}",
        _summary(training),
        *_list("## Conclusions", [remark.said for remark in remarks]),
        *_list("## Next steps", steps_of(remarks)),
        *diagnosis.blocks(training.diagnosis),
        *_titled("## Data", [*_data(course), *described.of(training.described, "data")]),
        *_titled(
            "## Model and freezing",
            [*_model(course), *described.of(training.described, "model")],
        ),
        *_titled("## Optimisation", described.of(training.described, "optimisation")),
        *settings.of(run.params),
        *machine.changes(course, run.params, training.effective),
        *progress.blocks(run, course, training.imported),
        *results_per_epoch(course),
        *pair.blocks(run, course, training.checkpoints, training.comparisons, training.epochs),
        *losses_per_epoch(course),
        *curves,
        *machine.speed_and_memory(course, training.hardware, training.imported),
        *_checkpoints(training),
        *evaluation(course),
        *exported(course),
        *experts.blocks(training.experts, training.dense),
        *_old_and_new(training),
        *_findings(training),
        *_environment(training),
    ]
    return Document(f"Training report: {run.name}", tuple(blocks))


def remarks_of(training: Training) -> list[Remark]:
    """Everything that follows, in the order in which it is read."""
    course, run = training.course, training.run
    pairs = (pair.pair_of(run, found) for found in training.comparisons)
    compared = {found for found in pairs if found is not None}
    return [
        *outlook.about_diagnosis(training.diagnosis),
        *outlook.about_findings(training.findings),
        *outlook.about_record(course, training.imported),
        *outlook.about_ending(course),
        *outlook.about_memory(course),
        *outlook.about_room(machine.memory_in_use(training.hardware, run.params)),
        *conclude(course, compared),
        *outlook.about_evaluation(course.evaluated, run),
        *outlook.about_comparisons(run, training.comparisons, training.other),
    ]


def _summary(training: Training) -> str:
    run, course = training.run, training.course
    when = datetime.fromtimestamp(run.started, tz=UTC)
    reason = f" ({cell(run.reason)})" if run.reason else ""
    words = [f"Run `{run.key}` of trainer {cell(run.trainer)}, {when:%Y-%m-%d %H:%M} UTC"]
    words.append(f"**{run.status}**{reason}")
    best = best_epoch(course)
    if best is not None:
        value = course.finite(course.headline)[best]
        words.append(f"best {cell(course.headline)} **{text.number(value, 4)}** at epoch {best}")
    return "; ".join(words) + "."


def _list(title: str, sentences: Sequence[str]) -> list[Block]:
    return [title, bullets(sentences)] if sentences else []


def _titled(title: str, blocks: Sequence[Block]) -> list[Block]:
    return [title, *blocks] if blocks else []


def _data(course: Course) -> list[Block]:
    return [*_datasets(course), *_files(course)]


def _datasets(course: Course) -> list[Block]:
    if not course.starts or not course.starts[-1].data:
        return []
    rows = [
        (
            cell(item.split),
            cell(item.name),
            code(item.path),
            code(item.digest[:12]),
            f"{item.images:,}",
            f"{item.instances:,}",
        )
        for item in course.starts[-1].data
    ]
    head = ("split", "dataset", "file", "sha256", "units", "instances")
    return [table(head, rows, left=4)]


def _files(course: Course) -> list[Block]:
    """The input files that were there before the first step."""
    inputs = course.survey.inputs if course.survey else ()
    rows = [
        (
            cell(found.split),
            cell(found.what),
            f"{found.found:,} of {found.expected:,}",
            cell(", ".join(f"{count:,} {kind}" for kind, count in found.formats.items())),
            code(found.searched),
        )
        for found in inputs
    ]
    head = ("split", "input files", "found", "formats", "searched in")
    return [table(head, rows, left=5)] if rows else []


def _model(course: Course) -> list[Block]:
    """What was frozen as declared, and whether that held."""
    declared = course.freezes.get("declared") or course.freezes.get("verified")
    if declared is None:
        return []
    rows = [
        (
            cell(group.name),
            f"{group.trainable:,}",
            f"{group.frozen:,}",
            f"{group.always_frozen:,}",
            text.plain(group.lr) if group.trainable else "0 (frozen)",
        )
        for group in declared.groups
    ]
    train = sum(group.trainable for group in declared.groups)
    frozen = sum(group.frozen + group.always_frozen for group in declared.groups)
    share = text.percent(train / (train + frozen), 1) if train + frozen else text.ABSENT
    said = (
        f"Strategy **{cell(declared.strategy)}**: {train:,} of {train + frozen:,} parameters "
        f"train ({share}). {_verified(course)}"
    )
    head = ("group", "trainable", "frozen", "always frozen", "learning rate")
    return [
        said,
        table(head, rows, left=1),
        *([bullets(cell(note) for note in declared.notes)] if declared.notes else []),
    ]


def _verified(course: Course) -> str:
    verified = course.freezes.get("verified")
    if verified is None:
        return "Whether the frozen tensors stayed as they were was not checked after training."
    broken = len(verified.violations)
    when = "After training"
    if verified.until:
        when = f"After epoch {verified.until}, when they were thawed,"
    if broken:
        return (
            f"{when} {broken} of {verified.frozen_tensors} frozen tensors **had "
            f"changed**, among them {code(verified.violations[0])}."
        )
    if not verified.frozen_tensors:
        return "The strategy keeps nothing frozen."
    return f"{when} all {verified.frozen_tensors} frozen tensors were equal to the bit."


def _checkpoints(training: Training) -> list[Block]:
    best = training.run.best_epoch
    key = training.course.headline
    rows = [
        (
            f"{found.epoch}{' (best)' if found.epoch == best else ''}",
            code(found.path.rsplit("/", 1)[-1]),
            code(found.sha256[:12]),
            f"{training.sizes[found.path] / 1e6:,.1f} MB" if found.path in training.sizes else "",
            text.number(found.metrics.get(key), 4),
        )
        for found in training.checkpoints
    ]
    if not rows:
        return []
    note = (
        "Those that still exist."
        if len(rows) < len({c.path for c in training.course.saved})
        else ""
    )
    head = ("epoch", "file", "sha256", "size", cell(key))
    return ["## Checkpoints", *([note] if note else []), table(head, rows, left=3)]


def _old_and_new(training: Training) -> list[Block]:
    other, run = training.other, training.run
    if other is None:
        return []
    return [
        "## Old and new configuration",
        f"Beside '{cell(other.name)}' (`{other.key}`), {training.because}.",
        *settings.differing(other.params, run.params),
    ]


def _findings(training: Training) -> list[Block]:
    rows = [
        (found.severity, cell(found.message), str(found.step or ""), cell(found.action))
        for found in training.findings
    ]
    rows += [(note.level, cell(note.message), "", "") for note in training.course.notes]
    if not rows:
        return []
    return ["## Findings", table(("level", "what", "step", "what to do"), rows, left=4)]


def _environment(training: Training) -> list[Block]:
    starts, run = training.course.starts, training.run
    commit = run.tags.get("mlflow.source.git.commit") or run.tags.get("git_sha", "")
    known = starts[-1].environment if starts else {}
    rows = [(cell(name), code(value)) for name, value in sorted(known.items())]
    rows = [("commit", code(commit)), *rows]
    return ["## Environment", facts(rows)] if any(value for _, value in rows) else []
