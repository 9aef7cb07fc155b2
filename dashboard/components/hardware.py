"""The tables and sentences of *Hardware*."""

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.core.events import Recovered, Setting
from backend.core.records import Run
from dashboard.components.cards import run_dot
from dashboard.formatting import duration
from dashboard.hardware import MACHINE, TRAINING, Hardware, Recovery, Sampled

_PHASES = {
    "setup": "setup",
    "train": "training",
    "val": "validation",
    "evaluation": "final evaluation",
    "unknown": "unknown: the process was killed",
}
_MEMORIES = {"device": "GPU memory", "host": "memory of the host"}
_PARTS = {TRAINING: "Training and its loaders", MACHINE: "Whole host"}
_NONE = "–"


def why_none(run: Run, ours: bool) -> str:
    """Why nothing was sampled of a run, and what to do about it, in one sentence. ``ours``: one
    of our trainers made it."""
    every = run.params.get("hardware.sample")
    if not ours:
        return "others trained this run, and its records hold no samples of the machine."
    if every is None:
        return ("it was trained before samples were taken; train it again with the same config to "
                "see them.")  # fmt: skip
    if float(every) == 0:
        return ("hardware.sample is 0 in its config; set it to 2 to look every 2 seconds: "
                "--set hardware.sample=2.")  # fmt: skip
    if run.status == "running":
        return "the first look is still to come."
    return "no look was kept; a driver that hangs or a full disk can be why."


def not_sampled(runs: Sequence[tuple[Run, str]], alone: bool) -> Any:
    """A sentence for each run without samples; ``alone``: it is the only one on the page."""
    if not runs:
        return None
    lines = [
        html.Div(f"Utilisation, memory and power are not known"
                 f"{'' if alone else f' of {run.name or run.key}'}: {why}")
        for run, why in runs
    ]  # fmt: skip
    return html.Div(lines, className="small dim")


def recoveries_table(recoveries: Sequence[Recovery], several: bool) -> Any:
    """When, where and why memory ran out, and what is trained with since."""
    names = ("When", "Phase", "What ran out", "What was changed", "Nothing to give", "Requested",
             "Effective since")  # fmt: skip
    rows = [_recovery(one, several) for one in recoveries]
    return _table("Recoveries", ("Run", *names) if several else names, rows)


def _recovery(one: Recovery, several: bool) -> Any:
    told = one.told
    when = _NONE if one.seconds is None else duration(one.seconds)
    phase = [html.Div(_PHASES[told.phase])]
    if told.step is not None:
        phase.append(html.Div(f"after step {told.step:,}", className="dim"))
    ran_out = [html.Div(_MEMORIES[told.kind]), html.Div(told.cause, className="dim")]
    asked, now = _settings(told)
    return html.Tr(
        [
            *([_run_cell(one.run)] if several else []),
            html.Th(when, scope="row"),
            html.Td(phase),
            html.Td(ran_out, className="wrap"),
            html.Td(told.action.replace(" -> ", " → "), className="wrap"),
            html.Td(", ".join(told.skipped) or _NONE),
            html.Td(asked),
            html.Td(now),
        ]
    )


def _settings(told: Recovered) -> tuple[list[Any], list[Any]]:
    """What was requested, and what is in force: the settings that differ, line by line."""
    keys = [key for key, value in told.effective.items() if value != told.requested.get(key)]
    sides = (told.requested, told.effective)
    asked, now = ([html.Div([html.Code(key), f" {_text(side.get(key))}"]) for key in keys]
                  for side in sides)  # fmt: skip
    return asked, now


def _text(value: Setting | None) -> str:
    if isinstance(value, tuple):
        return "×".join(str(side) for side in value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return _NONE if value is None else str(value)


def words_of(told: Recovered) -> str:
    """A recovery in a line, as one reads it where one points at its mark."""
    known = [told.cause]
    if told.phase != "unknown":
        known.append(_PHASES[told.phase])
    if told.step is not None:
        known.append(f"step {told.step:,}")
    action = told.action.replace(" -> ", " → ")
    return f"{_MEMORIES[told.kind]} ran out ({', '.join(known)})<br>{action}"


def numbers_table(known: Hardware, runs: Sequence[Run]) -> Any:
    """The charts in numbers: means and peaks of each part of the machine."""
    rows = [
        (run, part, _numbers(part, {s.quantity: s for s in known.of(run) if s.part == part}))
        for run in runs
        for part in sorted({s.part for s in known.of(run)}, key=_place)
    ]
    names = [name for name in rows[0][2] if any(numbers[name] for _, _, numbers in rows)]
    several = len(runs) > 1
    body = [
        html.Tr(
            [
                *([_run_cell(run)] if several else []),
                html.Th(_PARTS.get(part, f"GPU {part}"), scope="row"),
                *(html.Td(numbers[name] or _NONE, className="num") for name in names),
            ]
        )
        for run, part, numbers in rows
    ]
    head = ["Run", "Part", *names] if several else ["Part", *names]
    return _table("In numbers", head, body, numeric=names)


def _place(part: str) -> tuple[bool, int]:
    """GPUs by number, then the training, then the machine around it."""
    return (False, int(part)) if part.isdigit() else (True, list(_PARTS).index(part))


def _numbers(part: str, own: Mapping[str, Sampled]) -> dict[str, str]:
    """What is known of a part by the name of its column; empty texts for what is not."""
    load = own.get("gpu") or own.get("cpu") or own.get("machine")
    memory = own.get("gpu memory") or own.get("memory")
    total = memory.total if memory else None
    share = f" ({float(memory.values.max()) / total:.0%})" if memory and total else ""
    return {
        "Mean load": _said(load, "mean", "% of one core" if part == TRAINING else "%"),
        "Peak memory": _said(memory, "max", "GiB", 1) + share,
        "In all": f"{total:.1f} GiB" if total else "",
        "Mean power": _said(own.get("power"), "mean", "W"),
        "Peak temperature": _said(own.get("temperature"), "max", "°C"),
    }


def _said(one: Sampled | None, what: str, unit: str, digits: int = 0) -> str:
    if one is None:
        return ""
    value = one.mean if what == "mean" else float(one.values.max())
    return f"{value:,.{digits}f} {unit}"


def _run_cell(run: Run) -> Any:
    return html.Td(html.Span([run_dot(run.key), run.name or run.key], className="run-cell"))


def _table(
    title: str, names: Sequence[str], rows: Sequence[Any], numeric: Sequence[str] = ()
) -> Any:
    head = [html.Th(n, scope="col", className="num" if n in numeric else "") for n in names]
    table = html.Table([html.Thead(html.Tr(head)), html.Tbody(list(rows))], className="table")
    return html.Div(
        [
            dmc.Title(title, order=4, className="chart-title"),
            html.Div(table, className="scroll-x", tabIndex=0, role="region",
                     **{"aria-label": title}),
        ]
    )  # fmt: skip
