"""How the checkpoints of one run scored."""

import plotly.graph_objects as go

from backend.analysis.checkpoint_course import Course
from dashboard.figures.theme import Scheme, template

HEIGHT = 280


def course_figure(course: Course, color: str, scheme: Scheme, revision: str) -> go.Figure:
    """A metric over epochs, each with its own interval."""
    points = course.points
    figure = go.Figure()
    figure.add_scatter(
        x=[one.checkpoint.epoch for one in points], y=[one.value for one in points],
        mode="lines+markers", line={"color": color, "width": 1.9}, marker={"size": 7},
        error_y={
            "type": "data", "symmetric": False, "color": color, "thickness": 1.4, "width": 4,
            "array": [(one.high or one.value) - one.value for one in points],
            "arrayminus": [one.value - (one.low or one.value) for one in points],
        },
        customdata=[
            "no interval" if one.low is None or one.high is None
            else f"{one.low:.4f} to {one.high:.4f}" for one in points
        ],
        hovertemplate="epoch %{x}: %{y:.4f} (%{customdata})<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        template=template(scheme), height=HEIGHT, showlegend=False, uirevision=revision,
        hovermode="closest", margin={"t": 16},
    )  # fmt: skip
    figure.update_yaxes(title={"text": course.metric})
    return figure.update_xaxes(title={"text": "Epoch"}, dtick=1 if len(points) < 12 else None)
