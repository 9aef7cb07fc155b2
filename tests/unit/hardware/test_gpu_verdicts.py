"""When ``benchmarks/gpu/check_gpu.py`` says PASS and when FAIL; it is run where a card is."""

from dataclasses import replace

import pytest

from benchmarks.gpu import verdicts
from benchmarks.gpu.verdicts import GIB, Card

OURS = Card("GPU-1234", "a card", 24 * GIB)
THEIRS = Card("1234", "a card", int(23.6 * GIB))
OOM = "OutOfMemoryError: CUDA out of memory."
LOOK = {"utilization %": 97.0, "memory MiB": 5000.0, "power W": 300.0, "temperature C": 60.0}


def test_driver_and_torch_must_name_the_same_cards() -> None:
    def level(*torch: Card) -> str:
        return verdicts.detection([OURS], torch, "high", "as found").level

    assert level(THEIRS) == "PASS"
    assert level(replace(THEIRS, uuid="5678")) == "FAIL"
    assert level(replace(THEIRS, total=20 * GIB)) == "FAIL"
    assert level(replace(THEIRS, total=25 * GIB)) == "FAIL"
    assert level() == "FAIL"
    assert level(THEIRS, THEIRS) == "FAIL"


@pytest.mark.parametrize(
    ("batches", "causes", "epochs", "status", "level"),
    [
        ([64, 32, 16], [OOM, OOM], [1, 2, 3], "finished", "PASS"),
        ([64], [], [1, 2, 3], "finished", "FAIL"),
        ([64, 64], [OOM], [1, 2, 3], "finished", "FAIL"),
        ([64, 32], ["RuntimeError: a bug"], [1, 2, 3], "finished", "FAIL"),
        ([64, 32], [OOM], [1, 1, 2, 3], "finished", "FAIL"),
        ([64, 32], [OOM], [1, 2], "stopped", "FAIL"),
    ],
)
def test_a_recovery_needs_the_real_error_a_smaller_batch_and_each_epoch_once(
    batches: list[int], causes: list[str], epochs: list[int], status: str, level: str
) -> None:
    assert verdicts.recovery(batches, causes, epochs, 3, status).level == level


@pytest.mark.parametrize(
    ("share", "level"), [(0.2, "FAIL"), (0.5, "PASS"), (1.0, "PASS"), (1.1, "FAIL")]
)
def test_an_estimate_must_be_enough_and_not_far_too_much(share: float, level: str) -> None:
    found = verdicts.memory("yolov8n.yaml", 16, 640, 10 * GIB, int(share * 10 * GIB))
    assert found.level == level
    assert "planned 10.00 GiB" in found.measured


def test_mixed_precision_is_judged_by_its_loss_alone() -> None:
    off = {"seconds": 1.0, "loss": 5.0, "map": 0.3}
    assert verdicts.precision({**off, "seconds": 2.0}, off).level == "PASS"
    assert verdicts.precision({**off, "loss": 6.0}, off).level == "FAIL"
    assert verdicts.precision({**off, "loss": float("nan")}, off).level == "FAIL"


def test_what_nvidia_smi_does_not_tell_must_be_null_with_us() -> None:
    line = "95, 5100, [N/A], 62"
    theirs = verdicts.parsed(line)
    assert theirs == {**LOOK, "utilization %": 95, "memory MiB": 5100, "power W": None,
                      "temperature C": 62}  # fmt: skip
    assert verdicts.sampling({**LOOK, "power W": None}, theirs).level == "PASS"
    assert verdicts.sampling(LOOK, theirs).level == "FAIL"
    assert verdicts.sampling({**LOOK, "power W": None, "memory MiB": 4000.0}, theirs).level == (
        "FAIL"
    )


def test_only_what_failed_makes_the_exit_code() -> None:
    good = verdicts.judge("a", "1", "1", good=True)
    assert verdicts.exit_code([good, verdicts.skipped("b", "no nvidia-smi")]) == 0
    assert verdicts.exit_code([good, verdicts.failed("c", "a bug")]) == 1
    assert str(good).startswith("PASS")
    assert verdicts.launched("finished", 3, GIB, 2).level == "PASS"
    assert verdicts.launched("finished", 3, None, 2).level == "FAIL"
