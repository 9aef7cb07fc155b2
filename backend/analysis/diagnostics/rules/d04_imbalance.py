"""D04: events or classes are so rare in the sampled stream that the loss hardly asks for them."""

from backend.analysis.diagnostics.confirm import confirmed
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.rules import b01_metric_zero, b02_constant_class
from backend.analysis.diagnostics.weighting import Weighting, weighting_of
from backend.analysis.text import number, percent, plain
from backend.core.diagnosis import Fact
from backend.core.evidence import SampledLabels

FEW, RARE, RATIO = 10, 0.01, 10.0
"""Examples of a class, its share of the labels, and most frequent over least frequent class."""


def judge(evidence: Evidence) -> Verdict:
    """The weight of events in the loss, and the tail of the classes."""
    told = evidence.survey.sampled if evidence.survey else ()
    train = next((s for s in told if s.split == "train"), None)
    if train is None or not train.positions:
        return Unknown("the labels that the training's loader yields were not counted")
    weighting = weighting_of(evidence)
    rare = _rare(train)
    if weighting is None and not rare and _ratio(train) <= RATIO:
        return Clear()
    return _imbalanced(evidence, train, weighting, rare)


def _rare(sampled: SampledLabels) -> list[str]:
    total = sampled.positive or sum(sampled.counts.values())
    return [
        name
        for name, count in sorted(sampled.counts.items(), key=lambda item: item[1])
        if count < FEW or count < RARE * total
    ]


def _ratio(sampled: SampledLabels) -> float:
    met = [count for count in sampled.counts.values() if count]
    return max(met) / min(met) if met else 1.0


def _imbalanced(
    evidence: Evidence, train: SampledLabels, weighting: Weighting | None, rare: list[str]
) -> Fired:
    said = [weighting.said] if weighting else []
    if rare:
        said.append(f"rare: {', '.join(f'{name} ({train.counts[name]:,})' for name in rare[:5])}")
    elif _ratio(train) > RATIO:
        said.append(f"the most frequent class is met {number(_ratio(train), 0)} times as often as "
                    "the rarest")  # fmt: skip
    dead = weighting is not None and _nothing_found(evidence)
    return Fired(
        severity="warning" if dead else "info",
        headline=f"{'; '.join(said)}.",
        cause=weighting.cause if weighting else "",
        sure="likely" if dead else "possible",
        advice=weighting.advice if weighting else TAIL,
        evidence=_facts(train, weighting, rare),
        step=0,
    )  # fmt: skip


def _nothing_found(evidence: Evidence) -> bool:
    """Is the metric at zero, or one class all that is predicted?"""
    return any(
        isinstance(confirmed(module.RULE, evidence), Fired)
        for module in (b01_metric_zero, b02_constant_class)
    )


def _facts(train: SampledLabels, weighting: Weighting | None, rare: list[str]) -> tuple[Fact, ...]:
    facts = [
        Fact(name="positions with a label", value=train.positive / train.positions, limit=0.05),
        Fact(name="weight of a label in the loss", value=train.weight),
        Fact(name="most frequent over rarest class", value=_ratio(train), limit=RATIO),
        Fact(name="rare classes", value=float(len(rare)), limit=0.0),
    ]
    if weighting:
        facts.insert(2, Fact(name="share of the loss that labels carry", value=weighting.share,
                             limit=0.25))  # fmt: skip
    return tuple(facts)


TAIL = Advice(
    "Sample the rare classes more often, or weigh them; a mean over classes is noisy where a "
    f"class has under {FEW} examples.",
    study=(Turn("balance"),),
)

RULE = Rule(
    id="D04",
    title="Labels are imbalanced",
    judge=judge,
    needs="The labels that the training's own loader yields, and their weight (DataSurveyed).",
    condition="Events are rare and carry little of the loss, or classes are rare or uneven.",
    threshold=f"under {percent(0.05)} of the positions and under {percent(0.25)} of the weight, "
    f"q = w p / (w p + 1 - p); under {FEW} examples or {percent(RARE)}; ratio over "
    f"{plain(RATIO)}; info, a warning together with B01 or B02",
    source="specs/mdfed.md 6; SageMaker Debugger ClassImbalance for the ratio",
    example="3.6 % of the frames have an event; with weight 1 nothing is predicted.",
    confirm=1,
)
