"""B02: the network says the same of everything."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.predictions import gets_better, newest, others
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import late
from backend.analysis.diagnostics.weighting import WEIGHTS, weighting_of
from backend.analysis.text import number, percent
from backend.core.diagnosis import Fact
from backend.core.evidence import PredictionHistogram

CONSTANT = 0.999
ENOUGH = 20
"""True ones of another class."""
RANKS, BLIND = 0.8, 0.6
"""AUROC over which the score is good and only its threshold wrong, and under which it is none."""


def judge(evidence: Evidence) -> Verdict:
    """Each output on its own, both directions: all background, and nothing but events."""
    seen = newest(evidence)
    if seen is None:
        return Unknown("what is predicted was not observed")
    if all(_most_truth(h) < ENOUGH for h in seen.histograms):
        return Unknown(f"less than {ENOUGH} true examples were observed")
    if not late(evidence):
        return Unknown("a fifth of the training is not done")
    if gets_better(evidence):
        return Clear()
    stuck = next((h for h in seen.histograms if _is_constant(h)), None)
    return _constant(evidence, stuck, seen.step) if stuck else Clear()


def _most_truth(histogram: PredictionHistogram) -> int:
    return others(histogram.truth, histogram.background)


def _favourite(histogram: PredictionHistogram) -> str:
    """The class that is predicted most; the background (none) where nothing is."""
    predicted = histogram.predicted
    return (
        max(predicted, key=predicted.__getitem__)
        if any(predicted.values())
        else histogram.background
    )


def _is_constant(histogram: PredictionHistogram) -> bool:
    """Rare events may leave 99.9 % background to a good network, so half of them must lack."""
    favourite, said = _favourite(histogram), sum(histogram.predicted.values())
    missed, rest = others(histogram.truth, favourite), others(histogram.predicted, favourite)
    return missed >= ENOUGH and rest <= (1 - CONSTANT) * said and rest < missed / 2


def _constant(evidence: Evidence, histogram: PredictionHistogram, step: int) -> Fired:
    favourite, said = _favourite(histogram), sum(histogram.predicted.values())
    share = 1 - others(histogram.predicted, favourite) / said if said else 1.0
    missed = others(histogram.truth, favourite)
    what = f"'{favourite}'" if favourite and said else "nothing"
    highest = histogram.quantiles.get("1")
    top = f"; highest p {number(highest, 2)}" if highest is not None else ""
    return Fired(
        severity="error",
        headline=f"After {step} of {evidence.steps or step} steps {percent(share, 1)} of what "
        f"'{histogram.output}' says is {what}, with {missed:,} true others{top}.",
        cause=_cause(evidence, histogram),
        advice=_advice(evidence, histogram),
        evidence=(
            Fact(name=f"{what} in '{histogram.output}'", value=share, limit=CONSTANT, step=step),
            Fact(name="true others", value=float(missed), limit=float(ENOUGH), step=step),
            *([Fact(name="AUROC", value=histogram.auroc, limit=RANKS, step=step)]
              if histogram.auroc is not None else []),
            *(Fact(name=f"quantile {q} of the score", value=v, step=step)
              for q, v in histogram.quantiles.items()),
        ),
    )  # fmt: skip


def _cause(evidence: Evidence, histogram: PredictionHistogram) -> str:
    auroc = histogram.auroc
    if auroc is not None and auroc > RANKS:
        weighting = weighting_of(evidence)
        reason = f": {weighting.cause}" if weighting else ""
        return f"the score ranks well (AUROC {number(auroc, 2)}), but stays too low{reason}"
    if auroc is not None and auroc < BLIND:
        return f"the score says nothing of the input (AUROC {number(auroc, 2)})"
    return "the network has not learnt to tell the classes apart"


def _advice(evidence: Evidence, histogram: PredictionHistogram) -> Advice:
    if histogram.auroc is not None and histogram.auroc < BLIND:
        return Advice(
            "Look at the input first (D01, D02, B04); if it is sound, lower the learning rate.",
            study=(Turn("lr", times=(0.1, 0.03)),),
        )
    weighting = weighting_of(evidence)
    values = weighting.advice.study[0].values if weighting else WEIGHTS
    higher = weighting.advice.change if weighting else ()
    return Advice(
        "Raise the weight of rare classes in the loss, and lower the threshold.",
        change=higher or (Turn("threshold", values=(0.3,)),),
        study=(Turn("positive_weight", values=values), Turn("threshold", values=(0.2, 0.3, 0.5))),
    )


RULE = Rule(
    id="B02",
    title="One class is all that is predicted",
    judge=judge,
    needs="Histograms of predictions and truth at each validation (PredictionsObserved).",
    condition="One class, or nothing, is predicted almost everywhere, although there are others.",
    threshold="99.9 % of the predictions; at least 20 true ones of other classes, of which fewer "
    "than half as many are predicted; after 20 % of the steps, and not while the AUROC rises by "
    "0.05 in an evaluation or a loss falls by 3 % in K "
    "(the training loss in the first two thirds only)",
    source="specs/mdfed.md 8; AUROC parts a wrong threshold from a blind network",
    example="All frames are background, with 155 true events and a highest p of 0.20.",
    explains=below("B02"),
)
