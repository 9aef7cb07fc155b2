"""Where what a run tells is kept: in files for people and their tools, and in MLflow."""

from backend.catalog import CATALOG
from backend.core.errors import StoreError
from backend.core.events import Envelope
from backend.core.records import Run
from backend.core.sinks import Deferred, EventSink, read_events
from backend.core.workdir import WorkDir
from backend.recording.files import Files
from backend.tracking.home import Home


def keepers(home: Home, work: WorkDir) -> list[EventSink]:
    """The readers that keep a run: first its files, then MLflow, which takes them up."""
    return [_files(work), _mlflow(home, work)]


def restore(home: Home, work: WorkDir, ours: bool = False) -> Run:
    """Write a run's files again and rebuild it in MLflow, from its work directory.

    A run that goes on writes its files itself, unless it is ``ours``: the caller holds its
    directory. An imported one has none. Raises StoreError as ``tracking.replay`` does.
    """
    from backend.tracking.replay import replay  # noqa: PLC0415 (MLflow is slow to import)

    if work.read_run().trainer_entry and (ours or not work.held()):
        files = _files(work)
        for envelope in read_events(work.events):
            files.receive(envelope)
        try:
            files.close()
        finally:  # MLflow gets what there is, also if a file cannot be written
            run = replay(home, work.path)
        return run
    return replay(home, work.path)


def _files(work: WorkDir) -> EventSink:
    return Files(work, CATALOG.get(work.read_run().trainer))


def _mlflow(home: Home, work: WorkDir) -> EventSink:
    """Projects a run to MLflow from the moment that it starts.

    A store that cannot be opened then does not end the training; it is told of at the end.
    """

    def make() -> EventSink:
        from backend.tracking.writer import MlflowSink  # noqa: PLC0415 (MLflow is slow to import)

        try:
            return MlflowSink(home, work.path)
        except StoreError as error:
            return Unlogged(work, error)

    return Deferred(make)


class Unlogged:
    """Stands in for a store that could not be opened when its run began."""

    def __init__(self, work: WorkDir, error: StoreError) -> None:
        self._work = work
        self._error = error

    def receive(self, envelope: Envelope) -> None:
        """Nothing is lost: the event is in the work directory."""

    def close(self) -> None:
        """Raise StoreError that names the way to restore the run."""
        raise StoreError(
            f"{self._error}; the training itself is safe, and this logs it: assay replay "
            f"{self._work.path}"
        ) from self._error
