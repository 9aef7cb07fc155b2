"""A run logged again from its work directory, the durable truth."""

from pathlib import Path

from backend.core.records import Run
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from backend.tracking.writer import MlflowSink


def replay(home: Home, work_dir: Path) -> Run:
    """Rebuild a run in MLflow. An older one of the same key is deleted once this is complete.

    Raises StoreError if the folder is not a run's, its event file is damaged, or the store
    cannot be written.
    """
    work = WorkDir(work_dir.absolute())
    key = work.read_run().key
    events = read_events(work.events)
    sink = MlflowSink(home, work.path)
    for envelope in events:
        sink.receive(envelope)
    sink.close()
    return MlflowStore(home).run(key)
