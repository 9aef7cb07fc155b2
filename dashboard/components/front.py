"""What a study with several objectives found: its Pareto front as a table."""

from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.core.records import StudyObjective, StudyRecord, TrialRecord
from dashboard.components.cards import panel, state_link
from dashboard.formatting import number
from dashboard.trials import front_trials, parameter_names, short_names, text_of
from dashboard.view import View


def front_panel(study: StudyRecord) -> Any:
    """The trials that none dominates, with the ways to their runs; None before there are any."""
    trials = front_trials(study)
    if not trials:
        return None
    names = parameter_names(study)
    head = [
        html.Th("Trial", scope="col"),
        *(html.Th(_headed(aim), scope="col", className="num") for aim in study.aims),
        *(
            html.Th(short, scope="col", title=name)
            for short, name in zip(short_names(names), names, strict=True)
        ),
        html.Th("Run", scope="col"),
    ]
    rows = [html.Tr(_row(trial, names)) for trial in trials]
    runs = tuple(trial.run for trial in trials if trial.run)
    compare = state_link(
        "Compare them", "/compare", View(), "button-link quiet", runs=runs, baseline="",
        comparison="",
    )  # fmt: skip
    return panel(
        "Pareto front",
        html.Div(
            html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table"),
            className="scroll-x limited",
            tabIndex=0,
        ),
        aside=compare if len(runs) > 1 else None,
        note=f"No trial is better than one of these in every objective. The best {study.metric} "
        "first; which one to take is your choice.",
    )


def _row(trial: TrialRecord, names: list[str]) -> list[Any]:
    link = state_link("Open", "/compare", View(), "rival", runs=(trial.run,), baseline="",
                      comparison="")  # fmt: skip
    return [
        html.Th(f"#{trial.number}", scope="row"),
        *(html.Td(number(value), className="num") for value in trial.values),
        *(html.Td(text_of(trial.params.get(name))) for name in names),
        html.Td(link if trial.run else ""),
    ]


def _headed(aim: StudyObjective) -> str:
    return f"{aim.metric} {'↑' if aim.direction == 'maximize' else '↓'}"


def absent(study: StudyRecord) -> Any:
    """How many trials ended without values and are thus not drawn."""
    missing = [t for t in study.trials if t.state in ("pruned", "failed") and not t.values]
    if not missing:
        return None
    count = f"{len(missing)} trial{'s' if len(missing) > 1 else ''}"
    numbers = ", ".join(f"#{trial.number}" for trial in missing)
    said = f"{count} ended without values and {'are' if len(missing) > 1 else 'is'} not drawn: "
    return dmc.Text(f"{said}{numbers}.", size="xs", c="dimmed")
