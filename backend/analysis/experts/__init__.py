"""What experts did, as numbers to draw and sentences to read.

course.py    curves over the validations of a run: usage, entropies, balance, losses
judging.py   dead, overloaded, unbalanced, undecided and collapsed, with the reason
detail.py    one report as matrices; two reports beside each other; experts on their own
keys.py      the config keys and metrics that tell of experts
costs.py     what runs cost, and experts beside dense models in a study
twin.py      the dense run that experts must be held against
views.py     what a person picks: a run, a moment of it, a router, a study
"""

from backend.analysis.experts.costs import (
    Pair,
    beside_dense,
    gflops_by_run,
)
from backend.analysis.experts.costs import sentences as against_dense
from backend.analysis.experts.course import (
    Entropies,
    Heat,
    Line,
    at_step,
    entropies,
    final_of,
    kinds,
    losses_over_time,
    over_time,
    reports_of,
    train_losses_at,
    usage_of,
    usage_over_time,
    validations,
)
from backend.analysis.experts.detail import (
    Change,
    Matrix,
    Solo,
    affinity_change,
    changes,
    class_matrix,
    solo,
    solo_by_class,
    solo_matrix,
)
from backend.analysis.experts.judging import Judgement, Rule, judge
from backend.analysis.experts.keys import GFLOPS, gflops_of, is_dense
from backend.analysis.experts.twin import DenseTwin, dense_twin

__all__ = [
    "GFLOPS",
    "Change",
    "DenseTwin",
    "Entropies",
    "Heat",
    "Judgement",
    "Line",
    "Matrix",
    "Pair",
    "Rule",
    "Solo",
    "affinity_change",
    "against_dense",
    "at_step",
    "beside_dense",
    "changes",
    "class_matrix",
    "dense_twin",
    "entropies",
    "final_of",
    "gflops_by_run",
    "gflops_of",
    "is_dense",
    "judge",
    "kinds",
    "losses_over_time",
    "over_time",
    "reports_of",
    "solo",
    "solo_by_class",
    "solo_matrix",
    "train_losses_at",
    "usage_of",
    "usage_over_time",
    "validations",
]
