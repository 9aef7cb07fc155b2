"""The arguments of ``assay compare`` as sides: checkpoints of a home, or files of predictions."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backend.analysis.comparison import ComparisonSettings
from backend.analysis.report.comparison import document
from backend.analysis.report.page import page
from backend.compare import Comparing
from backend.config import compose
from backend.core.comparisons import Comparison
from backend.core.digest import sha256_of_tree
from backend.core.errors import ComparisonError, StoreError
from backend.core.workdir import write_atomic
from backend.launch import spec_for
from backend.scoring.tasks import TASKS
from backend.sides import Side, find_side, prediction_side, shared_config
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore


@dataclass(frozen=True)
class Sides:
    """What was named: one list per argument, with a side for each seed.

    ``stored`` False: there is no home yet, and comparing files makes none.
    """

    home: Home
    arguments: tuple[tuple[Side, ...], ...]
    stored: bool

    @property
    def seeds(self) -> bool:
        """Are recipes compared, each with several seeds?"""
        return any(len(sides) > 1 for sides in self.arguments)

    def single(self) -> list[Side]:
        """The sides, one per argument."""
        return [sides[0] for sides in self.arguments]

    def recipes(self) -> tuple[Sequence[Side], Sequence[Side]]:
        """The runs of both recipes. Raises ComparisonError unless there are two."""
        if len(self.arguments) != 2:
            raise ComparisonError("recipes are compared in pairs: name the seeds of just two")
        return self.arguments[0], self.arguments[1]

    def how(
        self, config: Path | None, split: str, settings: ComparisonSettings, overrides: list[str]
    ) -> Comparing:
        """On what these sides are compared: their own evaluations, or a shared config's data."""
        every = [side for sides in self.arguments for side in sides]
        if any(side.report for side in every):
            if config is not None or overrides:
                raise ComparisonError(
                    "these predictions are scored already, so --config and --set change nothing; "
                    "leave them out"
                )
            return Comparing(config=None, split=split, settings=settings, keep=self.stored)
        changes = compose.parse_overrides(overrides)
        for other in every[1:]:
            shared = shared_config(every[0], other, changes, config)
        primary = spec_for(shared).primary
        settings = settings.model_copy(update={"primary": primary})
        return Comparing(config=shared, split=split, settings=settings)


@dataclass(frozen=True)
class Truth:
    """What files of predictions are scored against; ``options`` are the task's, ``KEY=VALUE``."""

    gt: Path
    task: str
    options: Sequence[str]

    def side(self, pred: Path, out: Path) -> Side:
        """One file of predictions, scored; its evidence stays below ``out``."""
        if self.task not in TASKS:
            raise ComparisonError(f"no task '{self.task}'; choose one of {', '.join(TASKS)}")
        for path in (self.gt, pred):
            if not path.exists():
                raise ComparisonError(f"{path}: no such file")
        task = TASKS[self.task]
        given = compose.parse_overrides(self.options)
        options = compose.validate(task.options, given, f"--set, {task.name}")
        what = (task.name, *(sha256_of_tree(path)[:12] for path in (self.gt, pred)))
        return prediction_side(task, self.gt, pred, options, out / "-".join(what))


def find(home: Home, texts: Sequence[str], truth: Truth | None, scratch: Path) -> Sides:
    """The sides that the arguments name; with a ``truth`` they are files of predictions.

    Evidence of such files goes to the home, or to ``scratch`` if there is none. Raises
    ComparisonError, DataError, CheckpointError or StoreError.
    """
    if truth is None:
        store = MlflowStore(home)
        found = [_runs(home, store, text) for text in texts]
        return Sides(home, tuple(found), stored=True)
    stored = home.database is None or home.database.exists()
    out = home.root / "evaluations" if stored else scratch
    found = [_distinct(text, [truth.side(Path(name), out) for name in _names(text)])
             for text in texts]  # fmt: skip
    return Sides(home, tuple(found), stored)


def settings(margins: Sequence[str], replicates: int) -> ComparisonSettings:
    """``0.02`` is the margin of shares, ``HOTA=0.02`` that of one metric. Raises ConfigError."""
    given: dict[str, object] = {"replicates": replicates}
    named: dict[str, str] = {}
    for text in margins:
        metric, _, value = text.rpartition("=")
        if metric:
            named[metric] = value
        else:
            given["margin"] = value
    return compose.validate(ComparisonSettings, given | {"margins": named}, "--margin")


def write_reports(results: Sequence[Comparison], html: Path | None, markdown: Path | None) -> None:
    """The readable report of each comparison; of several with a number in the files' names.

    Raises StoreError if a file cannot be written.
    """
    for number, result in enumerate(results, start=1):
        mark = f"-{number}" if len(results) > 1 else ""
        made = document(result)
        for path, written in ((html, page), (markdown, type(made).markdown)):
            if path is not None:
                write_atomic(path.with_stem(path.stem + mark), written(made))


def _runs(home: Home, store: MlflowStore, text: str) -> tuple[Side, ...]:
    """The runs or weights that one argument names; a run's name may hold a comma."""
    names = _names(text)
    if len(names) > 1:
        with suppress(StoreError):
            return (find_side(home, store, text),)
    return _distinct(text, [find_side(home, store, name) for name in names])


def _names(text: str) -> list[str]:
    """What stands between the commas of one argument; a file's name may hold one."""
    names = [text] if text and Path(text).exists() else text.split(",")
    if not all(names):
        raise ComparisonError(f"'{text}': a name is missing; seeds are written as A,B,C")
    return names


def _distinct(text: str, sides: Sequence[Side]) -> tuple[Side, ...]:
    """Seeds are different trainings: one that counts twice would hide how much they differ."""
    paths = [side.contender.checkpoint.path for side in sides]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise ComparisonError(f"'{text}': names {twice} twice, but seeds are different trainings")
    return tuple(sides)
