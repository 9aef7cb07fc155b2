"""Which class goes to which expert, what each can do alone, what changed, what is confused."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from backend.analysis.experts import Matrix
from dashboard.figures.theme import CHANGE, HEAT, Scheme, template
from dashboard.formatting import cut, number

ROW = 32  # pixels of height
Cell = tuple[int, int]


def weights(
    matrix: Matrix,
    scores: Sequence[float | None],
    dead: Sequence[int],
    scheme: Scheme,
    revision: str,
) -> go.Figure:
    """Mean weight of each expert on the objects of each row; ``scores``: AP of each row, if any.

    The expert in charge of a row is framed, experts that are ``dead`` are crossed.
    """
    figure = _heat(matrix, "%{z:.2f}", HEAT, scheme, revision)
    figure.data[
        0
    ].hovertemplate = "%{customdata[0]} → %{customdata[1]}: %{z:.3f} of the weight<extra></extra>"
    rows = zip(matrix.rows, matrix.counts, strict=True)
    figure.update_layout(
        xaxis={"ticktext": _columns(matrix.columns, dead)},
        yaxis={"ticktext": [f"{cut(row)} · {n:,}" for row, n in rows]},
        **{HEAT: {"cmin": 0, "cmax": 1, "showscale": False}},
    )  # fmt: skip
    for row, score in enumerate(scores):
        if matrix.counts[row]:
            _beside(figure, row, f"AP {number(score, 3)}")
    _empty_rows(figure, matrix)
    _frames(figure, _owned(matrix))
    if scores:
        figure.update_layout(margin={"r": 66})
    return figure


def alone(matrix: Matrix, owned: Sequence[Cell], scheme: Scheme, revision: str) -> go.Figure:
    """AP of each class (columns) when one expert (rows) works alone; its own are framed."""
    top = max((v for row in matrix.values for v in row if v is not None), default=1.0)
    figure = _heat(matrix, "%{z:.2f}", HEAT, scheme, revision)
    figure.data[
        0
    ].hovertemplate = "%{customdata[0]} alone: AP %{z:.3f} on %{customdata[1]}<extra></extra>"
    figure.update_layout(**{HEAT: {"cmin": 0, "cmax": top or 1.0, "showscale": False}})
    _frames(figure, owned)
    return figure


def change(matrix: Matrix, scheme: Scheme, revision: str) -> go.Figure:
    """Right minus left."""
    largest = max((abs(v) for row in matrix.values for v in row if v is not None), default=0.0)
    figure = _heat(matrix, "%{z:+.2f}", CHANGE, scheme, revision)
    figure.data[0].hovertemplate = "%{customdata[0]} → %{customdata[1]}: %{z:+.3f}<extra></extra>"
    limit = max(largest, 0.1)
    figure.update_layout(**{CHANGE: {"cmin": -limit, "cmax": limit, "showscale": False}})
    _empty_rows(figure, matrix, "no objects on one side")
    _frames(figure, _owned(matrix))
    return figure


def confusion(matrix: Matrix, scheme: Scheme, revision: str) -> go.Figure:
    """Of each true class (rows), the share of its boxes that was taken for each class."""
    figure = _heat(matrix, "%{z:.2f}", HEAT, scheme, revision)
    figure.data[
        0
    ].hovertemplate = "%{customdata[0]} taken for %{customdata[1]}: %{z:.1%}<extra></extra>"
    rows = zip(matrix.rows, matrix.counts, strict=True)
    figure.update_layout(
        yaxis={"ticktext": [f"{cut(row)} · {n:,}" for row, n in rows]},
        **{HEAT: {"cmin": 0, "cmax": 1, "showscale": False}},
    )
    _empty_rows(figure, matrix, "no matched boxes")
    _frames(figure, _owned(matrix))
    return figure


def _heat(matrix: Matrix, text: str, axis: str, scheme: Scheme, revision: str) -> go.Figure:
    rows, columns = len(matrix.rows), len(matrix.columns)
    figure = go.Figure(layout={"template": template(scheme), "uirevision": revision})
    figure.add_heatmap(
        z=matrix.values, x=list(range(columns)), y=list(range(rows)), coloraxis=axis,
        xgap=2, ygap=2, texttemplate=text, hoverongaps=False,
        customdata=[[[row, column] for column in matrix.columns] for row in matrix.rows],
    )  # fmt: skip
    figure.update_layout(
        height=96 + ROW * rows,
        margin={"t": 4, "r": 8},
        xaxis=_axis(columns, [cut(name) for name in matrix.columns])
        | {"showline": False, "autotickangles": [0, -35, -90], "ticklabeloverflow": "allow"},
        yaxis=_axis(rows, [cut(name) for name in matrix.rows])
        | {"autorange": "reversed", "ticklabelstandoff": 6},
    )
    return figure


def _axis(count: int, names: Sequence[str]) -> dict[str, Any]:
    return {"tickvals": list(range(count)), "ticktext": list(names), "showgrid": False,
            "zeroline": False, "fixedrange": True, "showspikes": False}  # fmt: skip


def _columns(names: Sequence[str], dead: Sequence[int]) -> list[str]:
    return [f"<b>✕ {cut(n)}</b>" if i in dead else cut(n) for i, n in enumerate(names)]


def _owned(matrix: Matrix) -> list[Cell]:
    """The expert in charge of each row that has values."""
    return [
        (row, owner)
        for row, owner in enumerate(matrix.owners)
        if owner is not None and any(value is not None for value in matrix.values[row])
    ]


def _frames(figure: go.Figure, cells: Sequence[Cell]) -> None:
    for row, column in cells:
        figure.add_shape(
            type="rect", x0=column - 0.47, x1=column + 0.47, y0=row - 0.45, y1=row + 0.45,
            line={"color": "#e57209", "width": 2},
        )  # fmt: skip


def _beside(figure: go.Figure, row: int, text: str) -> None:
    figure.add_annotation(x=1, xref="paper", xanchor="left", xshift=8, y=row, text=text,
                          showarrow=False)  # fmt: skip


def _empty_rows(figure: go.Figure, matrix: Matrix, text: str = "no objects") -> None:
    for row, values in enumerate(matrix.values):
        if all(value is None for value in values):
            figure.add_annotation(x=(len(values) - 1) / 2, y=row, text=text, showarrow=False)
