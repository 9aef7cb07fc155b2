"""Gathers what is known of a run, a study or a comparison, and writes its report."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from backend.analysis.experts import dense_twin, gflops_by_run, reports_of
from backend.analysis.findings import other_findings
from backend.analysis.report import comparison, outlook, run, study, trials
from backend.analysis.report.blocks import Document, Drawing
from backend.analysis.report.conclusions import Remark
from backend.analysis.report.course import course_of
from backend.analysis.report.page import page
from backend.analysis.report.pair import Pair
from backend.analysis.report.progress import origin
from backend.analysis.report.results import best_epoch
from backend.analysis.report.run import Training
from backend.analysis.report.study import Search
from backend.catalog import CATALOG, Catalog, load_config
from backend.config.schema import CUSTOM, TrainConfig
from backend.core.comparisons import Comparison
from backend.core.description import Described
from backend.core.errors import ConfigError, StoreError
from backend.core.events import HardwareSampled
from backend.core.records import Checkpoint, Run, StudyRecord
from backend.core.sinks import Tail, read_events
from backend.core.store import RunStore
from backend.core.trainer import TrainerSpec
from backend.core.workdir import WorkDir, write_atomic
from backend.diagnose import diagnose_run
from backend.hardware import description as of_tiers
from backend.hardware.attempts import trained_with
from backend.hardware.recovery import read_memo
from backend.runner import description
from backend.runner.config import RunnerConfig
from backend.tracking.home import Home
from backend.worker import resolve


@dataclass(frozen=True)
class Report:
    """A report that is not written yet. ``folder`` is where it belongs.

    ``remarks`` are its conclusions; a comparison has one, its verdict.
    """

    kind: str
    key: str
    folder: Path
    document: Document
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Written:
    """Where a report's files are."""

    markdown: Path
    html: Path


def make(
    home: Home, store: RunStore, ref: str, against: str = "", catalog: Catalog = CATALOG,
    epochs: Pair | None = None,
) -> Report:  # fmt: skip
    """The report of a comparison (its key), a study (its name) or a run (as ``store.run``).

    ``against`` names the run that a run stands beside; by default the one that it was fine-tuned
    from, else its study's plain trial. ``epochs`` are the checkpoints of a run to set side by
    side. Raises StoreError if nothing, or several runs, match, and ComparisonError if nothing was
    measured at both epochs.
    """
    found = next((c for c in store.comparisons() if c.key == ref), None)
    searched = next((s for s in store.studies() if s.name == ref), None)
    if found is None and searched is None:
        mine = _run(store, ref)
        return of_run(store, mine, store.run(against) if against else None, catalog, epochs)
    if against:
        raise StoreError(f"'{ref}' is no run, so --against has nothing to stand beside; omit it")
    if epochs:
        raise StoreError(f"'{ref}' is no run, so it has no epochs; omit --epochs")
    if found is not None:
        return of_comparison(home, found)
    assert searched is not None
    return of_study(home, store, searched, catalog)


def write(report: Report, markdown: Path | None = None, html: Path | None = None) -> Written:
    """Both files; by default ``report.md`` and ``report.html`` in the report's folder.

    Raises StoreError if a file cannot be written.
    """
    written = Written(
        markdown or report.folder / "report.md", html or report.folder / "report.html"
    )
    for path, content in (
        (written.markdown, report.document.markdown()),
        (written.html, page(report.document)),
    ):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path.parent}: cannot be made ({error.strerror})") from error
        write_atomic(path, content)
    return written


def of_comparison(home: Home, found: Comparison) -> Report:
    """Its verdict and all that it rests on. Pictures that are gone are left out."""
    pictures = tuple(p for p in found.target.pictures if Path(p.path).is_file())
    target = found.target.model_copy(update={"pictures": pictures})
    there = found.model_copy(update={"target": target})
    folder = _folder(home, home.work_dir(found.key))
    said = Remark("verdict", outlook.verdict(found))
    return Report("comparison", found.key, folder, comparison.document(there), (said,))


def of_run(
    store: RunStore, of: Run, against: Run | None = None, catalog: Catalog = CATALOG,
    epochs: Pair | None = None,
) -> Report:  # fmt: skip
    """One training beside another. Raises StoreError if its events are gone or damaged, and
    ComparisonError if nothing was measured at both ``epochs``."""
    work = WorkDir(Path(of.work_dir))
    envelopes = read_events(work.events)
    seen = [envelope.event for envelope in Tail(work.hardware).poll()]
    course = course_of(envelopes)
    other, because = (against, "as asked") if against else _beside(store, of)
    dense = dense_twin(of, store.runs())
    checkpoints = tuple(store.checkpoints(of.key))
    training = Training(
        run=of,
        course=course,
        findings=other_findings(
            envelopes,
            course.evaluated,
            primary=course.headline.partition("/")[2],
            dense=dense,
        ),
        diagnosis=diagnose_run([e.event for e in envelopes], work, store, of),
        checkpoints=checkpoints,
        comparisons=_involving(store, {of.key}),
        other=other,
        because=because,
        experts=next(reversed(reports_of(envelopes)), None),
        dense=dense,
        hardware=tuple(event for event in seen if isinstance(event, HardwareSampled)),
        effective=read_memo(work.path).overrides,
        described=_described(of, work, catalog),
        epochs=epochs,
        sizes=_sizes(checkpoints),
    )
    document = run.document(training, _curves_of_run(training))
    return Report("run", of.key, work.path, document, tuple(run.remarks_of(training)))


