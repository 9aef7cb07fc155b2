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
    "tiou": ("mAP by temporal IoU", "Of the run in focus, from the easiest threshold (blue) to "
             "the strictest (orange)."),
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
    "threshold/scores": ("Scores of all queries", "In all frames of the newest validation. Tracks "
                         "begin right of the threshold."),
    "threshold/tracks": ("Tracks by threshold", "Counted from stored scores."),
    "threshold/hota": ("HOTA by threshold", "What another threshold would give."),
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


def course_charts(drawn: Figures, runs: Sequence[Run]) -> list[Any]:
    """Loss, events and rate over the whole width, then the rest of what is learnt."""
    head: Any = dmc.Text("No loss was logged.", size="sm", c="dimmed", mb="sm")
    if "course" in drawn:
        id_ = graph_id(ids.COURSES, "course", *runs)
        head = graph(id_, drawn["course"], f"loss {runs[0].name}")
    parts = [name for name in drawn if name.startswith("loss/")]
    names = [name for name in ("headline", "tiou", *parts, "gap") if name in drawn]
    return [head, _cards(names, drawn, runs)]


def inner_panels(drawn: Figures, runs: Sequence[Run]) -> list[Any]:
    """What the network does inside, and how sure it is of what it says, of the run in focus."""
    whose = f"Of {runs[0].name}; whole-network charts show all runs." if len(runs) > 1 else ""
    own = f"Of {runs[0].name}." if len(runs) > 1 else ""
    network = [name for name in _NETWORK if name in drawn]
    scores = [name for name in drawn if name.startswith("scores/") or name == "auroc"]
    threshold = [name for name in drawn if name.startswith("threshold/")]
    groups = (
        ("Gradients and updates", network, whose),
        ("Scores over the training", scores, own),
        ("Scores and the threshold", threshold, own),
    )
    return [panel(title, _cards(names, drawn, runs), note=note)
            for title, names, note in groups if names]  # fmt: skip


def _cards(names: Sequence[str], drawn: Figures, runs: Sequence[Run]) -> Any:
    return html.Div([_chart(name, drawn[name], runs) for name in names], className="charts")


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


def missing_panel(run: Run, told: Evidence, names: Sequence[str], ours: bool) -> Any:
    """Which parts of the page a run has nothing for, and why, in one line each reason.

    ``names`` are its metrics; ``ours``: one of our trainers made it.
    """
    parts = {
        "curves and which epoch to ship": any(n.startswith(("train/", "val/")) for n in names),
        "gradients and updates": any(n.startswith(("gradient/", "update/")) for n in names),
        "predictions": bool(told.predictions),
        "what moved": bool(told.movements),
        "the input probe": bool(told.probes),
    }
    absent = [part for part, there in parts.items() if not there]
    if not absent:
        return None
    text = f"{', '.join(absent)}. {_why(run, told, ours)}"
    return panel("Not shown", dmc.Text(text[0].upper() + text[1:], size="sm", c="dimmed"))


def _why(run: Run, told: Evidence, ours: bool) -> str:
    if not ours:
        return "Others trained this run: its curves are all there is."
    if told.plan is None:
        return ("It was trained before this was observed, or with 'diagnostics.observe: false' in "
                "its config.")  # fmt: skip
    if run.status == "running":
        return ("Told at each validation; the input is probed at a quarter of the training and at "
                "its end.")  # fmt: skip
    return "The run ended before this was told, or its trainer does not tell it."


def labels_panel(drawn: Figures, bars: Sequence[Bars], runs: Sequence[Run]) -> Any:
    """Truth and prediction of each output at the chosen validation."""
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
        if one.background and any(one.background[1:]):  # a detector has none
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
        return None
    if found.flat:
        said = f"{run.headline} was {number(found.candidates[0].value)} at every validation: it "
        return panel(title, _none(f"{said}cannot tell one from another."))
    names = ("Why", "Epoch", "Step", run.headline, "Validation loss")
    head = [html.Th(n, scope="col", className="num" if i else "") for i, n in enumerate(names)]
    rows = [_candidate(one) for one in found.candidates]
    link = state_link("Compare", "/compare", view, "button-link quiet", runs=(run.key,),
                      baseline="", comparison="")  # fmt: skip
    return panel(
        title,
        html.Div(html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table"),
                 className="scroll-x", tabIndex=0),
        html.P(_within(run, found), className="small"),
        _closer(run, found),
        aside=link,
        note=f"{run.headline}, {better}." if better else "",
    )  # fmt: skip


def _within(run: Run, found: Shipping) -> str:
    """Which evaluations are no worse than the best."""
    margin = f"within {number(found.margin, 3)} of the best"
    if len(found.within) == 1:
        return f"No other validation is {margin}."
    scatter = f"{run.headline} scatters by {number(found.scatter, 3)} from one to the next"
    first, *_, last = found.within
    return (
        f"{len(found.within):,} validations from step {first:,} to {last:,} are {margin}, which "
        f"is no difference here: {scatter}."
    )


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


def movement_panel(told: MovementObserved) -> Any:
    """The plan of what trains beside what really moved."""
    names = ("Part", "Planned", "Tensors", "Changed", "Change", "Rate of peak")
    head = [html.Th(n, scope="col", className="num" if i > 1 else "")
            for i, n in enumerate(names)]  # fmt: skip
    rows = [_moved(group) for group in told.groups]
    wrong = [f"planned as frozen, but changed: {name}" for name in told.thawed]
    wrong += [f"frozen, but in training mode: {name}" for name in told.training]
    return panel(
        "What moved",
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


def probe_panel(told: Sequence[InputProbed]) -> Any:
    """Is the input used? The loss as it is and with inputs permuted across samples."""
    names = ("Step", "Loss", "As it is", "Inputs permuted", "Ratio R")
    head = [html.Th(n, scope="col", className="num" if i != 1 else "")
            for i, n in enumerate(names)]  # fmt: skip
    rows = [row for one in reversed(told) for row in _probed(one)]
    last = told[-1]
    return panel(
        "Input probe",
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
