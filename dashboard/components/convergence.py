"""The panels and tables of *Convergence*. ``drawn`` are figures by the names they go by."""

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.views import (
    USED,
    Bars,
    Candidate,
    Shipping,
    ratios,
    wrong_with,
)
from backend.core.events import InputProbed, MovementObserved
from backend.core.evidence import GroupMovement
from backend.core.records import Run
from dashboard import ids
from dashboard.components.cards import command, empty, panel, state_link
from dashboard.components.expert_panels import Figures, graph_id
from dashboard.components.graph import graph
from dashboard.formatting import count, number, percent
from dashboard.view import View

_TITLES = {
    "headline": ("Headline metric", "What ranks the checkpoints."),
    "gap": ("Gap of validation to training", "The dashed level is the gap that a baseline has "
            "between the two splits: what their labels alone explain is no overfitting."),
    "norm": ("Gradients by part", "L2 norm, from the input of the network (blue) to its output "
             "(orange)."),
    "mean_abs": ("Mean absolute gradient by part", "What a part is told to change, per weight."),
    "update": ("Update ratio by part", "Size of an update over the size of the weights; it falls "
               "with the learning rate. Shaded: usual for a training at full rate."),
    "grad_norm": ("Gradient norm before clipping", "Of the whole network."),
    "clipped": ("Clipped steps", "Share of the steps since the last log that were clipped."),
    "auroc": ("Ranking", "AUROC of the score that something is there."),
}  # fmt: skip
_NETWORK = ("norm", "mean_abs", "update", "grad_norm", "clipped")


def no_runs(there: bool, view: View) -> Any:
    """Why there is nothing to see, and what to do about it."""
    if there:
        names = ", ".join(view.runs or (view.run,))
        link = state_link("Choose runs", "/", view, "button-link", runs=(), run="")
        return empty("No such run", f"No run of this store is called '{names}'.", link)
    return empty(
        "No runs yet",
        "A training shows here why it converges, or why it does not. This makes one that does "
        "not, says why, and cures it:",
        command("assay demo mdfed"),
    )


def course_panels(drawn: Figures, runs: Sequence[Run], why: str, controls: Any) -> Any:
    """Everything over the training, as far as it is known; ``why`` anything is not."""
    return html.Div(
        [_course(drawn, runs, controls), _network(drawn, runs, why), _predicted(drawn, runs, why)],
        className="stack",
    )


def _course(drawn: Figures, runs: Sequence[Run], controls: Any) -> Any:
    head: Any = dmc.Text("No loss was logged.", size="sm", c="dimmed", mb="sm")
    if "course" in drawn:
        id_ = graph_id(ids.COURSES, "course", *runs)
        head = graph(id_, drawn["course"], f"loss {runs[0].name}")
    parts = [name for name in drawn if name.startswith("loss/")]
    names = ["headline", *parts, "gap"]
    cards = [_chart(name, drawn[name], runs) for name in names if name in drawn]
    return panel(
        "Over the training",
        head,
        html.Div(cards, className="charts"),
        aside=controls,
        note="Solid: validation; dotted: training. Dashed levels: what predictors get that never "
        "look at their input. Between loss and learning rate: checkpoints ○, the best ★, "
        "recoveries ▼, an early end ✕.",
    )


def _network(drawn: Figures, runs: Sequence[Run], why: str) -> Any:
    cards = [_chart(name, drawn[name], runs) for name in _NETWORK if name in drawn]
    body: Any = html.Div(cards, className="charts") if cards else _none(why)
    several = len(runs) > 1 and any(name in drawn for name in ("norm", "update"))
    note = f"Parts of the network are those of {runs[0].name}." if several else ""
    return panel("Gradients and updates", body, note=note)


def _predicted(drawn: Figures, runs: Sequence[Run], why: str) -> Any:
    names = [name for name in drawn if name.startswith("scores/") or name == "auroc"]
    if not names:
        return panel("Scores over the training", _none(why))
    cards = [_chart(name, drawn[name], runs) for name in names]
    return panel("Scores over the training", html.Div(cards, className="charts"))


