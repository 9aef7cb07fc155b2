"""B13: what was planned frozen moves."""

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.text import plural
from backend.core.diagnosis import Fact

NAMED = 5


def judge(evidence: Evidence) -> Verdict:
    """Bits that changed, and frozen modules in training mode."""
    looks = evidence.movements
    checks = [report for report in evidence.freezing if report.phase == "verified"]
    if not looks and not checks:
        return Unknown("whether frozen parameters moved was not observed")
    for look in looks:
        if look.thawed or look.training:
            return _found(look.thawed, look.training, look.step)
    violations = checks[-1].violations if checks else ()
    return _found(violations, (), evidence.step) if violations else Clear()


def _found(thawed: tuple[str, ...], training: tuple[str, ...], step: int) -> Fired:
    return Fired(
        severity="error",
        headline=_headline(thawed, training),
        cause="a frozen module stands in training mode: its batch norm follows the data and its "
        "dropout is active"
        if training
        else "something writes to them: the optimizer, weight decay, a moving average",
        sure="proven",
        advice=ADVICE,
        evidence=(
            Fact(name="frozen tensors that changed", value=float(len(thawed)), limit=0.0,
                 step=step),
            *(Fact(name="changed", value=name, step=step) for name in thawed[:NAMED]),
            *(Fact(name="in training mode", value=name, step=step) for name in training[:NAMED]),
        ),
        step=step,
    )  # fmt: skip


def _headline(thawed: tuple[str, ...], training: tuple[str, ...]) -> str:
    if not training:
        many = plural(len(thawed), "frozen tensor")
        return f"{many} moved, among them {thawed[0]}"
    moved = f", and {plural(len(thawed), 'tensor')} moved" if thawed else ""
    return f"Frozen module in training mode: {', '.join(training[:NAMED])}{moved}"


ADVICE = Advice(
    text="Set frozen modules to evaluation mode after every model.train(), and keep their "
    "parameters out of the optimizer",
)

RULE = Rule(
    id="B13",
    title="Frozen parameters move",
    judge=judge,
    needs="What moved at each validation (MovementObserved), or the check at the end "
    "(FreezeReported).",
    condition="A parameter or buffer that is planned frozen differs by a bit, or a module that is "
    "frozen as a whole stands in training mode.",
    threshold="One bit.",
    source="Exact; the public MD-FED code clears requires_grad only, so its teacher's batch norm "
    "drifts.",
    example="A distillation teacher in training mode changes its batch norm statistics at each "
    "step.",
    confirm=1,
)
