"""Runs that others trained: what an importer found becomes events, and these become a run.

The source is the truth: each import reads it whole, and only what the run's events lack is
added. Where the source has rewritten its history, the events are written anew.
"""

import hashlib
import math
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import yaml

from backend.core.digest import sha256
from backend.core.errors import AssayError, DataError, StoreError
from backend.core.events import (
    CheckpointRemoved,
    CheckpointSaved,
    Diagnosed,
    Envelope,
    Evaluated,
    Event,
    MetricsLogged,
    Noted,
    RunFinished,
)
from backend.core.records import Checkpoint, Record, RunStatus
from backend.core.sinks import Fanout, JsonlSink, Tail
from backend.core.workdir import RunFile, WorkDir, write_atomic, write_json
from backend.diagnose import diagnose_run
from backend.importers.source import Found, Weights
from backend.importers.story import (
    BEST,
    Story,
    best_point,
    finished_event,
    flat_params,
    measured,
    started_event,
    with_best,
)
from backend.tracking import names
from backend.tracking.home import Home

FAILED_READS = 3
"""How often in a row a followed source may be unreadable: it may be half written."""


class Adopted(Record):
    """What an import did. ``values`` and ``checkpoints`` count what is new; ``rewritten``: the
    source had changed its history, so all was written anew."""

    key: str
    name: str
    trainer: str
    status: RunStatus
    reason: str
    values: int
    checkpoints: int
    total_values: int
    last_epoch: int
    headline: str
    best_epoch: int | None
    rewritten: bool
    notes: tuple[str, ...]
    work_dir: str

    @property
    def nothing_new(self) -> bool:
        """Did the run already hold all of it?"""
        return not (self.values or self.checkpoints or self.rewritten)


def polls(read: Callable[[], Found], wait: Callable[[], None]) -> Iterator[Found]:
    """A source read again after each ``wait``, until it says that its training has ended.

    It is read once more after that, for the last files are written then. Raises what ``read``
    raises at first, or FAILED_READS times in a row later.
    """
    found, failed = read(), 0
    yield found
    ended = found.finished is True
    while not ended:
        ended = found.finished is True
        wait()
        try:
            found, failed = read(), 0
        except DataError:
            failed += 1
            if failed == FAILED_READS:
                raise
            continue
        yield found


def take_in(
    home: Home,
    reads: Iterable[Found],
    *,
    anew: bool = False,
    told: Callable[[Found, int], None] = lambda found, values: None,
) -> Adopted:
    """Import a source into a home, as often as it is read (once, or while it is followed).

    The run's key follows from the source's path, so that a second import finds it; ``anew``
    makes a further run. ``told`` hears of each reading and how many values were new. Ctrl-C
    ends the following. Raises DataError for a source that holds another training than the one
    imported before, StoreError, BusyError; of a first import that is refused nothing is left.
    """
    rest = iter(reads)
    first = next(rest)
    home.prepare()
    work, is_new = _place(home, first, anew)
    work.path.mkdir(exist_ok=True)
    try:
        with work.hold():
            return _Import(home, work, told).run(first, rest)
    except BaseException:
        if is_new and not work.events.exists():
            shutil.rmtree(work.path, ignore_errors=True)
        raise


def _place(home: Home, found: Found, anew: bool) -> tuple[WorkDir, bool]:
    """The work directory of a source, and whether it is a new one."""
    identity = "\n".join([found.trainer, *sorted(str(path.resolve()) for path in found.paths)])
    label = re.sub(r"[^A-Za-z0-9_]+", "-", found.paths[0].resolve().stem).strip("-")[:40]
    digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    base = "-".join(filter(None, [found.trainer, label, digest]))
    count = 1
    while home.work_dir(_numbered(base, count + 1)).exists():
        count += 1
    work = WorkDir(home.work_dir(_numbered(base, count)))
    if not work.path.exists():
        return work, True
    return (WorkDir(home.work_dir(_numbered(base, count + 1))), True) if anew else (work, False)


def _numbered(base: str, count: int) -> str:
    return base if count == 1 else f"{base}-{count}"


