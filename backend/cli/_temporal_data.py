"""Temporal action data on the command line: assay dataset check on ActivityNet's JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from backend.cli._common import number, show, table

if TYPE_CHECKING:
    from backend.datasets.temporal import TemporalCensus

FAULTY = 1


def is_temporal(data: Path) -> bool:
    """Is it ActivityNet's JSON, or a folder that has one?"""
    from backend.datasets.activitynet_files import annotation_files

    return bool(annotation_files(data))


def check_temporal(
    data: Path, subsets: Sequence[str], classes: str | None, *, anyway: bool, as_json: bool
) -> None:
    """Print videos and actions in numbers and what validation found; end with 1 at an error."""
    from backend.core.errors import ConfigError

    try:
        from backend.datasets.temporal import Expectations, ReadOptions, subsets_of
        from backend.datasets.temporal import check_temporal as checked
    except ModuleNotFoundError as error:
        raise ConfigError(f"{data}: reading videos needs PyAV, pip install av ({error})") from None
    names = tuple(name.strip() for name in (classes or "").split(",") if name.strip())
    wanted = Expectations(need_files=False)
    read = checked(data, subsets or list(subsets_of(data)), ReadOptions(classes=names), wanted)
    if as_json:
        import json

        facts = {
            "splits": [one.model_dump(mode="json") for one in read.census],
            "digests": {split.split: split.digest for split in read.splits},
            "findings": [one.model_dump(mode="json") for one in read.findings],
        }
        show(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        show(f"{data}: ActivityNet", *_tables(read.census))
        show(*(f"{one.level} {one.code}: {one.split}: {one.sentence}" for one in read.findings))
    if read.errors and not anyway:
        raise typer.Exit(FAULTY)


def _tables(splits: Sequence["TemporalCensus"]) -> list[object]:
    columns = ("split", "videos", "usable", "hours", "actions", "median s", "5 % s", "95 % s",
               "in action", "frame rates")  # fmt: skip
    rows = [
        (one.split, str(one.videos), str(one.usable), number(one.hours, 2), str(one.actions),
         *(number(one.lengths.get(q), 2) for q in ("0.5", "0.05", "0.95")),
         number(one.in_action, 3), ", ".join(f"{rate} ({n})" for rate, n in one.rates.items()))
        for one in splits
    ]  # fmt: skip
    classes = [
        (name, *(str(one.counts[name]) for one in splits),
         *(number(one.medians.get(name), 2) for one in splits))
        for name in splits[0].counts
    ]  # fmt: skip
    heads = ("class", *(one.split for one in splits), *(f"{one.split} s" for one in splits))
    return [table("splits", columns, rows), "",
            table("actions per class, and their median length", heads, classes), ""]  # fmt: skip
