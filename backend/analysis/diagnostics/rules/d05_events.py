"""D05: annotated events that cannot be used as they are, and splits that share data."""

from collections.abc import Iterator

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.text import percent
from backend.core.diagnosis import Fact
from backend.core.evidence import DataSurvey, LabelCensus

COLLISIONS = 0.01
SHOWN = 5

Fault = tuple[str, Fact]


def judge(evidence: Evidence) -> Verdict:
    """All faults of all splits."""
    survey = evidence.survey
    told = [c for c in survey.labels if _looked_at(c)] if survey else []
    if survey is None or not (told or survey.shared):
        return Unknown("the order and place of events were not checked")
    faults = [fault for census in told for fault in _faults(census)]
    faults += [_leak(survey, pair) for pair, names in survey.shared.items() if names]
    return _faulty(faults) if faults else Clear()


def _looked_at(census: LabelCensus) -> bool:
    return any(v is not None for v in (census.past_end, census.unsorted, census.collisions))


def _faults(census: LabelCensus) -> Iterator[Fault]:
    split = census.split
    told = {
        "past_end": (census.past_end, f"events of '{split}' lie past the end of their clip"),
        "unsorted": (census.unsorted, f"clips of '{split}' have events out of order"),
    }
    for name, (count, words) in told.items():
        if count:
            named = ", ".join(census.examples.get(name, ())[:SHOWN])
            where = f" ({named})" if named else ""
            fact = Fact(name=f"{name} in '{split}'", value=float(count), limit=0.0, step=0)
            yield f"{count:,} {words}{where}", fact
    share = (census.collisions or 0) / census.labels if census.labels else 0.0
    if share > COLLISIONS:
        fact = Fact(name=f"collisions in '{split}'", value=share, limit=COLLISIONS, step=0)
        yield f"{percent(share, 1)} of the events of '{split}' share a frame at this stride", fact


def _leak(survey: DataSurvey, pair: str) -> Fault:
    names = survey.shared[pair]
    count = survey.shared_counts.get(pair, len(names))
    shown = names[:SHOWN]
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    words = f"{pair.replace('+', ' and ')} share {', '.join(shown)}{more}"
    return words, Fact(name=f"shared by {pair}", value=float(count), limit=0.0, step=0)


def _faulty(faults: list[Fault]) -> Fired:
    texts = "; ".join(text for text, _ in faults[:4])
    collide = any(fact.name.startswith("collisions") for _, fact in faults)
    leaked = any(fact.name.startswith("shared") for _, fact in faults)
    words = []
    if any(not fact.name.startswith("shared") for _, fact in faults):
        words.append("Correct the annotations named here.")
    if collide:
        words.append("Stride 1 keeps events apart that share a frame.")
    if leaked:
        words.append(
            "Split so that no video, image or match is in two splits, or validation says nothing "
            "about new ones."
        )
    return Fired(
        severity="warning",
        headline=f"{texts}.",
        cause=faults[0][0] if len(faults) > 1 else "",
        sure="proven",
        advice=Advice(" ".join(words), change=(Turn("stride", values=(1,)),) if collide else ()),
        evidence=tuple(fact for _, fact in faults),
        step=0,
    )


RULE = Rule(
    id="D05",
    title="Events out of place, or splits that share data",
    judge=judge,
    needs="The annotated events of each split, and what the splits share (DataSurveyed).",
    condition="Events lie past the end of their clip, are unsorted, share a frame at this stride, "
    "or two splits hold the same image, clip or match.",
    threshold=f"any; collisions over {percent(COLLISIONS)} of the events",
    source="specs/mdfed.md 6: 4 % of finegym's events collide at stride 2",
    example="14 of 282 events lie past the clip's end.",
    confirm=1,
)
