"""What is on screen, as the query string says it. The URL is the only state there is.

Unknown keys are ignored and unreadable values fall back, so an old or a hand-written link
always opens.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Self, cast, get_args
from urllib.parse import parse_qsl, quote

Axis = Literal["step", "epoch", "time"]
Summary = Literal["best", "last"]
Loss = Literal["total", "object"]


@dataclass(frozen=True)
class View:
    """``runs`` are selected on every page; the rest belongs to the page that shows it.

    ``smooth`` is the weight of the moving average, 0 (off) to 0.99. ``step`` and ``other_step``
    are a validation's step or ``final``, and empty for the last there is. ``sequence`` (or
    video) is ``target/name`` or ``source/name``, ``frame`` the number of a frame of it. ``tiou``,
    ``label`` and ``score`` (0 to 1, empty: each model its own) say which actions are shown.
    """

    runs: tuple[str, ...] = ()
    baseline: str = ""
    metrics: tuple[str, ...] = ()
    x: Axis = "step"
    log: bool = False
    smooth: float = 0.0
    values: Summary = "best"
    params: Literal["diff", "all"] = "diff"
    study: str = ""
    comparison: str = ""
    q: str = ""
    run: str = ""
    step: str = ""
    router: str = ""
    loss: Loss = "total"
    other: str = ""
    other_step: str = ""
    sequence: str = ""
    frame: str = ""
    tiou: str = ""
    label: str = ""
    score: str = ""

    @classmethod
    def parse(cls, search: str | None) -> Self:
        """The view in a query string such as ``?runs=a,b&baseline=a``."""
        query = dict(parse_qsl((search or "").removeprefix("?")))
        return cls(
            runs=_names(query.get("runs", "")),
            baseline=query.get("baseline", ""),
            metrics=_names(query.get("metrics", "")),
            x=cast(Axis, _one_of(query.get("x"), get_args(Axis))),
            log=query.get("log") == "1",
            smooth=_share(query.get("smooth", "")),
            values=cast(Summary, _one_of(query.get("values"), get_args(Summary))),
            params="all" if query.get("params") == "all" else "diff",
            study=query.get("study", ""),
            comparison=query.get("comparison", ""),
            q=query.get("q", ""),
            run=query.get("run", ""),
            step=query.get("step", ""),
            router=query.get("router", ""),
            loss=cast(Loss, _one_of(query.get("loss"), get_args(Loss))),
            other=query.get("other", ""),
            other_step=query.get("other_step", ""),
            sequence=query.get("sequence", ""),
            frame=query.get("frame", ""),
            tiou=query.get("tiou", ""),
            label=query.get("label", ""),
            score=_score(query.get("score", "")),
        )

    def search(self) -> str:
        """The shortest query string that parses to this view."""
        texts = {
            "runs": ",".join(self.runs),
            "baseline": self.baseline,
            "metrics": ",".join(self.metrics),
            "x": "" if self.x == "step" else self.x,
            "log": "1" if self.log else "",
            "smooth": f"{self.smooth:g}" if self.smooth else "",
            "values": "" if self.values == "best" else self.values,
            "params": "" if self.params == "diff" else self.params,
            "study": self.study,
            "comparison": self.comparison,
            "q": self.q,
            "run": self.run,
            "step": self.step,
            "router": self.router,
            "loss": "" if self.loss == "total" else self.loss,
            "other": self.other,
            "other_step": self.other_step,
            "sequence": self.sequence,
            "frame": self.frame,
            "tiou": self.tiou,
            "label": self.label,
            "score": self.score,
        }
        pairs = [f"{key}={quote(text, safe=',/')}" for key, text in texts.items() if text]
        return "?" + "&".join(pairs) if pairs else ""

    def link(self, path: str, **changes: object) -> str:
        """The address of ``path`` with this view and some fields changed."""
        return path + replace(self, **changes).search()  # type: ignore[arg-type]


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in text.split(",") if name))


def _one_of(text: str | None, choices: tuple[str, ...]) -> str:
    return text if text in choices else choices[0]


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        return 0.0
    return min(max(share, 0.0), 0.99) if math.isfinite(share) else 0.0


def _score(text: str) -> str:
    try:
        return text if 0 <= float(text) <= 1 else ""
    except ValueError:
        return ""