def _chart(name: str, figure: Any, runs: Sequence[Run]) -> Any:
    kind, _, what = name.partition("/")
    title, note = _TITLES.get(name, ("", ""))
    if kind == "loss":
        title = what
    elif kind == "scores":
        title, note = f"Scores of {what}", "Quantiles over all positions, by validation."
    return html.Div(
        [
            dmc.Title(title, order=4, className="chart-title"),
            dmc.Text(note, size="xs", c="dimmed") if note else None,
            graph(graph_id(ids.COURSES, name, *runs), figure, f"{title} {runs[0].name}"),
        ],
        className="chart",
    )


def why_missing(run: Run, told: Evidence, ours: bool) -> str:
    """Why a run shows less than others, in a sentence. ``ours``: one of our trainers made it."""
    if told.plan is not None:
        if run.status == "running":
            return "None yet: it is told at the first validation."
        return "None was told: the run ended before its first validation, or observes nothing."
    if not ours:
        return "Not known: of a run that others trained there are its curves alone."
    return ("Not known: the run was trained without observing (config key diagnostics.observe), "
            "or before this version.")  # fmt: skip


def labels_panel(drawn: Figures, bars: Sequence[Bars], runs: Sequence[Run], why: str) -> Any:
    """Truth and prediction of each output at the chosen validation."""
    if not drawn:
        return _none(why)
    cards = []
    for one in bars:
        name = f"labels/{one.output}"
        id_ = graph_id(ids.LABELS, name, *runs)
        cards.append(
            html.Div(
                [
                    dmc.Title(one.output, order=4, className="chart-title"),
                    graph(id_, drawn[name], f"labels {one.output} {runs[0].name}"),
                ],
                className="chart",
            )
        )
    return html.Div(cards, className="charts")


def label_notes(bars: Sequence[Bars]) -> list[Any]:
    """What the bars leave out: the background, and rare classes."""
    notes = []
    for one in bars:
        words = []
        if one.background:
            name, truth, predicted = one.background
            right = percent(truth / ((truth + sum(one.truth)) or 1))
            said = percent(predicted / ((predicted + sum(one.predicted)) or 1))
            words.append(f"{name} is {right} of the truth and {said} of what is predicted")
        if one.left_out:
            words.append(f"without the {one.left_out:,} rarest classes")
        if words:
            notes.append(html.Div(f"{one.output}: {'; '.join(words)}."))
    return notes


def shipping_panel(run: Run, found: Shipping | None, better: str, view: View) -> Any:
    """Which evaluation to ship, and how to look closer."""
    title = "Which epoch to ship"
    if found is None:
        return panel(title, _none("No validation has told the headline metric yet."))
    if found.flat:
        said = f"{run.headline} was {number(found.candidates[0].value)} at every validation: it "
        return panel(title, _none(f"{said}cannot tell one from another."))
    names = ("Why", "Epoch", "Step", run.headline, "Validation loss")
    head = [html.Th(n, scope="col", className="num" if i else "") for i, n in enumerate(names)]
    rows = [_candidate(one) for one in found.candidates]
    n = len(found.within)
    within = (
        f"{count(n, 'validation')} of step {found.within[0]:,} to {found.within[-1]:,} "
        f"{'are' if n > 1 else 'is'} within {number(found.margin, 3)} of the best, which is no "
        f"difference here (scatter from one to the next: {number(found.scatter, 3)})."
    )
    link = state_link("Compare", "/compare", view, "button-link quiet", runs=(run.key,),
                      baseline="", comparison="")  # fmt: skip
    return panel(
        title,
        html.Div(html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table"),
                 className="scroll-x", tabIndex=0),
        html.P(within, className="small"),
        _closer(run, found),
        aside=link,
        note=f"{run.headline}, {better}." if better else "",
    )  # fmt: skip


