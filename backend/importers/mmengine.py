"""A work directory of mmengine or the older mmcv: JSON lines, ``*.pth``, a Python config.

The config is read as literals and kept as text, never executed; weights are never opened but
for their digest.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from backend.core.errors import DataError
from backend.importers.keys import Keys, metric_key
from backend.importers.literals import literals_of
from backend.importers.reading import json_lines, json_number, modified, numbers_of, whole
from backend.importers.source import Asked, Found, Point, Weights

NAMES = {
    "coco/bbox_mAP": "val/mAP50-95",
    "coco/bbox_mAP_50": "val/mAP50",
    "coco/bbox_mAP_75": "val/mAP75",
    "bbox_mAP": "val/mAP50-95",
    "bbox_mAP_50": "val/mAP50",
    "bbox_mAP_75": "val/mAP75",
}
"""Names of MMDetection's COCO metric and ours."""

COUNTERS = frozenset({"epoch", "iter", "step", "mode"})
COCO = re.compile(r"(^|[/_])m?A[PR]")
STAMP = re.compile(r"\d{8}_\d{6}")
SAVED = re.compile(r"(?P<best>best_.+_)?(?P<unit>epoch|iter)_(?P<count>\d+)\.pth")
Entry = dict[str, object]


@dataclass
class Log:
    """Entries of one training as points.

    ``offset`` is added to iterations that start again in each epoch. Without epochs, steps
    stand for them.
    """

    keys: Keys
    by_epoch: bool
    points: dict[int, Point] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    step: int = 0
    epoch: int = 0
    validated: int = 0
    offset: int = 0
    clock: float = 0.0

    def train(self, entry: Entry, values: dict[str, float]) -> None:
        """Add an entry of training: its iteration counts overall, or from 1 in each epoch."""
        counter = _count(entry, "step") or _count(entry, "iter")
        epoch = _count(entry, "epoch")
        if "step" not in entry and epoch != self.epoch and counter + self.offset <= self.step:
            self.offset = self.step
        step = counter + self.offset
        if math.isfinite(seconds := values.get("time", 0.0)):
            self.clock += seconds * max(0, step - self.step)
        self.step, self.epoch = step, epoch or (self.validated + 1 if self.by_epoch else step)
        self._add(self.step, {self.keys.of(name, "train"): v for name, v in values.items()})

    def validate(self, entry: Entry, values: dict[str, float]) -> None:
        """Add the scores of a validation, which mmengine counts in epochs or in iterations.

        They belong to the last step of the training before it (old versions count iterations
        as 0). -1 is COCO's word for undefined, where no box of that size is.
        """
        step = self.step
        if "epoch" in entry or self.by_epoch:
            counted = _count(entry, "epoch" if "epoch" in entry else "step")
            self.epoch = self.validated = counted or self.epoch
        else:
            step = self.epoch = max(self.step, _count(entry, "step"))
        values = {name: v for name, v in values.items() if v != -1 or not COCO.search(name)}
        self._add(step, {self.keys.of(name, "val"): v for name, v in values.items()})

    def restart(self, start: float, first: Entry) -> None:
        """Another process goes on from ``first``; what came after that is void."""
        self.clock = start
        kept = [
            point
            for point in self.points.values()
            if (
                point.step < _count(first, "step")
                if "step" in first
                else point.epoch < _count(first, "epoch")
            )
        ]
        self.points = {point.step: point for point in kept}
        self.step = max(self.points, default=0)
        self.epoch = self.validated = max((point.epoch for point in kept), default=0)

    def _add(self, step: int, values: dict[str, float]) -> None:
        known = self.points.get(step)
        merged = {**known.metrics, **values} if known else values
        self.points[step] = Point(step, self.epoch, self.clock, merged)


def read(path: Path, asked: Asked) -> Found:
    """A work directory with one log or several (a resumed training). Raises DataError."""
    files = _logs(path)
    folder = path if path.is_dir() else path.parent
    config = _config(folder)
    params = literals_of(config) if config else {}
    log = Log(Keys(path, asked.rename, _key), _by_epoch(params, files))
    for file in files:
        _read_log(file, log)
    points = tuple(log.points[step] for step in sorted(log.points))
    epochs, iterations = _planned(params)
    skipped = ", ".join(sorted(log.skipped))
    return Found(
        trainer="mmengine",
        paths=(path,),
        name=path.name if path.is_dir() else path.parent.name,
        points=points,
        weights=tuple(_weights(folder, points)),
        params={name: value for name, value in params.items() if not name.startswith("_")},
        texts=(config,) if config else (),
        epochs=epochs,
        notes=(f"not numbers, and so left out: {skipped}",) if skipped else (),
        finished=_finished(points, epochs, iterations),
        started=_started(files[0]),
    )


