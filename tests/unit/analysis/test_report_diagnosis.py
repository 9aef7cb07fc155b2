"""The part of a training's report that says what is wrong, and its place among the conclusions."""

from backend.analysis.report.diagnosis import blocks
from backend.analysis.report.outlook import about_diagnosis
from backend.core.diagnosis import (
    Action,
    Change,
    Diagnosis,
    DiagnosticFinding,
    Fact,
    NotEvaluated,
)

UNUSED = DiagnosticFinding(
    rule="B04", title="Input unused", severity="error", sure="proven", step=240,
    headline="The loss stays the same when inputs are permuted.", cause="no file was found",
    evidence=(Fact(name="permuted | loss", value=1.0012, limit=1.01, step=240),
              Fact(name="searched", value="/poses")),
    action=Action(
        advice="Look at the data path.",
        changes=(Change(key="skeletons.missing", now="zeros", proposed="error"),
                 Change(key="model.bias_init", now=False, proposed=True)),
        command="assay train a.yaml --set skeletons.missing=error",
        study="assay study run sweep --config a.yaml --over loss.fg_weight=5,10",
    ),
)  # fmt: skip
RARE = DiagnosticFinding(rule="D04", title="Imbalance", severity="info", headline="3 % are events")
ZERO = DiagnosticFinding(rule="B01", title="Stuck at zero", severity="error", headline="edit is 0")
DIAGNOSIS = Diagnosis(
    step=240, state="sick", verdict="not learning: input unused (B04)", findings=(UNUSED, RARE),
    also_seen=(ZERO,), clear=("B05", "B06"),
    not_evaluated=(NotEvaluated(rule="B14", title="Experts", reason="no experts"),),
)  # fmt: skip


def test_a_finding_has_numbers_cause_config_difference_and_commands() -> None:
    text = "\n".join(str(block) for block in blocks(DIAGNOSIS))
    assert text.startswith("## Diagnosis\n**not learning: input unused (B04)**")
    assert "### Error: Input unused (B04, proven, since step 240)" in text
    assert "permuted. Cause: no file was found." in text
    assert "| permuted \\| loss | 1.0012 | 1.01 | 240 |" in text
    assert "| searched | /poses |  |  |" in text
    assert "Next: Look at the data path." in text
    assert "| `skeletons.missing` | `zeros` | `error` |" in text
    assert "| `model.bias_init` | `false` | `true` |" in text
    assert "- Try it: `assay train a.yaml --set skeletons.missing=error`" in text
    assert "- Try several: `assay study run sweep" in text


def test_what_follows_and_what_was_not_looked_at_is_told() -> None:
    text = "\n".join(str(block) for block in blocks(DIAGNOSIS))
    assert "- B01 Stuck at zero: edit is 0" in text
    assert "Looked at, nothing found: B05, B06." in text
    assert "| B14 | Experts | no experts |" in text
    assert blocks(None) == []


def test_a_diagnosis_without_findings_is_its_verdict() -> None:
    assert blocks(Diagnosis(step=8, state="converged", verdict="converged at epoch 3")) == [
        "## Diagnosis", "**converged at epoch 3**",
    ]  # fmt: skip


def test_the_conclusions_begin_with_the_verdict_and_what_is_grave() -> None:
    remarks = about_diagnosis(DIAGNOSIS)
    assert [(r.rule, r.said) for r in remarks] == [
        ("diagnosis", "Diagnosis: not learning: input unused (B04)."),
        ("B04", "Error: The loss stays the same when inputs are permuted."),
    ]
    assert remarks[1].step == "Look at the data path."
    assert about_diagnosis(None) == []
