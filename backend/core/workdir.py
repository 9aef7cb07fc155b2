"""The files of a work directory, and who holds it.

work/<key>/  run.json  config.yaml  events.jsonl  hardware.jsonl  output.log  stop  lock
             refusal.json
             checkpoints/  results.csv  training_result.json  tensorboard/
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from backend.core.errors import BusyError, StoreError
from backend.core.records import Record

LOCK_ATTEMPTS, LOCK_PAUSE_SECONDS = 10, 0.05
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMPLAINT = re.compile(r"error|exception|killed|abort|terminate|cannot", re.IGNORECASE)


class RunFile(Record):
    """``run.json``: who a run is. ``trainer_entry`` and ``config_class`` are ``module:Class``."""

    key: str
    name: str
    trainer: str
    trainer_entry: str
    config_class: str
    created: float
    tags: dict[str, str] = Field(default_factory=dict)
    parent: str = ""


class StopRequest(Record):
    """``stop``: the parent asks the training to end after its next validation."""

    status: str
    reason: str


class WorkDir:
    """Paths inside one run's work directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run.json"
        self.config = path / "config.yaml"
        self.events = path / "events.jsonl"
        self.hardware = path / "hardware.jsonl"
        self.output = path / "output.log"
        self.stop = path / "stop"
        self.refusal = path / "refusal.json"
        self.lock = path / "lock"
        self.results = path / "results.csv"
        self.summary = path / "training_result.json"
        self.tensorboard = path / "tensorboard"

    def read_run(self) -> RunFile:
        """Who this run is. Raises StoreError if the folder is not a run's."""
        try:
            return RunFile.model_validate_json(self.run.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(f"{self.path}: not a run's work directory (no run.json)") from None
        except ValueError as error:
            raise StoreError(f"{self.run}: damaged ({error})") from None

    def read_config(self) -> dict[str, Any]:
        """What the run was asked for. Raises StoreError if there is none, or it is damaged."""
        try:
            config = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(f"{self.path}: not a run's work directory (no config.yaml)") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise StoreError(f"{self.config}: damaged (not YAML)") from None
        if not isinstance(config, dict):
            raise StoreError(f"{self.config}: damaged (no keys and values)")
        return config

    def request_stop(self, status: str, reason: str) -> None:
        """Ask the training to end; the first request stands."""
        if not self.stop.exists():
            write_atomic(self.stop, StopRequest(status=status, reason=reason).model_dump_json())

    def stop_request(self) -> StopRequest | None:
        """What was asked, if anything."""
        try:
            return StopRequest.model_validate_json(self.stop.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return StopRequest(status="stopped", reason=f"asked to by {self.stop}")

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the directory while a run is supervised; the system lets go if we die.

        Raises BusyError if another process holds it.
        """
        with exclusive(self.lock, f"{self.path}: another process is running this"):
            yield

    def held(self) -> bool:
        """Is some process supervising this run now?"""
        if not self.lock.exists():
            return False
        with self.lock.open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def output_tail(self, lines: int = 20) -> str:
        """The last lines that the training printed."""
        if not self.output.exists():
            return ""
        text = self.output.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def last_complaint(self) -> str:
        """The last printed line that names an error; empty if there is none."""
        lines = COLOUR.sub("", self.output_tail()).splitlines()
        return next((line.strip() for line in reversed(lines) if COMPLAINT.search(line)), "")


@contextmanager
def exclusive(lock: Path, busy: str) -> Iterator[None]:
    """Hold a lock file, which the system frees when its holder dies.

    Waits a moment, because who only looks takes it for an instant. Raises BusyError, saying
    ``busy``, if another process holds it.
    """
    with lock.open("w", encoding="utf-8") as file:
        for attempt in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt + 1 == LOCK_ATTEMPTS:
                    raise BusyError(busy) from None
                time.sleep(LOCK_PAUSE_SECONDS)
        yield


def write_atomic(path: Path, content: str | bytes) -> None:
    """The whole file or none of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # as on a disk that is read-only
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error


def write_json(path: Path, data: object) -> None:
    """``data`` as indented JSON, the whole file or none of it."""
    write_atomic(path, json.dumps(data, indent=2, sort_keys=True) + "\n")
