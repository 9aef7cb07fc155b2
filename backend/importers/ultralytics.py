"""A run directory of Ultralytics: ``results.csv``, ``args.yaml``, ``weights/*.pt``.

Weight files are never opened but for their digest. Ultralytics counts epochs from 1 in the
table (old versions from 0) and from 0 in ``epoch<N>.pt``; here they count from 1.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from backend.core.errors import DataError
from backend.importers.keys import Keys, metric_key
from backend.importers.reading import modified, read_text, whole
from backend.importers.source import Asked, Found, Point, Weights
from backend.importers.table import Grid, read_grid

NAMES = {
    "metrics/mAP50-95(B)": "val/mAP50-95",
    "metrics/mAP50(B)": "val/mAP50",
    "metrics/precision(B)": "val/precision",
    "metrics/recall(B)": "val/recall",
    "metrics/accuracy_top1": "val/accuracy_top1",
    "metrics/accuracy_top5": "val/accuracy_top5",
}
"""Ultralytics' names and ours, as the YOLO trainer logs them."""

HEADLINES = ("val/mAP50-95", "val/accuracy_top1")
FITNESS = (
    *("val/mAP50-95", "val/mAP50-95_M", "val/mAP50-95_P"),
    *("val/accuracy_top1", "val/accuracy_top5"),
)
"""What the sum of decides which epoch is ``best.pt``, for boxes, masks, poses and classes."""

MOST_VALUES = 100_000
"""Of an ``args.yaml``, which has about a hundred."""


def read(path: Path, asked: Asked) -> Found:
    """A run directory, finished or running. Raises DataError."""
    table = path / "results.csv" if path.is_dir() else path
    if not table.is_file():
        raise DataError(
            f"{path}: no results.csv in it; name the run's folder, such as runs/detect/train"
        )
    folder = table.parent
    grid = read_grid(table, growing=True)
    points = tuple(_points(grid, asked, modified(table)))
    params = _params(folder / "args.yaml")
    planned = params.get("epochs")
    planned = planned if isinstance(planned, int) and not isinstance(planned, bool) else 0
    keys = {key for point in points for key in point.metrics}
    headline = next((key for key in HEADLINES if key in keys), "")
    return Found(
        trainer="ultralytics",
        paths=(folder,),
        name=folder.name,
        points=points,
        weights=tuple(_weights(folder / "weights", points)),
        params=params,
        texts=tuple(f for f in (folder / "args.yaml",) if f.is_file()),
        epochs=planned,
        headline=headline,
        finished=_finished(folder, points, planned),
        started=points[0].time - _seconds(grid, 0) if points else None,
    )


def _points(grid: Grid, asked: Asked, written: float) -> Iterator[Point]:
    """The rows; of an epoch that is there twice (a resumed training) the later one counts."""
    if "epoch" not in grid.header:
        raise DataError(f"{grid.path}: no column 'epoch'; is this a results.csv of Ultralytics?")
    at = grid.header.index("epoch")
    rows = {_epoch(grid, line, cells[at]): place for place, (line, cells) in enumerate(grid.rows)}
    from_zero = 0 in rows
    keys = Keys(grid.path, asked.rename, _key)
    for epoch, place in sorted(rows.items()):
        line, cells = grid.rows[place]
        ours = epoch + 1 if from_zero else epoch
        values = {
            keys.of(name): value
            for name, text in zip(grid.header, cells, strict=True)
            if name not in {"epoch", "time"} and (value := grid.cell(line, name, text)) is not None
        }
        yield Point(ours, ours, written + _seconds(grid, place) - _seconds(grid, -1), values)


def _epoch(grid: Grid, line: int, text: str) -> int:
    value = grid.cell(line, "epoch", text)
    try:
        return whole(value if value is not None else math.nan)
    except ValueError:
        raise DataError(f"{grid.path}, line {line}: the epoch '{text}' counts nothing") from None


def _key(name: str, split: str) -> str:
    if name.startswith("metrics/"):
        return NAMES.get(name) or metric_key(name.removeprefix("metrics/"), "val")
    return metric_key(name, split)


def _seconds(grid: Grid, place: int) -> float:
    """Training time up to a row; 0 in tables of old versions, which do not say."""
    if "time" not in grid.header or not grid.rows:
        return 0.0
    line, cells = grid.rows[place]
    value = grid.cell(line, "time", cells[grid.header.index("time")])
    return value if value is not None and math.isfinite(value) else 0.0


def _params(file: Path) -> dict[str, object]:
    if not file.is_file():
        return {}
    try:
        data = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, RecursionError):
        raise DataError(f"{file}: not YAML; repair it, or move it away") from None
    if not isinstance(data, dict):
        raise DataError(f"{file}: no keys and values; repair it, or move it away")
    if _endless(data):
        raise DataError(f"{file}: more than {MOST_VALUES:,} values; repair it, or move it away")
    return {str(key): value for key, value in data.items()}


def _endless(data: object) -> bool:
    """Does YAML hold too many values? A few aliases of aliases stand for billions."""
    waiting: list[object] = [data]
    seen = 0
    while waiting and seen <= MOST_VALUES:
        value = waiting.pop()
        seen += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | set):
            waiting += value
    return bool(waiting)


def _weights(folder: Path, points: tuple[Point, ...]) -> Iterator[Weights]:
    """Its files; ``best.pt`` is of the fittest epoch, the later of two equal ones."""
    if not points:
        return
    best = max(points, key=lambda point: (_fitness(point), point.epoch))
    for file in sorted(folder.glob("epoch*.pt")):
        if found := re.fullmatch(r"epoch(\d+)\.pt", file.name):
            yield Weights(file, int(found[1]) + 1, int(found[1]) + 1)
    for name, point in (("last.pt", points[-1]), ("best.pt", best)):
        if (folder / name).is_file():
            yield Weights(folder / name, point.epoch, point.step, best=name == "best.pt")


def _fitness(point: Point) -> float:
    found = [point.metrics[key] for key in FITNESS if key in point.metrics]
    return sum(value for value in found if math.isfinite(value)) if found else -math.inf


def _finished(folder: Path, points: tuple[Point, ...], planned: int) -> bool | None:
    """All epochs are there, or the final plot is newer than the table (stopped early)."""
    if planned and points and points[-1].epoch >= planned:
        return True
    plot = folder / "results.png"
    if plot.is_file() and modified(plot) >= modified(folder / "results.csv"):
        return True
    return False if planned else None