def _logs(path: Path) -> list[Path]:
    """The JSON logs, oldest first; of two copies of one log only one."""
    if path.is_file():
        return [path]
    for pattern in ("*/vis_data/scalars.json", "vis_data/scalars.json", "*/vis_data/[0-9]*.json",
                    "*/[0-9]*.json", "*.log.json", "[0-9]*.json"):  # fmt: skip
        found = [file for file in path.glob(pattern) if file.is_file() and file.stat().st_size]
        if found:
            return sorted(found, key=lambda file: (_stamp(file), file.name))
    raise DataError(
        f"{path}: no <timestamp>/vis_data/scalars.json and no *.log.json in it; name a work "
        "directory of mmengine"
    )


def _stamp(file: Path) -> str:
    found = STAMP.findall("/".join(file.parts[-3:]))
    return found[0] if found else ""


def _started(file: Path) -> float | None:
    """The local time that a log is named after, as Unix seconds."""
    try:
        return datetime.strptime(_stamp(file), "%Y%m%d_%H%M%S").astimezone().timestamp()
    except ValueError:
        return None


def _read_log(file: Path, log: Log) -> None:
    entries = list(json_lines(file))
    if first := next((entry for entry in entries if _trains(entry)), None):
        log.restart(_started(file) or modified(file), first)
    for entry in entries:
        if not _trains(entry) and not entry.keys() & {"mode", "step"}:
            continue  # the first line of mmcv: the environment
        numbers, other = numbers_of(entry)
        values = {name: value for name, value in numbers.items() if name not in COUNTERS}
        log.skipped |= set(other) - COUNTERS
        if _trains(entry):
            log.train(entry, values)
        else:
            log.validate(entry, values)


def _trains(entry: Entry) -> bool:
    if "mode" in entry:
        return entry["mode"] == "train"
    return any(name.startswith(("loss", "lr", "base_lr")) for name in entry)


def _key(name: str, split: str) -> str:
    if split == "val":
        return NAMES.get(name) or metric_key(name, split)
    return metric_key(name, split)


def _count(entry: Entry, name: str) -> int:
    value = json_number(entry.get(name))
    return whole(value) if value is not None and 0 <= value < 2**53 else 0


def _config(folder: Path) -> Path | None:
    """The config that was dumped last."""
    inside = sorted(folder.glob("*/vis_data/config.py"), key=_stamp)
    beside = sorted(folder.glob("*.py"))
    return next(iter([*reversed(inside), *beside]), None)


def _loop(params: dict[str, object], *names: str) -> dict[str, object]:
    for name in names:
        if isinstance(loop := params.get(name), dict):
            return loop
    return {}


def _planned(params: dict[str, object]) -> tuple[int, int]:
    """Epochs and iterations as configured; 0 where the config does not say."""
    loop = _loop(params, "train_cfg", "runner")
    epochs = loop.get("max_epochs", params.get("total_epochs"))
    return tuple(  # type: ignore[return-value]
        value if isinstance(value, int) else 0 for value in (epochs, loop.get("max_iters"))
    )


def _by_epoch(params: dict[str, object], files: list[Path]) -> bool:
    """Does the training count epochs? Where the config does not say, its entries do."""
    loop = _loop(params, "train_cfg")
    if loop:
        return bool(loop.get("by_epoch", "max_iters" not in loop))
    return any("epoch" in entry for file in files for entry in json_lines(file))


def _finished(points: tuple[Point, ...], epochs: int, iterations: int) -> bool | None:
    if not points or not (epochs or iterations):
        return None
    if epochs:
        return points[-1].epoch >= epochs
    return points[-1].step >= iterations


def _weights(folder: Path, points: tuple[Point, ...]) -> Iterator[Weights]:
    """Saved files; their step is that of the last point of their epoch."""
    for file in sorted(folder.glob("*.pth"), key=lambda file: (file.stat().st_mtime, file.name)):
        found = SAVED.fullmatch(file.name)
        if not found:
            continue
        count = int(found["count"])
        by_epoch = found["unit"] == "epoch"
        before = [p for p in points if (p.epoch if by_epoch else p.step) <= count]
        step = count if not by_epoch else (before[-1].step if before else 0)
        epoch = count if by_epoch else (before[-1].epoch if before else 0)
        yield Weights(file, epoch, step, best=bool(found["best"]))
