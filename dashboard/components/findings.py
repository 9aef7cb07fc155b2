"""What the rules say of a run: its verdict, each finding with its fix, and what was not judged."""

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.core.diagnosis import Action, Diagnosis, DiagnosticFinding, Fact
from backend.core.records import Run
from dashboard.components.cards import command, panel, run_dot, state_label, state_link
from dashboard.formatting import count, number
from dashboard.view import View

PATH = "/convergence"
SEVERITY_SIGNS = {"stop": "■", "error": "▲", "warning": "!", "info": "i"}
STATES = {
    "sick": ("red", "✕", "problem"),
    "early": ("gray", "…", "too early to say"),
    "improving": ("blue", "↗", "still improving"),
    "converged": ("teal", "✓", "converged"),
    "finished": ("gray", "–", "finished"),
}
_SURE = {
    "proven": "proven by the evidence",
    "likely": "likely",
    "possible": "possible, the evidence is thin",
}


def severity_badge(severity: str) -> Any:
    """A severity in a word, a sign and a colour."""
    return html.Span(
        [html.Span(SEVERITY_SIGNS[severity], **{"aria-hidden": "true"}), severity],
        className=f"severity {severity}",
    )


def state_badge(diagnosis: Diagnosis | None) -> Any:
    """How a run stands."""
    if diagnosis is None:
        return dmc.Badge("? not looked at", color="gray", variant="light", tt="none")
    color, sign, text = STATES[diagnosis.state]
    return dmc.Badge(f"{sign} {text}", color=color, variant="light", tt="none")


def verdicts(
    runs: Sequence[Run], diagnoses: Mapping[str, Diagnosis | None], focus: Run, view: View
) -> Any:
    """A line per run; with several, each leads to its details and can leave."""
    several = len(runs) > 1
    lines = [_verdict(run, diagnoses[run.key], run.key == focus.key, runs, view) for run in runs]
    return html.Ul(lines, className=f"verdicts{' several' if several else ''}")


def _verdict(
    run: Run, diagnosis: Diagnosis | None, chosen: bool, runs: Sequence[Run], view: View
) -> Any:
    name = run.name or run.key
    keys = tuple(one.key for one in runs)
    said = sentence(diagnosis.verdict) if diagnosis else "Not looked at yet."
    title: Any = html.Span(name, className="chip-name", title=run.key)
    if len(runs) > 1 and not chosen:
        title = state_link(name, PATH, view, "rival chip-name", runs=keys, run=run.key, step="")
    head: list[Any] = [run_dot(run.key), title, state_label(run.status, reason=run.reason)]
    parts: list[Any] = [
        html.Span(head, className="verdict-run"),
        state_badge(diagnosis),
        html.Span(said, className="verdict"),
    ]
    if len(runs) > 1:
        rest = tuple(key for key in keys if key != run.key)
        sign = [html.Span("×", title=f"Remove {name}", **{"aria-hidden": "true"}),
                html.Span(f"Remove {name}", className="sr-only")]  # fmt: skip
        gone = {"run": ""} if run.key == view.run else {}
        parts.append(state_link(sign, PATH, view, "chip-close", runs=rest, **gone))
    tone = diagnosis.state if diagnosis else "early"
    mark = {"aria-current": "true"} if chosen and len(runs) > 1 else {}
    return html.Li(parts, className=f"panel verdict-line {tone}", **mark)


def findings_panel(
    run: Run, diagnosis: Diagnosis | None, charts: Mapping[int, Sequence[Any]]
) -> Any:
    """All that the rules say of a run, the gravest first. ``charts``: place of a finding to the
    curves that it shows."""
    name = run.name or run.key
    if diagnosis is None:
        return panel(
            f"Findings of {name}",
            dmc.Text("The rules have not looked at this run yet. They do so at each validation "
                     "of a training; for a run that is over, or that others trained, this does:",
                     size="sm", mb="sm"),
            command(f"assay diagnose {run.key}"),
        )  # fmt: skip
    cards = [_card(finding, diagnosis, charts.get(place, ()))
             for place, finding in enumerate(diagnosis.findings)]  # fmt: skip
    none = None
    if not cards:
        none = dmc.Text(_nothing(diagnosis), size="sm", c="dimmed")
    return panel(
        f"Findings of {name}",
        none,
        html.Div(cards, className="finding-list") if cards else None,
        _rest(diagnosis),
        note=f"As of step {diagnosis.step:,}.",
    )


def _nothing(diagnosis: Diagnosis) -> str:
    if diagnosis.clear:
        return f"No rule fired: {count(len(diagnosis.clear), 'rule')} looked and found nothing."
    return "No rule fired, and none had what it needs to look."


