"""A run logged again from its work directory, the durable truth."""

from pathlib import Path

from backend.core.records import Run
from backend.core.sinks import Tail, interleaved, read_events
from backend.core.workdir import WorkDir
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from backend.tracking.writer import MlflowSink


def replay(home: Home, work_dir: Path) -> Run:
    """Rebuild a run in MLflow, with what its machine did meanwhile. An older one of the same key
    is deleted once this is complete.

    Raises StoreError if the folder is not a run's, an event file is damaged, or the store
    cannot be written.
    """
    work = WorkDir(work_dir.absolute())
    key = work.read_run().key
    events = interleaved(read_events(work.events), Tail(work.hardware).poll())
    sink = MlflowSink(home, work.path)
    for envelope in events:
        sink.receive(envelope)
    sink.close()
    return MlflowStore(home).run(key)
