"""All files of one run, as one sink."""

from collections.abc import Callable
from functools import partial

from backend.core.errors import StoreError
from backend.core.events import Envelope, HardwareSampled
from backend.core.sinks import EventSink
from backend.core.trainer import TrainerSpec
from backend.core.workdir import WorkDir
from backend.recording.results import ResultsCsv
from backend.recording.summary import Summary
from backend.recording.tensorboard import TensorBoard


class Files:
    """Writes ``results.csv``, ``training_result.json`` and, if the config wants them,
    TensorBoard's files, while the run goes on; it must see the run from its first event.

    A file that cannot be written ends no training: it is given up, and ``close`` raises
    StoreError that names the way to write it again. ``spec`` is None for a trainer that is not
    in the catalog.
    """

    def __init__(self, work: WorkDir, spec: TrainerSpec | None = None) -> None:
        self._work = work
        config = work.read_config()
        self._sinks: list[EventSink] = [
            ResultsCsv(work.results, spec.columns if spec else {}),
            Summary(work, config, spec),
        ]
        if config.get("tensorboard"):
            self._sinks.append(TensorBoard(work.tensorboard, work.events))
        self._errors: list[Exception] = []

    def receive(self, envelope: Envelope) -> None:
        """Hand an event to each file that can still be written; none tells of the machine, which
        is looked at also while nothing trains."""
        if isinstance(envelope.event, HardwareSampled):
            return
        for sink in list(self._sinks):
            self._try(sink, partial(sink.receive, envelope))

    def close(self) -> None:
        """Finish each file. Raises StoreError."""
        for sink in list(self._sinks):
            self._try(sink, sink.close)
        if self._errors:
            raise StoreError(
                f"{self._errors[0]}; the training itself is safe, and this writes its files "
                f"again: assay replay {self._work.path}"
            ) from self._errors[0]

    def _try(self, sink: EventSink, call: Callable[[], None]) -> None:
        try:
            call()
        except (OSError, StoreError) as error:
            self._errors.append(error)
            self._sinks.remove(sink)