def _card(finding: DiagnosticFinding, diagnosis: Diagnosis, charts: Sequence[Any]) -> Any:
    where = f" · first at step {finding.step:,}" if finding.step else ""
    if finding.step == 0:
        where = " · before the first step"
    parts = [
        html.Div(
            [
                severity_badge(finding.severity),
                html.Span(finding.rule, className="rule-id"),
                html.Span(f"{finding.title}{where}", className="dim small"),
            ],
            className="finding-head",
        ),
        dmc.Title(sentence(finding.headline), order=4, className="finding-title"),
        _cause(finding),
        html.Div([_facts(finding.evidence), _action(finding.action)], className="finding-body"),
        html.Div(list(charts), className="charts finding-charts") if charts else None,
        _also(finding, diagnosis),
    ]
    return html.Article([part for part in parts if part is not None],
                        className=f"finding {finding.severity}")  # fmt: skip


def _cause(finding: DiagnosticFinding) -> Any:
    sure = html.Span(_SURE[finding.sure], className="dim")
    if finding.cause in finding.headline:  # as of D06, or there is none
        return html.P(["How sure: ", sure, "."], className="cause")
    how = html.Span([" (", sure, ")"], className="dim")
    return html.P([html.B("Cause: "), sentence(finding.cause), how], className="cause")


def _facts(facts: Sequence[Fact]) -> Any:
    if not facts:
        return None
    columns = [("Value", [_value(fact.value, fact) for fact in facts])]
    if any(fact.limit is not None for fact in facts):
        columns.append(("Limit", [_value(fact.limit, fact) for fact in facts]))
    if any(fact.step is not None for fact in facts):
        steps = ["–" if fact.step is None else f"{fact.step:,}" for fact in facts]
        columns.append(("Step", steps))
    head = [html.Th("What was seen", scope="col"),
            *(html.Th(title, scope="col", className="num") for title, _ in columns)]  # fmt: skip
    rows = [
        html.Tr([html.Th(fact.name, scope="row"),
                 *(html.Td(cells[place], className="num") for _, cells in columns)])
        for place, fact in enumerate(facts)
    ]  # fmt: skip
    return html.Div(
        html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table fact-table"),
        className="scroll-x",
        tabIndex=0,
        role="region",
        **{"aria-label": "What was seen"},
    )


def _value(value: float | str | None, fact: Fact) -> str:
    """A value or a limit; without decimals where both are whole, as counts are."""
    if isinstance(value, str) or value is None:
        return value or "–"
    whole = all(isinstance(v, float) and v.is_integer() and abs(v) < 1e6
                for v in (fact.value, fact.limit) if not isinstance(v, str | None))  # fmt: skip
    return f"{value:,.0f}" if whole else number(value)


def sentence(text: str) -> str:
    """With a capital, unless it begins with a name, and a full stop."""
    first = text.split(" ", 1)[0]
    start = text[:1].upper() + text[1:] if first.isalpha() else text
    return start if start.endswith((".", "!", "?")) else f"{start}."


def _action(action: Action) -> Any:
    parts: list[Any] = [dmc.Title("What to do", order=5, className="fix-title")]
    if action.advice:
        parts.append(html.P(sentence(action.advice)))
    if action.changes:
        rows = [
            html.Tr([html.Th(html.Code(change.key), scope="row"),
                     html.Td(html.Del(_setting(change.now))),
                     html.Td("→", className="arrow-cell", **{"aria-label": "becomes"}),
                     html.Td(html.Ins(_setting(change.proposed)))])
            for change in action.changes
        ]  # fmt: skip
        parts.append(html.Table(html.Tbody(rows), className="config-diff"))
    if action.command:
        parts += [html.Div("Start it:", className="control-label"), command(action.command)]
    if action.study:
        tried = "; ".join(f"{key}: {', '.join(map(_setting, values))}"
                          for key, values in action.search.items())  # fmt: skip
        parts += [html.Div(f"Or search ({tried}):" if tried else "Or search:",
                           className="control-label"), command(action.study)]  # fmt: skip
    return html.Div(parts, className="fix") if len(parts) > 1 else None


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return "not set" if value in (None, "") else str(value)


def _also(finding: DiagnosticFinding, diagnosis: Diagnosis) -> Any:
    """What fired too and is explained by this."""
    told = {other.rule: other for other in diagnosis.also_seen}
    if not finding.silenced:
        return None
    items = [
        html.Li([html.Span(rule, className="rule-id"),
                 f" {told[rule].headline}" if rule in told else ""])
        for rule in finding.silenced
    ]  # fmt: skip
    return html.Div([html.Span("Also seen, and explained by this:", className="control-label"),
                     html.Ul(items)], className="also")  # fmt: skip


def _rest(diagnosis: Diagnosis) -> Any:
    """Rules that could not look, and rules that found nothing, folded away."""
    parts = []
    if diagnosis.not_evaluated:
        rows = [html.Li([html.Span(one.rule, className="rule-id"), f" {one.title}: {one.reason}"])
                for one in diagnosis.not_evaluated]  # fmt: skip
        summary = f"{count(len(rows), 'rule')} not evaluated, and why"
        parts.append(html.Details([html.Summary(summary), html.Ul(rows)]))
    if diagnosis.clear:
        rules = [html.Span(rule, className="rule-id") for rule in diagnosis.clear]
        summary = f"{count(len(rules), 'rule')} looked and found nothing"
        parts.append(html.Details([html.Summary(summary), html.Div(rules, className="chips")]))
    return html.Div(parts, className="folded") if parts else None
