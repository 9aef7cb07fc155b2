"""What is given up, in which order, and how far."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.core.errors import StoreError, TrainingError
from backend.core.events import Order
from backend.core.knobs import Knobs, Size
from backend.hardware.ladder import Settings, step_down
from backend.hardware.memory import Shortage
from backend.hardware.recovery import (
    FILE,
    Death,
    Memo,
    Phase,
    note_death,
    read_memo,
    stepped_down,
    write_memo,
)

KNOBS = Knobs(size=Size("size", floor=320), cache="cache")
ASKED: Settings = {
    "runner.batch": 4, "runner.accumulate": 2, "runner.workers": 3, "runner.prefetch": 2,
    "size": 448, "cache": True,
}  # fmt: skip
SHORT = Shortage(kind="device", cause="OutOfMemoryError: CUDA out of memory")


def all_actions(asked: Settings, knobs: Knobs, order: Order = "batch") -> list[str]:
    actions, now = [], asked
    while rung := step_down(asked, now, knobs, order):
        actions.append(rung.action)
        now = rung.settings
    return actions


BATCH = [
    "runner.batch 4 -> 2, runner.accumulate 2 -> 4",
    "runner.batch 2 -> 1, runner.accumulate 4 -> 8",
]
IMAGES = [f"size {size} -> {size - 32}" for size in (448, 416, 384, 352)]
CACHE = ["cache True -> False"]
WORKERS = ["runner.workers 3 -> 1", "runner.workers 1 -> 0"]


def test_the_order_is_batch_images_cache_workers() -> None:
    assert all_actions(ASKED, KNOBS) == BATCH + IMAGES + CACHE + WORKERS


WINDOWS = Knobs(workers=None, prefetch=None, evaluating="inference.batch")
WINDOWED: Settings = {"runner.batch": 2, "runner.accumulate": 1, "inference.batch": 2}


@pytest.mark.parametrize(
    ("phase", "actions"),
    [
        ("train", ["runner.batch 2 -> 1, runner.accumulate 1 -> 2"]),
        ("val", ["inference.batch 2 -> 1", "runner.batch 2 -> 1, runner.accumulate 1 -> 2"]),
        ("evaluation", ["inference.batch 2 -> 1"]),
    ],
)
def test_an_evaluation_gives_its_own_batch(phase: Phase, actions: list[str]) -> None:
    memo = Memo()
    for _ in actions:
        memo = stepped_down(memo, WINDOWED, WINDOWS, SHORT, (phase, 1))
    assert [step.action for step in memo.recovered] == actions
    with pytest.raises(TrainingError, match="as small as it may be"):
        stepped_down(memo, WINDOWED, WINDOWS, SHORT, (phase, 1))


def test_memory_of_the_host_is_looked_for_where_it_is() -> None:
    assert all_actions(ASKED, KNOBS, order="cache") == CACHE + WORKERS + BATCH + IMAGES


def test_rungs_with_nothing_to_give_are_named() -> None:
    small = {**ASKED, "runner.batch": 1, "size": 320}
    rung = step_down(small, small, KNOBS)
    assert rung is not None
    assert rung.skipped == ("batch", "images")
    nothing = {**small, "cache": False, "runner.workers": 0}
    assert step_down(nothing, nothing, KNOBS) is None


@pytest.mark.parametrize(
    ("batch", "smallest", "steps"),
    [(6, 1, [3, 1]), (7, 1, [1]), (7, 2, []), (12, 2, [6, 3]), (2, 2, []), (64, 16, [32, 16])],
)
def test_an_optimizer_step_keeps_its_samples(batch: int, smallest: int, steps: list[int]) -> None:
    knobs = Knobs(smallest=smallest)
    now: Settings = {**ASKED, "runner.batch": batch, "runner.accumulate": 1, "runner.workers": 0}
    asked, seen = now, []
    while rung := step_down(asked, now, knobs):
        now = rung.settings
        assert now["runner.batch"] * now["runner.accumulate"] == batch  # type: ignore[operator]
        seen.append(now["runner.batch"])
    assert seen == steps


def test_a_trainer_that_accumulates_by_itself() -> None:
    """As Ultralytics does: ``nbs`` stays, and the batch may be any number."""
    yolo = Knobs("batch", None, smallest=2, size=Size("imgsz"), workers="workers", prefetch=None)
    asked: Settings = {"batch": 15, "imgsz": 320, "workers": 0}
    assert all_actions(asked, yolo) == ["batch 15 -> 7", "batch 7 -> 3", "batch 3 -> 2"]


@pytest.mark.parametrize(
    ("size", "asked", "smaller"),
    [
        (Size("s"), 640, 608),
        (Size("s"), (640, 640), (608, 608)),
        (Size("s"), (480, 640), (448, 608)),
        (Size("s"), (160, 256), None),
        (Size("s", floor=64), (160, 256), (128, 224)),
        (Size("s", step=128), 640, 512),
        (Size("s", multiple=8, floor=16), 96, 88),
    ],
)
def test_smaller_sizes(
    size: Size, asked: int | tuple[int, ...], smaller: int | tuple[int, ...] | None
) -> None:
    assert size.smaller(asked, asked) == smaller


def test_a_size_is_not_below_half_of_what_was_asked() -> None:
    size = Size("s", floor=32)
    assert size.smaller(352, 640) == 320
    assert size.smaller(320, 640) is None


def test_an_evaluation_gives_its_batch_only() -> None:
    """Down to one sample, also where training needs two; its images stay as they are."""
    knobs = replace(KNOBS, smallest=4)
    memo = Memo()
    for _ in range(2):
        memo = stepped_down(memo, ASKED, knobs, SHORT, ("evaluation", 9))
    assert [told.action for told in memo.recovered] == BATCH
    with pytest.raises(TrainingError, match="the run is as small as it may be"):
        stepped_down(memo, ASKED, knobs, SHORT, ("evaluation", 9))


def test_without_loader_processes_that_rung_is_skipped() -> None:
    knobs = replace(KNOBS, workers=None, cache=None)
    assert "runner.workers" not in knobs.keys
    small = {**ASKED, "size": 320, "runner.batch": 1}
    assert step_down(small, small, knobs) is None
    assert all_actions(ASKED, knobs) == BATCH + IMAGES


def test_the_memo_goes_from_attempt_to_attempt(tmp_path: Path) -> None:
    assert read_memo(tmp_path) == Memo()
    memo = stepped_down(Memo(planned={"size": (64, 32)}), ASKED, KNOBS, SHORT, ("train", 7))
    write_memo(tmp_path, memo)
    again = read_memo(tmp_path)
    assert again == memo
    assert again.overrides["runner.batch"] == 2
    assert again.overrides["size"] == (64, 32), "what was planned stays"
    (told,) = again.recovered
    assert (told.attempt, told.step, told.phase, told.cause) == (1, 7, "train", SHORT.cause)
    assert told.requested == ASKED
    assert told.effective.keys() == told.requested.keys()


def test_a_person_may_change_what_the_machine_did_not() -> None:
    memo = stepped_down(Memo(planned={"runner.prefetch": 2}), ASKED, KNOBS, SHORT)
    assert memo.overrides == {"runner.batch": 2, "runner.accumulate": 4, "runner.prefetch": 2}


def test_floors_are_measured_by_what_the_tier_planned() -> None:
    memo = Memo(planned={"runner.batch": 1, "size": 480})
    asked = {**ASKED, "size": 1024}
    assert stepped_down(memo, asked, KNOBS, SHORT).recovered[0].action == "size 480 -> 448"


def test_a_death_is_noted_once(tmp_path: Path) -> None:
    death = Death(shortage=SHORT, phase="evaluation", step=7)
    assert note_death(tmp_path, death)
    assert not note_death(tmp_path, death), "its next attempt died before it could step down"
    memo = read_memo(tmp_path)
    assert memo.died == death
    assert stepped_down(memo, ASKED, KNOBS, SHORT).died is None


def test_the_end_of_the_ladder_names_what_was_tried() -> None:
    memo = Memo()
    for _ in range(9):
        memo = stepped_down(memo, ASKED, KNOBS, SHORT)
    with pytest.raises(TrainingError, match="cache True -> False; runner") as said:
        stepped_down(memo, ASKED, KNOBS, SHORT)
    assert SHORT.cause in str(said.value)


def test_a_damaged_memo_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(StoreError, match="cannot be read; start a new run"):
        read_memo(tmp_path)
