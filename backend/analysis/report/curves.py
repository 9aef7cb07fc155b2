"""Curves as SVG that reads on any background.

Matplotlib's object interface only: no window, no state between figures. Its folder for
settings and the list of fonts is a temporary one, so nothing is written to the user's home.
"""

import io
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from backend.analysis.report.blocks import Drawing
from backend.analysis.report.course import Course, Curve
from backend.core.records import Series, StudyRecord

COLOURS = ("#2f81f7", "#e8590c", "#2b9a66", "#a855f7", "#d6336c", "#7c8594")
INK = "#010203"
"""Stands for the colour of the page's text."""

RC: dict[str, Any] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10.0,
    "text.parse_math": False, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.grid": True, "grid.color": "#808890",
    "grid.alpha": 0.25, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "axes.titlesize": 10.5, "axes.titlelocation": "left",
}  # fmt: skip
MOST_LINES = 6
MOST_TRIALS = 12


@dataclass(frozen=True)
class Panel:
    """Lines by name over ``across``. ``mark`` is where a vertical line stands; ``loose`` are the
    lines whose points belong to nothing between them."""

    title: str
    lines: Mapping[str, Curve]
    mark: int | None = None
    across: str = "epoch"
    loose: tuple[str, ...] = ()


@dataclass(frozen=True)
class Front:
    """Trials by two objectives, each (number, across, up). The front's are joined by a line, from
    each one level to the place below the next if ``level``, else the other way."""

    title: str
    across: str
    front: Sequence[tuple[int, float, float]]
    others: Sequence[tuple[int, float, float]]
    level: bool


def of_run(course: Course, best: int | None) -> list[Drawing]:
    """The headline, the other metrics, each loss of both splits, the learning rates."""
    panels = [*_metric_panels(course, best), *_loss_panels(course, best)]
    rates = _lines(course, [key for key in course.curves if key.startswith("lr/")])
    if rates:
        panels.append(Panel("learning rate", rates))
    marked = f" The dotted line marks the best epoch, {best}." if best is not None else ""
    about = f"One panel per group of metrics.{marked}"
    return [Drawing("Curves", about, draw(panels, "curves of the run"))] if panels else []


def of_study(study: StudyRecord, series: Mapping[int, Series]) -> list[Drawing]:
    """The value of each trial, and the metric's curve in the best of them by step."""
    done = {
        t.number: t.value for t in study.trials if t.state == "complete" and t.value is not None
    }
    if not done:
        return []
    panels: list[Panel | Front] = [_front(study) if study.objectives else _history(study, done)]
    curves = {
        f"trial {number}": dict(zip(one.steps, one.values, strict=True))
        for number, one in series.items()
    }
    if curves:
        panels.append(Panel(f"{study.metric} of each trial", curves, across="step"))
    about, shown = "Trials in order; the dotted line marks the best one.", "best"
    if study.objectives:
        about = "Trials by two objectives; the line joins the Pareto front."
        shown = f"best in {study.metric}, those of the front first"
    if curves:
        about += f" Right: the {len(curves)} {shown}, over their training."
    return [Drawing("Curves", about, draw(panels, "curves of the study"))]


def _history(study: StudyRecord, done: Curve) -> Panel:
    better = max if study.direction == "maximize" else min
    best = dict(zip(done, accumulate(done.values(), better), strict=True))
    lines = {"best so far": best, "value": done}
    return Panel(study.metric, lines, study.best, across="trial", loose=("value",))


def _front(study: StudyRecord) -> Front:
    """The first two objectives, the first one upwards."""
    up, across = study.aims[:2]
    placed = [(t.number, t.values[1], t.values[0]) for t in study.trials if t.state == "complete"]
    return Front(
        f"{up.metric} against {across.metric}",
        across.metric,
        sorted((p for p in placed if p[0] in study.front), key=lambda p: p[1:]),
        [p for p in placed if p[0] not in study.front],
        level=across.direction == "minimize",
    )


