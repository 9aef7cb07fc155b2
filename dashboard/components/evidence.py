"""A stored comparison: the verdict in a sentence, and what it stands on."""

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.analysis.text import level, p_value, said, scored_on, share
from backend.analysis.weights import summary
from backend.core.comparisons import (
    Comparison,
    Contender,
    LayerChange,
    MetricDelta,
)
from dashboard import ids
from dashboard.components.cards import facts, panel, state_link, verdict_badge
from dashboard.components.gains import changes, family, gallery, units
from dashboard.components.graph import graph
from dashboard.components.temporal import temporal
from dashboard.components.tracking import tracking
from dashboard.figures.comparison import forest, telling, weights
from dashboard.formatting import count, gained, measured, moment, number
from dashboard.view import View


def headline(comparison: Comparison) -> str:
    """The verdict as a sentence."""
    verdict = said(comparison.headline.verdict)
    return f"{comparison.candidate.label} {verdict} {comparison.baseline.label}"


def detail(comparison: Comparison) -> str:
    """The number behind the verdict, with its interval and where it comes from."""
    d, target = comparison.headline, comparison.target
    old, new = measured(d.baseline, d.unit), measured(d.candidate, d.unit)
    text = f"{d.name} {gained(d.delta, d.unit)} ({old} → {new})"
    if d.low is not None and d.high is not None:
        low, high = gained(d.low, d.unit), gained(d.high, d.unit)
        text += f", {level(comparison.confidence)} interval {low} to {high}"
    if d.wins is not None:
        text += f"; ahead in {share(d.wins)} of {comparison.replicates:,} bootstrap replicates"
    if d.p_value is not None:
        text += f"; permutation p {p_value(d.p_value)}"
    return f"{text}; on {scored_on(target.units, target.unit, target.split)}."


def banner(comparison: Comparison) -> Any:
    """The verdict on top of the page, with the way to its evidence."""
    return dmc.Paper(
        [
            verdict_badge(comparison.headline.verdict, "lg"),
            html.Div(
                [
                    html.Div(headline(comparison), className="verdict"),
                    dmc.Text(detail(comparison), size="sm", c="dimmed"),
                ],
                className="spring",
            ),
            html.A("Evidence ↓", href=f"#{ids.COMPARE_EVIDENCE}", className="button-link quiet"),
        ],
        className=f"panel banner {comparison.headline.verdict}",
    )


def evidence(comparison: Comparison, rivals: Sequence[Comparison], view: View, scheme: str) -> Any:
    """Everything that is stored of a comparison. ``rivals`` are others of the same runs."""
    per_class = telling(comparison.target.per_class)
    metrics = panel(
        "Metrics on the target",
        _forest("metrics", comparison.target.metrics, comparison, scheme),
        note="Candidate against baseline; the grey band counts as equivalent.",
    )
    classes = panel(
        f"{comparison.target.class_metric or comparison.primary} per class",
        _forest("classes", per_class, comparison, scheme),
        note=_class_note(comparison.target.per_class, per_class),
    )
    target = comparison.target
    wide = [family(comparison.family), tracking(comparison), temporal(comparison, view),
            units(target), gallery(target), changes(comparison),
            _weights(comparison, scheme)]  # fmt: skip
    parts = [
        html.Div([metrics, _forgetting(comparison, scheme)], className="stack"),
        html.Div([classes, _errors(comparison, scheme)], className="stack"),
        *(html.Div(part, className="wide") for part in wide if part is not None),
    ]
    return html.Section(
        [
            _evidence_head(comparison, rivals, view),
            _warnings(comparison.warnings),
            html.Div(parts, className="evidence"),
            panel("Conditions", facts(_conditions(comparison))),
        ],
        className="stack",
        **{"aria-label": "Stored comparison"},
    )


def _evidence_head(comparison: Comparison, rivals: Sequence[Comparison], view: View) -> Any:
    others = [
        state_link(
            [
                verdict_badge(c.headline.verdict, "xs"),
                f"{c.candidate.label} against {c.baseline.label}",
            ],
            "/compare",
            view,
            "rival",
            comparison=c.key,
        )
        for c in rivals
        if c.key != comparison.key
    ]
    return html.Div(
        [
            dmc.Title("Old versus new", order=2, className="section-title"),
            html.Div([verdict_badge(comparison.headline.verdict), html.Span(headline(comparison))],
                     className="command"),
            html.Div(["Also stored: ", *others], className="rivals") if others else None,
        ]
    )  # fmt: skip


