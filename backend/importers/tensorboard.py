"""TensorBoard event files: scalars and hyperparameters, read by the ``tensorboard`` package.

Images, graphs and text are passed over. Wall times are kept to the millisecond.
"""

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.errors import DataError
from backend.importers.keys import SPLITS, Keys
from backend.importers.source import Asked, Found, Point

HPARAMS = "_hparams_/session_start_info"


@dataclass
class Scalars:
    """Values by key and step; of two at one step the one that was written later counts."""

    keys: Keys
    values: dict[str, dict[int, tuple[float, float]]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    params: dict[str, object] = field(default_factory=dict)

    def put(self, split: str, tag: str, step: int, time: float, value: float) -> None:
        """Add a scalar. Raises DataError if two tags mean one key."""
        key = self.keys.of(tag, split)
        known = self.values.setdefault(key, {})
        if step not in known or known[step][0] <= time:
            known[step] = (time, value)
        if tag == "epoch" and np.isfinite(value):
            self.epochs[step] = int(value)

    def points(self) -> Iterator[Point]:
        """The values of equal step and time together, in order of step. Without a scalar
        ``epoch`` the steps stand for epochs."""
        together: dict[tuple[int, float], dict[str, float]] = {}
        for key, curve in self.values.items():
            for step, (time, value) in curve.items():
                together.setdefault((step, time), {})[key] = value
        known = sorted(self.epochs)
        for (step, time), metrics in sorted(together.items()):
            epoch = self.epochs[known[max(0, bisect(known, step) - 1)]] if known else step
            yield Point(step, epoch, time, metrics)


def read(path: Path, asked: Asked) -> Found:
    """An event file, or all of those in a folder and its subfolders. Raises DataError.

    A subfolder that is called after a split (``train``, ``val``) gives it to its tags.
    """
    files = _files(path)
    scalars = Scalars(Keys(path, asked.rename))
    for file in files:
        split = SPLITS.get(file.parent.name.lower(), "") if file.parent != path else ""
        _read_file(file, split, scalars)
    points = tuple(scalars.points())
    return Found(
        trainer="tensorboard",
        paths=(path,),
        name=path.name if path.is_dir() else path.parent.name,
        points=points,
        params=scalars.params,
        started=min((point.time for point in points), default=None),
    )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    inside = (file for file in path.rglob("*tfevents*") if file.is_file())
    found = sorted(inside, key=lambda file: (file.name, str(file)))
    if not found:
        raise DataError(f"{path}: no event file (*tfevents*) in it; name the folder of the logs")
    return found


def _read_file(file: Path, split: str, scalars: Scalars) -> None:
    from google.protobuf.message import (  # type: ignore[import-untyped]  # noqa: PLC0415
        DecodeError,  # tensorboard brings it
    )
    from tensorboard.util.tensor_util import make_ndarray  # noqa: PLC0415 (slow)

    try:
        for event in _events(file):
            for value in event.summary.value:
                plugin = value.metadata.plugin_data
                if plugin.plugin_name == "scalars":
                    number = float(make_ndarray(value.tensor))
                    time = round(event.wall_time, 3)
                    scalars.put(split, value.tag, event.step, time, number)
                elif value.tag == HPARAMS:
                    scalars.params |= _hparams(plugin.content)
    except (DecodeError, ValueError, TypeError) as error:
        raise DataError(f"{file}: damaged event file ({error}); leave it out") from None


def _events(file: Path) -> Iterator[Any]:
    """The events of a file in today's form; the reading stops at a record still being written.

    Raises DataError for a record that is damaged.
    """
    from tensorboard import data_compat, dataclass_compat  # noqa: PLC0415 (slow)
    from tensorboard.compat.proto import event_pb2  # noqa: PLC0415
    from tensorboard.compat.tensorflow_stub import errors  # noqa: PLC0415
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import (  # noqa: PLC0415
        PyRecordReader_New,
    )

    reader = PyRecordReader_New(str(file))
    metadata: dict[str, Any] = {}
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return
        except errors.DataLossError as error:
            if "has truncated record" in str(error):
                return
            raise DataError(f"{file}: damaged event file ({error}); leave it out") from None
        event = event_pb2.Event.FromString(reader.record())
        yield from dataclass_compat.migrate_event(data_compat.migrate_event(event), metadata)


def _hparams(content: bytes) -> dict[str, object]:
    from tensorboard.plugins.hparams import plugin_data_pb2  # noqa: PLC0415 (slow)

    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    return {
        str(name): getattr(value, value.WhichOneof("kind"), None)
        for name, value in data.session_start_info.hparams.items()
    }
