"""D02: the input is there, but it says nothing or is damaged."""

from collections.abc import Iterator
from dataclasses import dataclass

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.text import percent, plain, sentence
from backend.core.diagnosis import Fact
from backend.core.evidence import Channel, InputQuality

ZERO_FRAMES = 0.3
ZERO_UNITS = 0.05
FLAT = 1e-6
"""Standard deviation under which a channel is constant."""
DISTINCT = 16
"""Values under which a channel was cast or quantised."""
OUTSIDE = 0.2
MISMATCHED = 0.01
SWAPPED = 0.3
OR_LEFT_OUT = " that are named, or remove their files and mask what is then missing"
"""A file that is there is read, whatever ``skeletons.missing`` says."""


@dataclass(frozen=True)
class _Fault:
    """One thing wrong: in words, its measure and limit, and whose examples name it."""

    text: str
    name: str
    value: float
    limit: float
    examples: tuple[str, ...] = ()
    hopeless: bool = False


def judge(evidence: Evidence) -> Verdict:
    """All faults of all splits; what makes training pointless comes first."""
    told = [q for q in evidence.survey.quality if q.units] if evidence.survey else []
    if not any(_looked_at(quality) for quality in told):
        return Unknown("the trainer did not look at its inputs")
    faults = [f for quality in told for f in _faults(quality, _noun(evidence, quality.split))]
    return _degenerate(faults) if faults else Clear()


def _looked_at(quality: InputQuality) -> bool:
    measured = (quality.zero_frames, quality.zero_units, quality.outside, quality.mismatched,
                quality.swapped, quality.integer)  # fmt: skip
    told = any(value is not None for value in measured)
    return bool(told or quality.channels or quality.nonfinite)


def _noun(evidence: Evidence, split: str) -> str:
    censuses = evidence.survey.inputs if evidence.survey else ()
    return next((c.what for c in censuses if c.split == split), "inputs")


def _faults(quality: InputQuality, noun: str) -> Iterator[_Fault]:
    yield from _zeros(quality, noun)
    yield from _broken(quality, noun)
    if quality.zero_units != quality.units:
        yield from (f for c in quality.channels if (f := _channel(c, quality.split)) is not None)
    yield from _misplaced(quality, noun)


def _zeros(quality: InputQuality, noun: str) -> Iterator[_Fault]:
    empty, units, where = quality.zero_units or 0, quality.units, f"'{quality.split}'"
    if empty / units > ZERO_UNITS:
        yield _Fault(
            f"{empty:,} of {units:,} {noun} of {where} are {quality.empty}",
            f"{noun} in {where} that are {quality.empty}", empty / units, ZERO_UNITS,
            quality.examples.get("zero_units", ()), empty == units,
        )  # fmt: skip
    elif (quality.zero_frames or 0.0) > ZERO_FRAMES:
        share = quality.zero_frames or 0.0
        yield _Fault(
            f"{percent(share)} of the frames of {where} are all zeros",
            f"all-zero frames in {where}", share, ZERO_FRAMES,
            quality.examples.get("zero_frames", ()),
        )  # fmt: skip


def _broken(quality: InputQuality, noun: str) -> Iterator[_Fault]:
    where = f"'{quality.split}'"
    told = {
        "nonfinite": (quality.nonfinite, "hold values that are no number"),
        "integer": (
            quality.integer,
            "have whole numbers for coordinates, as after a careless cast",
        ),
    }
    for name, (count, words) in told.items():
        if count:
            yield _Fault(
                f"{count:,} of {quality.units:,} {noun} of {where} {words}",
                f"{name} {noun} in {where}", float(count), 0.0, quality.examples.get(name, ()),
            )  # fmt: skip


def _channel(channel: Channel, split: str) -> _Fault | None:
    name = f"channel '{channel.name}' of '{split}'"
    if channel.std < FLAT:
        return _Fault(f"{name} is constant", f"standard deviation of {name}", channel.std, FLAT)
    if channel.distinct < DISTINCT:
        return _Fault(
            f"{name} takes {channel.distinct} values only", f"distinct values of {name}",
            float(channel.distinct), float(DISTINCT),
        )  # fmt: skip
    return None


def _misplaced(quality: InputQuality, noun: str) -> Iterator[_Fault]:
    where, units = f"'{quality.split}'", quality.units
    told = {
        "outside": (quality.outside, OUTSIDE, f"of the joints of {where} lie outside the image"),
        "mismatched": ((quality.mismatched or 0) / units, MISMATCHED,
                       f"of the {noun} of {where} have another length than their annotation"),
        "swapped": ((quality.swapped or 0) / units, SWAPPED,
                    f"of the {noun} of {where} have a near person smaller than the far one"),
    }  # fmt: skip
    for name, (share, limit, words) in told.items():
        if share is not None and share > limit:
            yield _Fault(
                f"{percent(share, 1)} {words}", f"share {name} in {where}", share, limit,
                quality.examples.get(name, ()),
            )  # fmt: skip


def _degenerate(faults: list[_Fault]) -> Fired:
    faults = sorted(faults, key=lambda fault: not fault.hopeless)
    hopeless = faults[0].hopeless
    rest = f"; also {'; '.join(f.text for f in faults[1:4])}" if len(faults) > 1 else ""
    return Fired(
        severity="stop" if hopeless else "error",
        headline=f"{faults[0].text}{_example(faults[0])}{rest}.",
        cause=faults[0].text,
        sure="proven",
        advice=_advice(faults[0], hopeless),
        evidence=tuple(Fact(name=f.name, value=f.value, limit=f.limit, step=0) for f in faults),
        step=0,
    )


def _example(fault: _Fault) -> str:
    return f" ({', '.join(fault.examples[:5])})" if fault.examples else ""


def _advice(fault: _Fault, hopeless: bool) -> Advice:
    if hopeless:
        return Advice(
            "Look at the input files and their folder, and extract them again. No "
            "setting helps until the input is there: start no study."
        )
    bound = "at least" if fault.name.startswith(("standard", "distinct")) else "at most"
    told = f"{fault.name}: {plain(fault.value)}, {bound} {plain(fault.limit)} is sound"
    return Advice(
        f"Extract the inputs again{OR_LEFT_OUT if fault.examples else ''}. {sentence(told)}",
        change=(Turn("missing", values=("mask",)),) if fault.examples else (),
    )


RULE = Rule(
    id="D02",
    title="The input is degenerate",
    judge=judge,
    needs="A look at up to 200 inputs of each split (DataSurveyed).",
    condition="Values that are no number or were cast to integers, zero frames or clips, constant "
    "channels, joints outside the image, lengths that differ from the annotation, or persons that "
    "are swapped.",
    threshold="any NaN or infinity; 30 % zero frames; 5 % of clips at least 95 % zero; a channel "
    "with a standard deviation under 1e-6 or under 16 values; 20 % of joints outside; 1 % of "
    "lengths; 30 % swapped; stop if all clips are zero",
    source="specs/mdfed.md 3.7 and 8: integer key points and zeros pass the public loaders",
    example="160 of 160 skeleton files are all zeros.",
    confirm=1,
    explains=below("D02"),
)
