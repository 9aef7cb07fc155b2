"""The charts of *Convergence*: figures by the names they go by."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import plotly.graph_objects as go
from dash import Patch

from backend.analysis.diagnostics.tracking import newest_tracks
from backend.analysis.diagnostics.views import (
    USUAL_UPDATE,
    VANISHED,
    bars_of,
    baselines_of,
    finding_steps,
    gap_of,
    network_parts,
    observed_at,
    over_time,
)
from backend.core.diagnosis import DiagnosticFinding, Shown
from dashboard.components.expert_panels import Figures
from dashboard.figures import convergence as figures
from dashboard.figures import predictions, tracks
from dashboard.figures.convergence import Drawn, Timeline, Track
from dashboard.figures.judging import Steps
from dashboard.pages import expert_charts
from dashboard.pages.convergence_data import Subject
from dashboard.view import View

_AT_TIOU = "val/mAP_"
MOST_SHOWN = 4  # curves of a finding


def course_figures(subject: Subject, view: View, scheme: str) -> Figures:
    """All that is drawn over the training; what is not known is left out."""
    how = Drawn(scheme, f"{' '.join(run.key for run in subject.ordered)} {view.log}", view.log)
    told = subject.evidence[subject.focus.key]
    warm = told.plan.warmup_steps if told.plan else 0
    at = Steps(warm, finding_steps(subject.diagnosis))
    found = _losses(subject, at, how) | _headline(subject, at, how) | _gap(subject, at, how)
    found |= _thresholds(subject, at, how)
    found |= _network(subject, at, how) | _clipping(subject, at, how)
    return found | _predicted(subject, how) | _tracked(subject, how)


def _losses(subject: Subject, at: Steps, how: Drawn) -> Figures:
    found: Figures = {}
    told = subject.evidence[subject.focus.key]
    for place, part in enumerate(subject.parts_drawn):
        tracks, levels = subject.tracks(part), baselines_of(told, part)
        if place == 0:
            rates = [(name, line) for name in subject.rates for line in subject.lines(name)]
            happened = [Timeline(run.name, subject.styles[run.key].color, subject.marks(run))
                        for run in subject.scope.runs]  # fmt: skip
            found["course"] = figures.course(tracks, levels, rates, happened, at, how)
        else:
            found[f"loss/{part}"] = figures.curve(tracks, levels, part, at, how)
    return found


def _gap(subject: Subject, at: Steps, how: Drawn) -> Figures:
    """Of the total loss, or of what comes first."""
    part = next(iter(subject.parts_drawn), "")
    rows = []
    own = None
    for run in subject.scope.runs:
        train, val = (subject.losses(run.key, split).get(part) for split in ("train", "val"))
        one = gap_of(train, val, subject.evidence[run.key], part)
        if one is not None:
            rows.append((run.name, subject.styles[run.key].color, one))
            own = one if run.key == subject.focus.key else own
    return {"gap": figures.gap(rows, own, at, how)} if rows else {}


def _headline(subject: Subject, at: Steps, how: Drawn) -> Figures:
    metric = subject.focus.headline
    tracks = [Track(line, "only") for line in subject.lines(metric)]
    if not tracks:
        return {}
    told = subject.evidence[subject.focus.key].baselines("val")
    name = metric.partition("/")[2]
    levels = {
        f"predicting {what}": values[name]
        for what, values in (told.metrics if told else {}).items()
        if name in values
    }
    straight = Drawn(how.scheme, how.revision)
    return {"headline": figures.curve(tracks, levels, metric, at, straight)}


def _thresholds(subject: Subject, at: Steps, how: Drawn) -> Figures:
    """The mAP of the run in focus at each temporal IoU, where there are several."""
    curves = subject.curves[subject.focus.key]
    lines = [
        (f"tIoU {name.removeprefix(_AT_TIOU)}", curve.steps.tolist(), curve.values.tolist())
        for name, curve in sorted(curves.items())
        if name.startswith(_AT_TIOU)
    ]
    straight = Drawn(how.scheme, how.revision)
    return {"tiou": figures.thresholds(lines, "mAP", at, straight)} if len(lines) > 1 else {}


def _network(subject: Subject, at: Steps, how: Drawn) -> Figures:
    """A line per part of the network, of the run in focus."""
    key = subject.focus.key
    curves = subject.curves[key]
    parts = network_parts(subject.evidence[key], list(curves))
    charts: tuple[tuple[str, str, str, tuple[float, float] | None, dict[str, float]], ...] = (
        ("norm", "gradient/{}/norm", "Gradient (L2 norm)", None, {}),
        ("mean_abs", "gradient/{}/mean_abs", "Gradient (mean absolute value)", None,
         {"vanished below": VANISHED}),
        ("update", "update/{}", "Update / weights (L2)", USUAL_UPDATE, {}),
    )  # fmt: skip
    found: Figures = {}
    for name, pattern, title, usual, limits in charts:
        known = [(part, curves[pattern.format(part)]) for part in parts
                 if pattern.format(part) in curves]  # fmt: skip
        lines = [(part, curve.steps.tolist(), curve.values.tolist()) for part, curve in known]
        if lines:
            found[name] = figures.network(lines, title, usual, limits, at, how)
    return found


def _clipping(subject: Subject, at: Steps, how: Drawn) -> Figures:
    found: Figures = {}
    norms = [Track(line, "only") for line in subject.lines("train/grad_norm")]
    if norms:
        plan = subject.evidence[subject.focus.key].plan
        levels = {"clipped above": plan.clip} if plan and plan.clip else {}
        logged = Drawn(how.scheme, how.revision, log=True)
        found["grad_norm"] = figures.curve(norms, levels, "Gradient norm", at, logged)
    clipped = [(line.style.name, line.style.color, line.x.tolist(), line.y.tolist())
               for line in subject.lines("train/clipped")]  # fmt: skip
    if clipped:
        found["clipped"] = figures.shares(clipped, "Steps clipped", how)
    return found


def _predicted(subject: Subject, how: Drawn) -> Figures:
    told = subject.evidence[subject.focus.key].predictions
    outputs = dict.fromkeys(h.output for one in told for h in one.histograms)
    courses = {name: over_time(told, name) for name in outputs}
    found: Figures = {}
    for name, course in courses.items():
        if any(one.quantiles for _, one in course):
            found[f"scores/{name}"] = predictions.scores(course, how.scheme, how.revision)
    ranked = [(name, course) for name, course in courses.items()
              if any(one.auroc is not None for _, one in course)]  # fmt: skip
    if ranked:
        found["auroc"] = predictions.ranking(ranked, how.scheme, how.revision)
    return found


def _tracked(subject: Subject, how: Drawn) -> Figures:
    """Scores against the threshold at the newest validation, and what another one would give."""
    observed = newest_tracks(subject.evidence[subject.focus.key])
    if observed is None:
        return {}
    seen, color = observed.seen, subject.styles[subject.focus.key].color
    found: Figures = {"threshold/scores": tracks.histogram(seen, color, how.scheme, how.revision)}
    if seen.swept:
        found["threshold/tracks"] = tracks.tracks_swept(seen, color, how.scheme, how.revision)
        found["threshold/hota"] = tracks.hota_swept(seen, how.scheme, how.revision)
    return found


def label_figures(subject: Subject, view: View, scheme: str) -> Figures:
    """Truth and prediction of each output at one validation of the run in focus."""
    observed = observed_at(subject.evidence[subject.focus.key].predictions, view.step)
    color = subject.styles[subject.focus.key].color
    return {
        f"labels/{one.output}": predictions.labels(bars_of(one), color, scheme, subject.focus.key)
        for one in (observed.histograms if observed else ())
    }


def finding_figures(subject: Subject, scheme: str) -> Figures:
    """The curves that each finding shows, named ``place/key``, with its levels and its step; also
    those of the findings that it explains, by turns: they are often what one sees of it."""
    found: Figures = {}
    told = subject.diagnosis
    for place, finding in enumerate(told.findings if told else ()):
        silenced = [
            one for one in (told.also_seen if told else ()) if one.rule in finding.silenced
        ]
        rows = zip_longest(*([(one, s) for s in one.curves] for one in (finding, *silenced)))
        own: Figures = {}
        for one, shown in (pair for row in rows for pair in row if pair):
            figure = _shown(subject, one, shown, scheme)
            if figure is not None and len(own) < MOST_SHOWN:
                own.setdefault(f"{place}/{shown.key}", figure)
        found |= own
    return found


def _shown(
    subject: Subject, finding: DiagnosticFinding, shown: Shown, scheme: str
) -> go.Figure | None:
    """A curve as a finding shows it; None if it was not logged."""
    key = subject.focus.key
    curve = subject.curves[key].get(shown.key)
    if curve is None:
        return None
    how = Drawn(scheme, f"{key} {finding.rule}", _wide(shown.key))
    tracks = [Track(subject.line(key, curve), "only")]
    figure = figures.curve(tracks, shown.levels, shown.key, _where(finding), how)
    return figure.update_layout(height=figures.SMALL)


def _where(finding: DiagnosticFinding) -> Steps:
    return Steps(findings={finding.step: finding.rule} if finding.step else None)


def _wide(key: str) -> bool:
    """Whether a quantity runs over many powers of ten."""
    return key.startswith(("gradient/", "update/")) or key == "train/grad_norm"


def on_screen(
    shown: Sequence[Mapping[str, str]], drawn: Figures, subject: Subject
) -> list[Any] | None:
    """New data for the charts on screen, in their order; None if those are of other things."""
    there = expert_charts.on_screen(shown, drawn, *subject.ordered)
    return None if there is None else [_patched(figure) for figure in there]


def _patched(figure: go.Figure) -> Patch:
    patch = expert_charts.patched(figure)
    for part in ("type", "dtick", "tickvals"):
        patch["layout"]["yaxis"][part] = figure.layout.yaxis[part]
    return patch
