"""Colours that mean the same on every page, in light and in dark.

Hues stay apart under red-green blindness as far as sixteen can; where they do not, dash, symbol
or sign tell. Each keeps a contrast of at least 3 to white and to near-black cards.
"""

import hashlib

# Sixteen hues from OKLCH, alternating between two lightnesses.
RUN_COLORS = (
    "#0170d9", "#7e86fd", "#8b54d4", "#ce6adc", "#c13c92", "#f55c84", "#d03a2a", "#e57209",
    "#99670a", "#a89109", "#667908", "#31a72d", "#0b815d", "#11a39a", "#007d8d", "#009cd3",
)  # fmt: skip
CATEGORY_COLORS = ("#0170d9", "#e57209", "#0b9c77", "#c13c92", "#a89109", "#8b54d4", "#009cd3")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")
DASHES = ("solid", "dash", "dot", "dashdot")
VERDICT_COLORS = {
    "better": "#0ca678",
    "worse": "#e8590c",
    "equivalent": "#2f7ed8",
    "undecided": "#8b929c",
}
ACCENT = "#4c6ef5"
GREY = "#8b929c"


def expert_style(expert: int) -> tuple[str, str]:
    """Colour and dash of an expert by its number; the dash differs where colours run out."""
    times, place = divmod(expert, len(CATEGORY_COLORS))
    return CATEGORY_COLORS[place], DASHES[times % len(DASHES)]


def run_color(key: str) -> str:
    """The colour of a run, the same on every page and every day."""
    return RUN_COLORS[hashlib.sha256(key.encode()).digest()[0] % len(RUN_COLORS)]
