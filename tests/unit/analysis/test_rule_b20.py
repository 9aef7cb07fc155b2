"""B20: training and validation loss are not taken alike."""

import pytest

from backend.analysis.diagnostics.rules.b20_evaluation_mismatch import RULE
from tests.support.evidence_made import Made, healthy
from tests.support.rule_checks import clear, fired, unknown


def told(**val: str) -> Made:
    train = {"sampler": "windows", "reduction": "mean", "weights": "1:5"}
    return healthy().planned(loaders={"train": train, "val": train | val})


@pytest.mark.parametrize(
    ("differs", "severity"),
    [
        ({"weights": "1:1"}, "warning"),
        ({"reduction": "sum"}, "warning"),
        ({"sampler": "tiles"}, "info"),
        ({"sampler": "tiles", "weights": "1:1"}, "warning"),
    ],
)
def test_each_difference_is_named(differs: dict[str, str], severity: str) -> None:
    found = fired(RULE, told(**differs))
    assert found.severity == severity
    for name, value in differs.items():
        assert f"{name} '" in found.headline
        assert f"against '{value}'" in found.headline
    assert len(found.evidence) == len(differs)


def test_equal_loaders_are_clear() -> None:
    clear(RULE, told())
    clear(RULE, told(more="said"))


def test_what_was_not_told_is_unknown() -> None:
    unknown(RULE, healthy().planned(loaders={}), "not told")
    unknown(RULE, healthy().replace(plan=None), "not told")
    other = {"train": {"sampler": "a"}, "val": {"weights": "b"}}
    unknown(RULE, healthy().planned(loaders=other), "the other's")
