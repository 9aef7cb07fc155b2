"""TensorBoard event files."""

import struct
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c


def scalar(tag: str, step: int, value: float, time: float) -> Event:
    """As torch writes it."""
    return Event(wall_time=time, step=step, summary=Summary(
        value=[Summary.Value(tag=tag, simple_value=value)]))  # fmt: skip


def write_events(file: Path, events: Iterable[Event]) -> Path:
    """An event file, written record by record."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        for event in [Event(wall_time=1.0, file_version="brain.Event:2"), *events]:
            data = event.SerializeToString()
            length = struct.pack("<Q", len(data))
            out.write(length + struct.pack("<I", masked_crc32c(length)))
            out.write(data + struct.pack("<I", masked_crc32c(data)))
    return file
