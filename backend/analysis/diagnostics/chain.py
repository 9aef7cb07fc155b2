"""Which finding explains which: root causes before what follows from them."""

CHAIN: tuple[tuple[str, ...], ...] = (
    ("B06",),
    ("D06",),
    ("D01", "D02", "D03"),
    ("T01",),
    ("T02",),
    ("T03",),
    ("B12",),
    ("T04",),
    ("T05",),
    ("B08", "B09", "B10", "B11"),
    ("B04",),
    ("T06",),
    ("T07",),
    ("B03", "B02", "D04"),
    ("T08",),
    ("B01",),
    ("B05", "B07"),
    ("B16", "B17", "B18"),
)
"""The most fundamental first. An unused input follows from dead data or a dead network; that
nothing is tracked is asked in the order of specs/motrv2.md 2.5."""


def depth(rule: str) -> int:
    """How far down the chain a rule stands; what is not in it comes last."""
    return next((place for place, level in enumerate(CHAIN) if rule in level), len(CHAIN))


def below(rule: str) -> tuple[str, ...]:
    """All that a rule explains by its place in the chain."""
    return tuple(other for level in CHAIN[depth(rule) + 1 :] for other in level)