def draw(panels: Sequence[Panel | Front], label: str) -> str:
    """All panels in two columns, as one SVG element."""
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure  # noqa: PLC0415 (after its folder was chosen)

    rows = -(-len(panels) // 2)
    with matplotlib.rc_context({**RC, "svg.hashsalt": label}):
        figure = Figure(figsize=(9.6, 2.9 * rows), layout="constrained")
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(rows, min(2, len(panels)), place)
            if isinstance(panel, Front):
                _draw_front(axes, panel)
            else:
                _draw_panel(axes, panel)
        file = io.StringIO()
        blank = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=blank)
    return _inline(file.getvalue(), label)


def _metric_panels(course: Course, best: int | None) -> list[Panel]:
    head = course.headline
    measured = course.keys(losses=False, split="val/") or course.keys(losses=False)
    others = [key for key in measured if key != head]
    groups = {head: [head], "other metrics": others[:MOST_LINES]}
    return [
        Panel(title, lines, best)
        for title, keys in groups.items()
        if (lines := _lines(course, keys))
    ]


def _loss_panels(course: Course, best: int | None) -> list[Panel]:
    """Training and validation of one loss share a panel."""
    names = dict.fromkeys(key.partition("/")[2] for key in course.keys(losses=True))
    found = []
    for name in names:
        keys = [key for key in course.keys(losses=True) if key.partition("/")[2] == name]
        lines = _lines(course, keys)
        if lines:
            found.append(Panel(name, lines, best))
    return found


def _lines(course: Course, keys: Sequence[str]) -> dict[str, Curve]:
    return {key: curve for key in sorted(keys) if (curve := course.finite(key))}


def _draw_panel(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 (after its folder was chosen)

    for place, (name, curve) in enumerate(panel.lines.items()):
        loose = name in panel.loose
        axes.plot(
            list(curve), list(curve.values()), label=name, color=COLOURS[place % len(COLOURS)],
            linewidth=0 if loose else 1.6, marker="o" if loose or len(curve) <= 30 else "",
            markersize=5 if loose else 3,
        )  # fmt: skip
    if panel.mark is not None:
        axes.axvline(panel.mark, color=INK, linewidth=1, linestyle=":", alpha=0.7)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.across)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if list(panel.lines) != [panel.title]:
        axes.legend(fontsize=8.5)


def _draw_front(axes: Any, panel: Front) -> None:
    if panel.others:
        axes.scatter(*_places(panel.others), s=22, color=COLOURS[-1], alpha=0.6, label="dominated")
    axes.step(
        *_places(panel.front), where="post" if panel.level else "pre", color=COLOURS[0],
        marker="o", markersize=5, linewidth=1.2, label="Pareto front",
    )  # fmt: skip
    for number, x, y in panel.front:
        axes.annotate(str(number), (x, y), (4, 4), textcoords="offset points", fontsize=8.5)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.across)
    axes.legend(fontsize=8.5)


def _places(points: Sequence[tuple[int, float, float]]) -> tuple[list[float], list[float]]:
    return [x for _, x, _ in points], [y for _, _, y in points]


def _inline(svg: str, label: str) -> str:
    """The SVG element alone, in the colour of the page's text."""
    element = svg[svg.index("<svg") :].replace(INK, "currentColor")
    element = re.sub(r"\bid=\"", 'id="' + re.sub(r"\W", "-", label) + "-", element)
    element = re.sub(r"(href=\"#|url\(#)", r"\1" + re.sub(r"\W", "-", label) + "-", element)
    return element.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()


def _matplotlib() -> Any:
    with _own_folder():
        import matplotlib  # noqa: PLC0415 (its folder is chosen first)
        import matplotlib.backends.backend_svg  # noqa: PLC0415
        import matplotlib.font_manager  # noqa: PLC0415 (reads its list of fonts now)
    return matplotlib


@contextmanager
def _own_folder() -> Iterator[None]:
    """Matplotlib's folder while it is imported, unless the user named one."""
    if "MPLCONFIGDIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]
