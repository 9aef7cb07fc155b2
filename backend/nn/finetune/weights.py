"""Checkpoint files that cannot carry code: safetensors, with the facts needed to use them.

The facts live in the file's own header, so one file is enough and its sha256 covers them; the
JSON beside it repeats them for people and for tools that do not read safetensors.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from backend.core.errors import CheckpointError

F = TypeVar("F", bound=BaseModel)

_KEY = "facts"
_HEADER_LIMIT = 100 * 2**20  # safetensors' own


def distinct(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor once, under the first of its names: a module may be held in two places."""
    found: dict[tuple[object, ...], str] = {}
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        found.setdefault(place if tensor.numel() else (name,), name)
    return {name: state[name] for name in found.values()}


def save_weights(path: Path, state: Mapping[str, Tensor], facts: Mapping[str, object]) -> str:
    """Write ``path`` and its JSON, each whole or not at all; return the sha256 of ``path``.

    A tensor with several names is written under the first. Once ``path`` exists, both are
    complete. Raises OSError (a full disk).
    """
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    tensors = {name: one.detach().cpu().contiguous() for name, one in distinct(state).items()}
    data = save(tensors, metadata={_KEY: text})
    pretty = json.dumps(facts, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_bytes(path.with_suffix(".json"), pretty.encode())
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """The tensors and the facts of a checkpoint. Raises CheckpointError."""
    facts = read_facts(path)
    try:
        return load_file(path), facts
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({error})") from error


def read_facts(path: Path) -> dict[str, object]:
    """The facts of a checkpoint, without its tensors. Raises CheckpointError."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise ValueError("no safetensors header")
            header = json.loads(file.read(length))
        facts = json.loads(header["__metadata__"][_KEY])
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (KeyError, TypeError):
        raise CheckpointError(
            f"{path}: has weights but no facts (architecture, class names); it was not saved by "
            "Assay, so use the framework's original file"
        ) from None
    except (ValueError, struct.error):
        raise CheckpointError(f"{path}: not a safetensors file, or cut short") from None
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path}: its facts are not a JSON object")
    return facts


def parse_facts(kind: type[F], trainer: str, path: Path, facts: Mapping[str, object]) -> F:
    """A checkpoint's facts as a trainer knows them.

    Raises CheckpointError for those of another trainer, or of another version of this one.
    """
    if facts.get("trainer") != trainer:
        raise CheckpointError(
            f"{path}: not a checkpoint of {trainer}, but of {facts.get('trainer') or 'another'}"
        )
    try:
        return kind.model_validate(facts)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise CheckpointError(
            f"{path}: its facts do not describe a network of this version of Assay ({wrong})"
        ) from error


def save_state(path: Path, state: Mapping[str, object]) -> None:
    """Tensors and plain values, for ``load_state``; the whole file or none of it.

    Raises OSError (a full disk).
    """
    with _whole(path) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch's zip writer hides it
                raise error.__context__ from error
            raise


def load_state(path: Path) -> dict[str, object]:
    """What ``save_state`` wrote; never runs code from the file. Raises CheckpointError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}: damaged or not written by Assay ({type(error).__name__}); delete the work "
            "directory and start again"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: not a saved training state")
    return state


def write_bytes(path: Path, data: bytes) -> None:
    """The whole file or none of it, on the disk when this returns."""
    with _whole(path) as file:
        file.write(data)


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when it is complete and on the disk; an OSError names it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
