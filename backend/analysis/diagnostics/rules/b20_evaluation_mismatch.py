"""B20: training and validation loss are not taken alike."""

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.core.diagnosis import Fact

HARD = ("reduction", "weights")
"""What makes the two losses other numbers; another sampler only shifts them."""


def judge(evidence: Evidence) -> Verdict:
    """What the loaders say of themselves, side by side."""
    told = evidence.plan.loaders if evidence.plan else {}
    train, val = told.get("train"), told.get("val")
    if not train or not val:
        return Unknown("how the losses of both splits are taken was not told")
    shared = [name for name in train if name in val]
    if not shared:
        return Unknown("nothing that was told of one split's loss was told of the other's")
    differ = [name for name in shared if train[name] != val[name]]
    return _differ(train, val, differ) if differ else Clear()


def _differ(train: dict[str, str], val: dict[str, str], names: list[str]) -> Fired:
    listed = "; ".join(f"{name} '{train[name]}' against '{val[name]}'" for name in names)
    return Fired(
        severity="warning" if set(names) & set(HARD) else "info",
        headline=f"Training and validation loss are taken differently: {listed}.",
        cause="the two losses cannot be compared with each other",
        sure="proven",
        advice=Advice("Compare each loss with the baselines of its own split."),
        evidence=tuple(Fact(name=n, value=val[n], limit=train[n]) for n in names),
        step=0,
    )


RULE = Rule(
    id="B20",
    title="Training and validation loss are taken differently",
    judge=judge,
    needs="What the loaders of both splits say of sampler, reduction and weights (the plan).",
    condition="One of them differs.",
    threshold="any; info if only the sampler differs, which per-split baselines account for",
    source="specs/mdfed.md 3.2 and 3.7: the public code averages the splits in different ways",
    example="Weights 1:5 in training against 1:1 in validation.",
    confirm=1,
)