def _forgetting(comparison: Comparison, scheme: str) -> Any:
    source = comparison.source
    if source is None:
        body: Any = _none("Not measured: no source dataset was given (config key 'source').")
        return panel("Forgetting on the source", body)
    return panel(
        "Forgetting on the source",
        _forest("source", source.metrics, comparison, scheme),
        note=f"The same two checkpoints on "
        f"{scored_on(source.units, source.unit, source.split)} of the source.",
    )


def _weights(comparison: Comparison, scheme: str) -> Any:
    layers = comparison.weights
    body: Any = _none("No layers could be compared.")
    if any(layer.relative is not None for layer in layers):
        figure = weights(layers, scheme, f"weights-{comparison.key}")
        label = "Relative change of the weights per layer"
        body = graph(ids.graph(ids.EVIDENCE, "weights"), figure, label)
    return panel("Weights moved per layer", body, note=_layer_note(layers))


def _errors(comparison: Comparison, scheme: str) -> Any:
    if not comparison.target.errors:
        return None
    return panel(
        "What errors cost",
        _forest("errors", comparison.target.errors, comparison, scheme),
        note="AP at IoU 0.5 that mending each kind of error would win back (TIDE); less is "
        "better, so a bar to the left is a gain.",
    )


def _forest(name: str, deltas: Sequence[MetricDelta], comparison: Comparison, scheme: str) -> Any:
    """A figure for each scale: metrics with the same margin can share an axis."""
    known = [d for d in deltas if d.delta is not None]
    if not known:
        return _none("Nothing was measured.")
    margins = [comparison.margin if d.margin is None else d.margin for d in known]
    figures = []
    for number_, margin in enumerate(dict.fromkeys(margins)):
        rows = [d for d, own in zip(known, margins, strict=True) if own == margin]
        part = name if number_ == 0 else f"{name}-{number_}"
        figure = forest(rows, margin, scheme, f"{part}-{comparison.key}")
        label = f"Differences with {level(comparison.confidence)} intervals: {part}"
        figures.append(graph(ids.graph(ids.EVIDENCE, part), figure, label))
    return html.Div(figures)


def _conditions(c: Comparison) -> list[tuple[str, Any]]:
    settings = ", ".join(
        f"{key} {value}" for key, value in c.target.baseline_report.settings.items()
    )
    return [
        ("Baseline", _contender(c.baseline)),
        ("Candidate", _contender(c.candidate)),
        ("Data", ", ".join(filter(None, [c.target.data, c.target.split]))),
        ("Digest", html.Code(c.target.data_digest[:12], title=c.target.data_digest)),
        ("Resampled", f"{count(c.target.units, c.target.unit)}, {c.replicates:,} replicates"),
        ("Interval", f"{level(c.confidence)}, equal within ±{number(c.margin)}"),
        ("Evaluator", ", ".join(filter(None, [c.target.evaluator, settings]))),
        ("Seed", str(c.seed)),
        ("Made", moment(c.created)),
    ]


def _contender(side: Contender) -> Any:
    checkpoint = side.checkpoint
    text = f"{side.label}, epoch {checkpoint.epoch}" if checkpoint.epoch else side.label
    return html.Span([text, " ", html.Code(checkpoint.sha256[:12], title=checkpoint.path)])


def _class_note(all_: Sequence[MetricDelta], shown: Sequence[MetricDelta]) -> str:
    absent = [d.name for d in all_ if d.delta is None]
    notes = []
    if len(shown) + len(absent) < len(all_):
        notes.append(f"the {len(shown)} largest of {len(all_)} differences")
    if absent:
        notes.append(f"no ground truth for {', '.join(absent)}")
    return "; ".join(notes).capitalize() + ("." if notes else "")


def _layer_note(layers: Sequence[LayerChange]) -> str:
    skipped = (layer.note for layer in layers if layer.relative is None and not layer.identical)
    why = ", ".join(sorted(filter(None, set(skipped))))
    return " ".join(filter(None, [summary(layers), f"Not compared: {why}." if why else ""]))


def _warnings(texts: Sequence[str]) -> Any:
    if not texts:
        return None
    listed = html.Ul([html.Li(text) for text in texts])
    return dmc.Alert(listed, color="yellow", variant="light", className="warning")


def _none(text: str) -> Any:
    return dmc.Text(text, size="sm", c="dimmed", py="lg")
