"""What the network says in a validation, as rules and their sentences use it."""

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.series import falls, loss_at_evaluations, window
from backend.analysis.text import number, plural
from backend.core.events import PredictionsObserved
from backend.core.evidence import PredictionHistogram

BETTER = 0.05
"""Rise of the AUROC in one evaluation of a network that begins to see."""
WAITS = 2 / 3
"""Share of the planned steps in which a training loss that falls is reason to wait."""


def newest(evidence: Evidence) -> PredictionsObserved | None:
    """The newest observation on validation data."""
    return next((p for p in reversed(evidence.predictions) if p.split == "val"), None)


def main_output(seen: PredictionsObserved | None) -> PredictionHistogram | None:
    """The output that tells whether something is there: it has a background."""
    found = seen.histograms if seen else ()
    return next((h for h in found if h.background), found[0] if found else None)


def others(counts: dict[str, int], name: str) -> int:
    """How much is anything but ``name``."""
    return sum(count for label, count in counts.items() if label != name)


def auroc_of(evidence: Evidence) -> float | None:
    """How well the score of something being there ranks."""
    output = main_output(newest(evidence))
    return output.auroc if output else None


def events_in(evidence: Evidence) -> int:
    """How much there is to find in validation; 0 if it is not known."""
    output = main_output(newest(evidence))
    if output and (seen := others(output.truth, output.background)):
        return seen
    censuses = evidence.survey.labels if evidence.survey else ()
    return next((c.labels for c in censuses if c.split == "val"), 0)


def predicted_in(evidence: Evidence) -> int:
    """How much was predicted in the newest validation; 0 if it is not known."""
    output = main_output(newest(evidence))
    return others(output.predicted, output.background) if output else 0


def gets_better(evidence: Evidence) -> bool:
    """Does the score rank better than an evaluation ago, does the validation loss fall, or, in
    the first two thirds, the training loss? Then the network is about to find more. Averaged
    weights are behind their network, so that their validation tells of it last."""
    seen = [p for p in evidence.predictions if p.split == "val"][-2:]
    ranks = [main.auroc for p in seen if (main := main_output(p)) and main.auroc is not None]
    if len(ranks) == 2 and ranks[1] - ranks[0] > BETTER:
        return True
    early = evidence.progress is not None and evidence.progress < WAITS
    splits = ("val", "train") if early else ("val",)
    return any(_falls(evidence, split) for split in splits)


def _falls(evidence: Evidence, split: str) -> bool:
    """Does a split's loss fall, as it stands at the evaluations?"""
    loss = loss_at_evaluations(evidence, split)
    return loss is not None and len(loss) > 1 and falls(loss.values, window(evidence))


def said_of(evidence: Evidence) -> str:
    """``; nothing was predicted (155 to find, highest p 0.20)``; empty if something was, or if it
    was not observed."""
    output = main_output(newest(evidence))
    if output is None or others(output.predicted, output.background):
        return ""
    highest = output.quantiles.get("1")
    top = f", highest p {number(highest, 2)}" if highest is not None else ""
    truth = plural(others(output.truth, output.background), "true event")
    return f"; nothing was predicted ({truth}{top})"