class _Digests:
    """Digests of files, computed again only when a file has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}

    def of(self, path: Path) -> str | None:
        """The sha256, or None for a file that vanishes or changes while it is read."""
        try:
            before = _stamp(path)
            if path not in self._known or self._known[path][0] != before:
                self._known[path] = (before, sha256(path))
            return self._known[path][1] if _stamp(path) == before else None
        except OSError:
            return None


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


class _Import:
    """One run being brought up to its source."""

    def __init__(self, home: Home, work: WorkDir, told: Callable[[Found, int], None]) -> None:
        self._home = home
        self._work = work
        self._told = told
        self._digests = _Digests()
        self._story = _story(work)
        self._out: Fanout | None = None
        self._name = ""
        self._values = self._checkpoints = 0
        self._rewritten = self._changed = False

    def run(self, found: Found, rest: Iterator[Found]) -> Adopted:
        """Take the first reading and all further ones in, and end the run."""
        self._refuse_another(with_best(found))
        self._describe(with_best(found))
        try:
            self._take(found)
            for found in rest:
                self._take(found)
        except KeyboardInterrupt:
            if not self._story.length:
                raise
        except AssayError:
            if self._out is not None:
                self._end(found)
            raise
        self._end(found)
        return self._account(found)

    def _take(self, found: Found) -> None:
        found = with_best(found)
        self._refuse_another(found)
        if steps := self._story.contradicted(found.points):
            self._start_over(found, steps)
        before = self._values
        for point in self._story.fresh(found.points):
            self._values += sum(not key.startswith(BEST) for key in point.metrics)
            event = MetricsLogged(step=point.step, epoch=point.epoch, metrics=point.metrics)
            self._emit(found, point.time, event)
        self._take_weights(found)
        self._take_report(found)
        for note in found.notes:
            if note not in self._story.notes:
                self._emit(found, _last_time(found), Noted(level="warning", message=note))
        self._told(found, self._values - before)

    def _refuse_another(self, found: Found) -> None:
        """Raise DataError if the first step says something else: that is another training."""
        steps = self._story.contradicted(found.points)
        if steps and steps[0] == self._story.first_step:
            raise DataError(
                f"{found.paths[0]}: another training than the one imported from there as "
                f"{self._work.path.name} (its first step {steps[0]} differs); import it as a run "
                "of its own with --new"
            )

    def _start_over(self, found: Found, steps: list[int]) -> None:
        self._close()
        self._work.events.unlink()
        self._story, self._rewritten, self._values = Story(), True, 0
        message = (
            f"the source rewrote its history from step {steps[0]} on (a resumed training does); "
            "what it says now counts"
        )
        self._emit(
            found, found.started or found.points[0].time, Noted(level="warning", message=message)
        )

    def _take_weights(self, found: Found) -> None:
        there = {str(weights.path.absolute()) for weights in found.weights}
        for path, checkpoint in list(self._story.saved.items()):
            if path not in there:
                removed = CheckpointRemoved(path=path, sha256=checkpoint.sha256)
                self._emit(found, _last_time(found), removed)
        for weights in found.weights:
            saved = self._checkpoint(found, weights)
            if saved is None:
                continue
            is_best = weights.best and self._story.best != saved.path
            if self._story.saved.get(saved.path) != saved or is_best:
                self._checkpoints += 1
                now_saved = CheckpointSaved(checkpoint=saved, best=weights.best)
                self._emit(found, _last_time(found), now_saved)

    def _checkpoint(self, found: Found, weights: Weights) -> Checkpoint | None:
        digest = self._digests.of(weights.path)
        if digest is None:
            return None
        at = next((p for p in found.points if p.epoch == weights.epoch), None)
        metrics = measured(found, at) if at else {}
        return Checkpoint(
            path=str(weights.path.absolute()),
            sha256=digest,
            step=weights.step,
            epoch=weights.epoch,
            run=self._work.path.name,
            metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        )

    def _take_report(self, found: Found) -> None:
        if found.score is None:
            return
        report = found.score(self._work.path / "evaluation")
        if report != self._story.report:
            self._values += sum(value is not None for value in report.metrics.values())
            self._emit(found, _last_time(found), Evaluated(report=report))

    def _emit(self, found: Found, moment: float, event: Event) -> None:
        """Write an event to the run's file and to MLflow, which are opened by the first one."""
        if self._out is None:
            self._out = self._open()
        if not self._story.running:
            begun = moment if self._story.length else (found.started or moment)
            self._write(begun, started_event(found, self._story))
        self._write(moment, event)

    def _write(self, moment: float, event: Event) -> None:
        assert self._out is not None
        self._out.receive(Envelope(seq=self._story.length, time=moment, event=event))
        self._story.add(event)

    def _open(self) -> Fanout:
        from backend.tracking.writer import MlflowSink  # noqa: PLC0415 (MLflow is slow to import)

        sink = MlflowSink(self._home, self._work.path)
        for envelope in Tail(self._work.events).poll():
            sink.receive(envelope)
        return Fanout([JsonlSink(self._work.events), sink])

    def _close(self) -> None:
        if self._out is not None:
            out, self._out = self._out, None
            out.close()

    def _end(self, found: Found) -> None:
        end = finished_event(found, self._story.best)
        if self._story.end != end:
            self._diagnose(found, end)
            self._emit(found, _last_time(found), end)
        if self._out is None and self._must_replay():
            from backend.tracking.replay import replay  # noqa: PLC0415 (MLflow is slow to import)

            replay(self._home, self._work.path)
        self._close()

    def _diagnose(self, found: Found, end: RunFinished) -> None:
        """What the rules say of what the source has; a source out of order is not judged."""
        told = [envelope.event for envelope in Tail(self._work.events).poll()]
        with suppress(StoreError):
            diagnosis = diagnose_run([*told, end], self._work)
            self._emit(found, _last_time(found), Diagnosed(diagnosis=diagnosis))

    def _must_replay(self) -> bool:
        """Nothing is new, but MLflow lacks the run, its end, or its new parameters."""
        from backend.tracking.store import MlflowStore  # noqa: PLC0415 (slow)

        assert self._story.end is not None
        try:
            known = MlflowStore(self._home).run(self._work.path.name)
        except StoreError:
            return True
        return self._changed or known.status != self._story.end.status

    def _describe(self, found: Found) -> None:
        """Write who the run is, its parameters, and the texts kept of its source."""
        known = self._work.read_run() if self._work.run.exists() else None
        self._name = known.name if known and not found.named else found.name
        began = found.started or min((p.time for p in found.points), default=time.time())
        run = RunFile(
            key=self._work.path.name,
            name=self._name,
            trainer=found.trainer,
            trainer_entry="",
            config_class="",
            created=known.created if known else began,
            tags=_tags(found),
        )
        params = yaml.safe_dump(flat_params(found), sort_keys=False, allow_unicode=True)
        told = self._work.config.read_text(encoding="utf-8") if self._work.config.exists() else ""
        self._changed = run != known or params != told
        if self._changed:
            write_atomic(self._work.config, params)
            write_json(self._work.run, run.model_dump(mode="json"))
        for file in found.texts:
            folder = self._work.path / "source"
            folder.mkdir(exist_ok=True)
            write_atomic(folder / file.name, file.read_bytes())

    def _account(self, found: Found) -> Adopted:
        end = self._story.end
        assert end is not None
        best = best_point(found)
        return Adopted(
            key=self._work.path.name,
            name=self._name,
            trainer=found.trainer,
            status=end.status,
            reason=end.reason,
            values=self._values,
            checkpoints=self._checkpoints,
            total_values=self._story.told,
            last_epoch=max((point.epoch for point in found.points), default=0),
            headline=found.headline,
            best_epoch=best.epoch if best else None,
            rewritten=self._rewritten,
            notes=found.notes,
            work_dir=str(self._work.path),
        )


def _story(work: WorkDir) -> Story:
    story = Story()
    for envelope in Tail(work.events).poll():
        story.add(envelope.event)
    return story


def _last_time(found: Found) -> float:
    return max((point.time for point in found.points), default=time.time())


def _tags(found: Found) -> dict[str, str]:
    tags = {"imported": found.trainer, "source": "; ".join(str(p.absolute()) for p in found.paths)}
    best = best_point(found)
    if best is not None and not any(weights.best for weights in found.weights):
        tags[names.BEST_EPOCH] = str(best.epoch)
    return tags
