"""B04: the loss stays the same when the inputs are permuted across samples."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.confirm import confirmed
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.rules import b03_trivial_loss
from backend.analysis.diagnostics.trivial import collapsed, standings
from backend.analysis.diagnostics.weighting import weighting_of
from backend.analysis.text import number, plural
from backend.core.diagnosis import Fact
from backend.core.events import InputProbed

UNUSED = 1.01
"""Permuted loss over loss under which the input says nothing to the network."""
CONTRADICTED = 0.95
"""Below it another sample's input fits better than its own, which no blind network does."""
ENOUGH = 50
SEEING = 3
"""Evaluations before a network that uses nothing is blamed for it."""


def judge(evidence: Evidence) -> Verdict:
    """The newest probe; one amid training must agree with the loss, for each network is blind
    before it sees."""
    probe = next((p for p in reversed(evidence.probes) if p.samples >= ENOUGH), None)
    if probe is None:
        few = f"on fewer than {ENOUGH} samples" if evidence.probes else "not at all"
        return Unknown(f"the inputs were permuted {few}")
    ratio = _ratio(probe)
    if ratio is None:
        return Unknown("the probe has no loss above zero")
    if ratio >= UNUSED:
        return Clear()
    if len(evidence.evaluations) < SEEING:
        return Unknown(f"fewer than {SEEING} evaluations: each network is blind before it sees")
    if ratio > CONTRADICTED and _arriving(evidence):
        return Unknown(
            "the loss has not even come down to that of a predictor that looks away, so nothing "
            "was learnt that could use the input"
        )
    amid = evidence.steps is not None and probe.step < evidence.steps and not evidence.finished
    if amid and not isinstance(confirmed(b03_trivial_loss.RULE, evidence), Fired):
        return Unknown(
            f"the input was not used at step {probe.step}, but the loss is not trivial at two "
            "evaluations after it: the probe at the end decides"
        )
    return _unused(evidence, probe, ratio)


def _arriving(evidence: Evidence) -> bool:
    """Is every part of the loss still above the trivial baselines, where they are known?"""
    known = [s for found in standings(evidence).values() for s in found]
    return bool(known) and all(s.level == "above" for s in known)


def _ratio(probe: InputProbed) -> float | None:
    """Permuted loss over loss: of the total, or of the sum of the parts."""
    names = (
        ["loss"] if "loss" in probe.losses else [n for n in probe.losses if n in probe.permuted]
    )
    loss = sum(probe.losses[name] for name in names)
    permuted = sum(probe.permuted.get(name, 0.0) for name in names)
    return permuted / loss if loss > 0 else None


def _unused(evidence: Evidence, probe: InputProbed, ratio: float) -> Fired:
    cause, advice = _reason(evidence) if ratio > CONTRADICTED else (WRONG_TRUTH, CONTRADICTION)
    said = (
        "The loss is the same when the inputs of {} are permuted (ratio {}): the network does not "
        "use its input."
        if ratio > CONTRADICTED
        else "The loss is lower when the inputs of {} are permuted (ratio {}): what the network "
        "sees in them speaks against their own truth."
    )
    return Fired(
        severity="error",
        headline=said.format(plural(probe.samples, "sample"), number(ratio)),
        cause=cause,
        sure="proven",
        advice=advice,
        evidence=(
            Fact(name="permuted loss over loss", value=ratio, limit=UNUSED, step=probe.step),
            *(Fact(name=f"{name}, permuted", value=value, limit=probe.losses.get(name),
                   step=probe.step)
              for name, value in probe.permuted.items()),
        ),
        step=probe.step,
    )  # fmt: skip


def _reason(evidence: Evidence) -> tuple[str, Advice]:
    """Why: at the level of the constant it is the weighting or the optimisation, else the data."""
    weighting = weighting_of(evidence)
    if not collapsed(evidence):
        return "the input is not used: its permutation leaves the loss as it is", BLIND
    if weighting and weighting.explains:
        return weighting.cause, weighting.advice
    return "the input is not used: the network has collapsed to a constant", COLLAPSED


COLLAPSED = Advice(
    "Lower the learning rate to a tenth: the loss is at the level of a constant, so that not even "
    "the place in the clip is used.",
    change=(Turn("lr", times=(0.1,)),),
    study=(Turn("lr", times=(0.1, 0.01)),),
)
WRONG_TRUTH = (
    "the truth of validation does not belong to its inputs, or not as that of training does to its"
)
CONTRADICTION = Advice(
    "Draw some of the validation's truth over its inputs, and some of the training's: times or "
    "places that are off, another order of classes, files under each other's names. A study over "
    "settings does not help while they disagree."
)
BLIND = Advice(
    "Follow the data path: draw inputs as the network gets them, and train on 20 samples alone; "
    "200 steps must bring the loss under half of the baseline. A study over settings does not "
    "help while the input is not used."
)

RULE = Rule(
    id="B04",
    title="The input is not used",
    judge=judge,
    needs="The input permutation probe on at least 50 samples (InputProbed), at a quarter of the "
    "training and at its end.",
    condition="The loss with inputs permuted across samples is that with their own; amid training "
    "the loss must be trivial as well (B03).",
    threshold="permuted loss under 1.01 of the loss, from the third evaluation on, once the loss "
    "is within 1.25 of the trivial baselines",
    source="specs/mdfed.md 7 and 8; permutation importance (Breiman 2001)",
    example="With all skeletons zero the permuted loss is 0.792 and so is the loss.",
    confirm=1,
    explains=below("B04"),
)