def _candidate(one: Candidate) -> Any:
    return html.Tr(
        [
            html.Th(", ".join(one.why), scope="row", className="wrap"),
            html.Td("–" if one.epoch is None else f"{one.epoch:g}", className="num"),
            html.Td(f"{one.step:,}", className="num"),
            html.Td(number(one.value), className="num"),
            html.Td(number(one.loss), className="num"),
        ]
    )


def _closer(run: Run, found: Shipping) -> Any:
    """The command that compares the two candidates that are furthest apart."""
    epochs = [one.epoch for one in found.candidates if one.epoch is not None]
    if len(epochs) < 2:
        return None
    text = f"assay epochs {run.key} {round(epochs[0])} {round(epochs[-1])}"
    return html.Div([html.Span("What the curve says of two of them:", className="control-label"),
                     command(text)], className="closer")  # fmt: skip


def movement_panel(told: MovementObserved | None, why: str) -> Any:
    """The plan of what trains beside what really moved."""
    title = "What moved"
    if told is None:
        return panel(title, _none(why))
    names = ("Part", "Planned", "Tensors", "Changed", "Change", "Rate of peak")
    head = [html.Th(n, scope="col", className="num" if i > 1 else "")
            for i, n in enumerate(names)]  # fmt: skip
    rows = [_moved(group) for group in told.groups]
    wrong = [f"planned as frozen, but changed: {name}" for name in told.thawed]
    wrong += [f"frozen, but in training mode: {name}" for name in told.training]
    return panel(
        title,
        html.Div(html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table"),
                 className="scroll-x limited", tabIndex=0),
        html.Ul([html.Li(text) for text in wrong], className="findings warn") if wrong else None,
        note=f"From step {told.since:,} to {told.step:,}. Change: L2 norm of it over that of the "
        "weights before.",
    )  # fmt: skip


def _moved(group: GroupMovement) -> Any:
    wrong = wrong_with(group)
    name: list[Any] = [html.Span(group.name)]
    if wrong:
        name.append(html.Span(wrong, className="tag dead"))
    changed = "–" if group.changed is None else f"{group.changed:,}"
    return html.Tr(
        [
            html.Th(html.Span(name, className="run-cell"), scope="row"),
            html.Td(group.planned, className="dim" if group.planned == "frozen" else ""),
            html.Td(f"{group.tensors:,}", className="num"),
            html.Td(changed, className="num"),
            html.Td(number(group.change, 3), className="num"),
            html.Td(f"{group.rate:.0%}", className="num"),
        ]
    )


def probe_panel(told: Sequence[InputProbed], why: str) -> Any:
    """Is the input used? The loss as it is and with inputs permuted across samples."""
    title = "Input probe"
    if not told:
        return panel(title, _none(why))
    names = ("Step", "Loss", "As it is", "Inputs permuted", "Ratio R")
    head = [html.Th(n, scope="col", className="num" if i != 1 else "")
            for i, n in enumerate(names)]  # fmt: skip
    rows = [row for one in reversed(told) for row in _probed(one)]
    last = told[-1]
    return panel(
        title,
        html.Div(html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table"),
                 className="scroll-x limited", tabIndex=0),
        note=f"Labels stay, inputs are permuted across {count(last.samples, 'sample')} of "
        f"{last.split}. R below {USED:g}: the loss does not care which input it gets.",
    )  # fmt: skip


def _probed(one: InputProbed) -> list[Any]:
    rows = []
    for place, (part, ratio) in enumerate(ratios(one).items()):
        unused = ratio < USED
        said = [f"{ratio:.3f}"]
        if unused:
            said.append(html.Span("not used", className="tag dead"))
        rows.append(
            html.Tr(
                [
                    html.Td("" if place else f"{one.step:,}", className="num"),
                    html.Th(part, scope="row"),
                    html.Td(number(one.losses[part]), className="num"),
                    html.Td(number(one.permuted[part]), className="num"),
                    html.Td(html.Span(said, className="run-cell"), className="num"),
                ]
            )
        )
    return rows


def _none(text: str) -> Any:
    return dmc.Text(text, size="sm", c="dimmed")