def of_study(home: Home, store: RunStore, of: StudyRecord, catalog: Catalog = CATALOG) -> Report:
    """One search."""
    runs = {trial.run for trial in of.trials if trial.run}
    trained = [found for found in store.runs() if found.key in runs]
    kinds = {found.trainer for found in trained}
    search = Search(
        study=of,
        comparisons=_involving(store, runs),
        strategies=_offered(kinds, catalog),
        plain=study.plain_trial(of),
        gflops=gflops_by_run(trained),
    )
    document = study.document(search, _curves_of_study(store, of))
    folder = home.root / "reports" / _file_name(of.name)
    return Report("study", of.name, folder, document, tuple(study.remarks_of(search)))


def _run(store: RunStore, ref: str) -> Run:
    try:
        return store.run(ref)
    except StoreError as error:
        studies = ", ".join(found.name for found in store.studies()) or "none"
        raise StoreError(f"{error}; studies: {studies}") from None


def _described(of: Run, work: WorkDir, catalog: Catalog) -> tuple[Described, ...]:
    """What the config comes to, with what the machine made of it; nothing for a run that others
    trained, or whose config was another version's.

    A trainer's own tables replace those of the same title.
    """
    spec = catalog.get(of.trainer)
    if spec is None:
        return ()
    try:
        config = load_config(work.config, catalog=catalog)
        config = trained_with(config, work.path, spec.knobs) if spec.knobs else config
    except (ConfigError, StoreError):
        return ()
    tables = (*_of_runner(config), *_of_trainer(config, spec), *_of_tiers(config, spec))
    return tuple({table.title: table for table in tables}.values())


def _of_runner(config: TrainConfig) -> tuple[Described, ...]:
    runner = getattr(config, "runner", None)
    if not isinstance(runner, RunnerConfig):
        return ()
    return description.described(runner, config.epochs)


def _of_trainer(config: TrainConfig, spec: TrainerSpec) -> tuple[Described, ...]:
    if not spec.describe:
        return ()
    return cast(Callable[[TrainConfig], tuple[Described, ...]], resolve(spec.describe))(config)


def _of_tiers(config: TrainConfig, spec: TrainerSpec) -> tuple[Described, ...]:
    return (of_tiers.described(config, spec.knobs),) if spec.knobs else ()


def _sizes(checkpoints: Iterable[Checkpoint]) -> dict[str, int]:
    """Bytes of each weight file, by path."""
    files = {found.path: Path(found.path) for found in checkpoints}
    return {path: file.stat().st_size for path, file in files.items() if file.is_file()}


def _beside(store: RunStore, of: Run) -> tuple[Run | None, str]:
    """The run that this one goes on from or was fine-tuned from, else its study's plain trial,
    else the one that it was compared with last."""
    there = {other.key: other for other in store.runs() if other.key != of.key}
    if origin(of) in there:
        return there[origin(of)], "the run that it goes on from"
    named = {folder for value in of.params.values() for folder in Path(value).parents}
    for other in there.values():
        if Path(other.work_dir) in named:
            return other, "the run that it was fine-tuned from"
    for found in store.studies():
        plain = study.plain_trial(found) if found.name == of.study else None
        if plain is not None and plain.run not in ("", of.key):
            return store.run(plain.run), f"the plain trial of the study '{found.name}'"
    compared = [
        key
        for found in _involving(store, {of.key})
        for key in (found.baseline.checkpoint.run, found.candidate.checkpoint.run)
    ]
    beside = next((there[key] for key in compared if key in there), None)
    return beside, "the run that it was compared with last" if beside else ""


def _involving(store: RunStore, keys: set[str]) -> tuple[Comparison, ...]:
    """Comparisons of these runs' checkpoints, the newest of each pair on the same data."""
    newest: dict[frozenset[str], Comparison] = {}
    for found in store.comparisons():
        sides = (found.baseline.checkpoint, found.candidate.checkpoint)
        if {side.run for side in sides} & keys:
            same = frozenset((*(side.sha256 for side in sides), found.target.data_digest))
            newest.setdefault(same, found)
    return tuple(newest.values())


def _curves_of_run(training: Training) -> list[Drawing]:
    from backend.analysis.report import curves  # noqa: PLC0415 (matplotlib is slow to import)

    return curves.of_run(training.course, best_epoch(training.course))


def _curves_of_study(store: RunStore, of: StudyRecord) -> list[Drawing]:
    from backend.analysis.report import curves  # noqa: PLC0415 (matplotlib is slow to import)

    done = trials.completed(of)
    chosen = [trial for trial in done if trial.number in of.front]
    best = (chosen + [trial for trial in done if trial not in chosen])[: curves.MOST_TRIALS]
    found = store.series([trial.run for trial in best if trial.run], [of.metric])
    series = {trial.number: found.get((trial.run, of.metric)) for trial in best}
    return curves.of_study(of, {number: one for number, one in series.items() if one})


def _folder(home: Home, wanted: Path) -> Path:
    return wanted if wanted.is_dir() else home.root / "reports" / wanted.name


def _file_name(name: str) -> str:
    """A study's name as one folder's name."""
    return "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(". ") or "study"


def _offered(kinds: set[str], catalog: Catalog) -> tuple[str, ...]:
    """The freezing strategies that a search can choose."""
    if not _one_of(kinds, catalog):
        return ()
    (kind,) = kinds
    return tuple(name for name in catalog[kind].strategies if name != CUSTOM)


def _one_of(kinds: set[str], catalog: Catalog) -> bool:
    return len(kinds) == 1 and kinds <= catalog.keys()
