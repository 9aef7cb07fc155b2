"""The config keys and metrics by which runs with experts are told apart."""

from backend.core.records import Run

EXPERTS = "moe.experts"
DENSE = "dense"
TOP_K = "moe.top_k"
HIDDEN = "moe.hidden"
GFLOPS = "cost/gflops"


def is_dense(run: Run) -> bool:
    """Is it the dense model that stands beside experts?"""
    return run.params.get(EXPERTS) == DENSE


def gflops_of(run: Run) -> float | None:
    """GFLOP of one image; None if the trainer does not count them."""
    return run.metrics.get(GFLOPS, run.best.get(GFLOPS))
