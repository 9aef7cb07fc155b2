"""The table of a study's trials: its rows, and the columns that show them."""

from collections.abc import Sequence
from typing import Any

from backend.analysis.costs import known_costs
from backend.core.records import Run, StudyRecord
from dashboard.components.grid import number_column, text_column
from dashboard.formatting import duration, number
from dashboard.palette import run_color
from dashboard.tables import Row
from dashboard.trials import parameter_names


def trial_rows(study: StudyRecord, runs: Sequence[Run]) -> list[Row]:
    """The table of trials; parameters in columns ``p.<name>``."""
    by_key = {run.key: run for run in runs}
    rows: list[Row] = []
    for trial in sorted(study.trials, key=lambda trial: trial.number):
        run = by_key.get(trial.run)
        seconds = (
            trial.ended - trial.started if trial.ended is not None and trial.started else None
        )
        row: Row = {
            "id": trial.run or f"trial-{trial.number}",
            "key": trial.run if run else "",
            "number": trial.number,
            "state": trial.state,
            "note": trial.note,
            "name": run.name if run else "",
            "color": run_color(run.key) if run else "",
            "value": trial.value,
            "value_text": number(trial.value),
            "best": trial.number == study.best,
            "front": "front" if trial.number in study.front else "",
            "duration": seconds,
            "duration_text": duration(seconds),
        }
        for cost in known_costs(study):
            row |= {f"cost_{cost.key}": cost.of(trial), f"cost_{cost.key}_text": cost.text(trial)}
        for at, value in enumerate(trial.values[1:], start=1):
            row |= {f"value{at}": value, f"value{at}_text": number(value)}
        rows.append(row | {f"p.{name}": value for name, value in trial.params.items()})
    return rows


def columns(study: StudyRecord) -> list[dict[str, Any]]:
    """Columns of the trial table: what is common to all trials, then the study's parameters."""
    fixed = [
        number_column("number", "Trial", 76, pinned="left"),
        {"field": "state", "headerName": "State", "cellRenderer": "Status", "width": 116,
         "tooltipField": "note"},
        {"field": "name", "headerName": "Run", "cellRenderer": "Run", "minWidth": 170, "flex": 1},
        number_column("value", study.metric, 124, shown="value_text"),
    ]  # fmt: skip
    for at, aim in list(enumerate(study.aims))[1:]:
        fixed.append(number_column(f"value{at}", aim.metric, 140, shown=f"value{at}_text"))
    if study.objectives:
        fixed.append(text_column("front", "Front", 84))
    own = [_parameter_column(name) for name in parameter_names(study)]
    took = [
        number_column(f"cost_{cost.key}", cost.heading, 140, shown=f"cost_{cost.key}_text")
        for cost in known_costs(study)
    ]
    last = [number_column("duration", "Duration", 104, shown="duration_text")]
    return [*fixed, *took, *own, *last]


def _parameter_column(name: str) -> dict[str, Any]:
    return text_column(
        f"p.{name}",
        name,
        max(104, 8 * len(name) + 24),
        valueGetter={"function": f"params.data['p.{name}']"},
        valueFormatter={"function": "assayPlain(params.value)"},
        tooltipField=None,
    )
