"""What a tree of Dash components says."""

import json
from typing import Any

from plotly.utils import PlotlyJSONEncoder


def text_of(component: Any) -> str:
    """Everything that a component tree says."""
    return json.dumps(component, cls=PlotlyJSONEncoder, ensure_ascii=False)
