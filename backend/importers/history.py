"""JSON histories: a list of epochs, a mapping of lists, JSON lines, a ``trainer_state.json``."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from backend.core.errors import DataError
from backend.importers.keys import Keys, metric_key
from backend.importers.reading import (
    json_lines,
    json_number,
    numbers_of,
    read_text,
    whole,
)
from backend.importers.source import Asked, Found
from backend.importers.table import Merged

NAMES = ("loss.json", "trainer_state.json", "history.json", "log.json", "metrics.json")
"""What a folder is searched for."""

PARAMS = ("config.json", "args.json")
EPOCH = ("epoch", "Epoch", "epochs", "ep")
STEP = ("step", "global_step", "iter", "iteration")
Entry = dict[str, object]


def read(path: Path, asked: Asked) -> Found:
    """The history in a file, or in the file of a known name in a folder.

    In a ``trainer_state.json`` of Hugging Face the entries of its ``log_history`` count.
    Raises DataError.
    """
    file = _file(path)
    entries, state = _entries(file)
    merged, skipped = Merged(), set()
    keys = Keys(file, asked.rename, _key)
    for place, entry in enumerate(entries, start=1):
        skipped |= _take(file, place, entry, keys, merged)
    notes = [*merged.notes]
    if skipped:
        notes.append(f"{file.name}: not numbers, and so left out: {', '.join(sorted(skipped))}")
    planned = json_number(state.get("num_train_epochs"))
    trained = json_number(state.get("epoch"))
    return Found(
        trainer="huggingface" if "log_history" in state else "json",
        paths=(path,),
        name=path.name if path.is_dir() else path.parent.name or path.stem,
        points=merged.points(),
        params=_params(file.parent) if path.is_dir() else {},
        epochs=math.ceil(planned) if planned and math.isfinite(planned) else 0,
        finished=trained >= planned if planned and trained is not None else None,
        notes=tuple(dict.fromkeys(notes)),
    )


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in NAMES if (path / name).is_file()), None)
    if found is None:
        raise DataError(f"{path}: none of {', '.join(NAMES)} in it; name the file")
    return found


def _entries(file: Path) -> tuple[Iterable[Entry], Entry]:
    """One object per epoch or step, and what is said of the whole."""
    text = read_text(file)
    try:
        data = json.loads(text)
    except RecursionError:
        raise DataError(f"{file}: nested too deeply for a history") from None
    except ValueError as error:
        if "\n" not in text.strip() or text.lstrip().startswith("["):
            raise DataError(
                f"{file}: not whole JSON ({error}); if it is being written, try again"
            ) from None
        return list(json_lines(file)), {}
    if isinstance(data, dict) and isinstance(data.get("log_history"), list):
        return _objects(file, data["log_history"]), data
    if isinstance(data, dict):
        return _from_lists(file, data), {}
    if isinstance(data, list):
        return _objects(file, data), {}
    raise DataError(f"{file}: neither a list of epochs nor a mapping of lists")


def _objects(file: Path, entries: Sequence[object]) -> list[Entry]:
    for place, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise DataError(f"{file}: entry {place} is not an object with keys and values")
    return [entry for entry in entries if isinstance(entry, dict)]


def _from_lists(file: Path, data: Entry) -> list[Entry]:
    """A mapping of equally long lists, one value per epoch; one object is a single epoch."""
    lists = {name: values for name, values in data.items() if isinstance(values, list)}
    if not lists:
        return [data]
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"{file}: lists of different lengths ({said}), so their epochs are unknown; write "
            "null where nothing was measured"
        )
    count = next(iter(lengths.values()))
    return [{name: values[i] for name, values in lists.items()} for i in range(count)]


def _take(file: Path, place: int, entry: Entry, keys: Keys, merged: Merged) -> set[str]:
    """Add one entry; returns the names of what is no number."""
    counters = {name: entry[name] for name in (*EPOCH, *STEP) if name in entry}
    rest = {name: value for name, value in entry.items() if name not in counters}
    values, other = numbers_of(rest)
    epoch = _counter(file, place, entry, EPOCH)
    step = _counter(file, place, entry, STEP)
    if epoch is None:
        epoch = step if step is not None else place
    if step is None:
        step = epoch
    split = "summary" if "train_runtime" in entry else ""
    for name, value in values.items():
        merged.put(file, step, epoch, keys.of(name, split), value)
    return set(other)


def _key(name: str, split: str) -> str:
    """``summary``: Hugging Face's last entry, of the whole training."""
    return f"summary/{name}" if split else metric_key(name)


def _counter(file: Path, place: int, entry: Entry, names: Sequence[str]) -> int | None:
    name = next((name for name in names if name in entry), None)
    if name is None:
        return None
    value = json_number(entry[name])
    try:
        if value is not None:
            return whole(value)
    except ValueError:
        pass
    raise DataError(f"{file}: entry {place} has the {name} '{entry[name]}', which counts nothing")


def _params(folder: Path) -> dict[str, object]:
    for name in PARAMS:
        file = folder / name
        if file.is_file():
            try:
                data = json.loads(read_text(file))
            except (ValueError, RecursionError):
                raise DataError(f"{file}: not JSON; repair it, or move it away") from None
            if isinstance(data, dict):
                return data
    return {}
